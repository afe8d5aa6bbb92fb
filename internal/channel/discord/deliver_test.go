package discord

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/discord/discordtest"
	"nanoclaw/internal/chat"
)

func reply(to chat.Address, key, text string) chat.Outbound {
	return chat.Outbound{ID: 1, To: to, Kind: chat.Reply, Key: key, Text: text}
}

func TestDeliverFormats(t *testing.T) {
	s := discordtest.New(t)
	c := connected(s)
	id, err := c.Deliver(t.Context(), reply(thread, "k", "**done** @everyone <@1001> https://a.example"))
	if err != nil {
		t.Fatal(err)
	}
	m := s.Messages(discordtest.Thread)[0]
	if m.Text != "**done** @\u200beveryone \\<@\u200b1001\\> <https://a.example>" || chat.MessageID(m.ID) != id {
		t.Errorf("posted %q as %s", m.Text, id)
	}
	if m.Mentions != `{"parse":[],"roles":[],"users":[],"replied_user":false}` || m.Flags != 1<<2 || m.Nonce == "" {
		t.Errorf("posted %+v", m)
	}
}

func TestDeliverLong(t *testing.T) {
	s := discordtest.New(t)
	c := connected(s)
	c.opt.MaxParts = 3
	if _, err := c.Deliver(t.Context(), reply(general, "k", strings.Repeat("word *word*\n\n", 400))); err != nil {
		t.Fatal(err)
	}
	if got := s.Messages(discordtest.General); len(got) != 3 {
		t.Fatalf("%d messages", len(got))
	}
	huge := strings.Repeat("word word\n\n", 5000)
	if _, err := c.Deliver(t.Context(), reply(thread, "k2", huge)); err != nil {
		t.Fatal(err)
	}
	if got := s.Messages(discordtest.Thread); len(got) != 3 || got[2].Body != huge || got[2].File != "answer.md" {
		t.Errorf("%d messages", len(got))
	}
}

// An attempt whose answer was lost is known by its nonce, in another process too, and
// one that was cut off in the middle goes on there.
func TestDeliverAgain(t *testing.T) {
	s := discordtest.New(t)
	m := reply(general, "k", strings.Repeat("word word\n\n", 500))
	n := 0
	s.Fail("POST messages", func(w http.ResponseWriter) bool {
		if n++; n == 2 {
			discordtest.Refusal(w, 502, 0, "Bad Gateway")
			return true
		}
		return false
	})
	c := connected(s)
	if _, err := c.Deliver(t.Context(), m); err == nil || channel.IsPermanent(err) {
		t.Fatalf("the failure was told as %v", err)
	}
	first := s.Messages(discordtest.General)[0].ID
	m.Again = true
	for _, c := range []*Channel{c, c, connected(s)} {
		id, err := c.Deliver(t.Context(), m)
		if err != nil || string(id) != first {
			t.Fatalf("id %s, %v, want %s", id, err, first)
		}
	}
	if got := s.Messages(discordtest.General); len(got) != 3 {
		t.Errorf("%d messages", len(got))
	}
}

// A limit is obeyed, whether Discord names a bucket or the network before it answers.
func TestRateLimit(t *testing.T) {
	for _, bucket := range []string{"b1", ""} {
		s := discordtest.New(t)
		c := connected(s)
		s.Limit("POST messages", 1, bucket, 1)
		begun := time.Now()
		if _, err := c.Deliver(t.Context(), reply(general, "k", "x")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < time.Second || s.Calls("POST messages") != 2 {
			t.Errorf("it took %v and %d requests", took, s.Calls("POST messages"))
		}
	}
	s := discordtest.New(t)
	s.Limit("POST messages", 3600, "", 1)
	if _, err := connected(s).Deliver(t.Context(), reply(general, "k2", "x")); err == nil || channel.IsPermanent(err) {
		t.Errorf("an hour of waiting gave %v", err)
	}
}

func TestDeliverErrors(t *testing.T) {
	s := discordtest.New(t)
	c := connected(s)
	for i, tt := range []struct {
		status, code int
		permanent    bool
		words        string
	}{
		{404, 10003, true, "no such channel"},
		{403, 50013, true, "may not write there"},
		{403, 50007, true, "take no messages"},
		{401, 0, true, "nanoclaw channel login discord"},
		{500, 0, false, ""},
	} {
		s.Refuse("POST messages", tt.status, tt.code, "no", 1)
		_, err := c.Deliver(t.Context(), reply(general, strconv.Itoa(i), "x"))
		if err == nil || channel.IsPermanent(err) != tt.permanent || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%d gave %v", tt.code, err)
		}
	}
	for _, to := range []string{"x", "", "5#x", "#1", "+5", "5/../6", "-5"} {
		if _, err := c.Deliver(t.Context(), reply(chat.Address{Channel: ID, Chat: chat.ChatID(to)}, "k", "x")); !channel.IsPermanent(err) {
			t.Errorf("%q gave %v", to, err)
		}
	}
}

func TestFiles(t *testing.T) {
	s := discordtest.New(t)
	c := connected(s)
	ctx, sink := start(t, s, c)
	m := s.Keep(s.Text(discordtest.General, "1001", "", discordtest.Object{"attachments": []any{s.AddFile("n.txt", "text/plain", "the notes")}}))
	if err := s.Say(ctx, "MESSAGE_CREATE", m); err != nil {
		t.Fatal(err)
	}
	f := sink.Got()[0].Files[0]
	var got bytes.Buffer
	if err := c.Fetch(ctx, f, &got); err != nil || got.String() != "the notes" || f.Name != "n.txt" || f.Size != 9 {
		t.Errorf("fetched %q of %+v, %v", got.String(), f, err)
	}
	for _, ref := range []string{"", "1/2", "1/2/3", "x/y/z", discordtest.General + "/" + m["id"].(string) + "/9"} {
		if err := c.Fetch(ctx, chat.File{Ref: ref}, &got); !channel.IsPermanent(err) {
			t.Errorf("%q gave %v", ref, err)
		}
	}
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, []byte("a picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := chat.Outbound{ID: 3, To: thread, Kind: chat.Tool, Key: "f", Text: "**here**", File: &chat.File{Name: "a\"; x=\"\n.png", Path: path, Size: 9}}
	if _, err := c.Deliver(ctx, out); err != nil {
		t.Fatal(err)
	}
	if p := s.Messages(discordtest.Thread)[0]; p.Body != "a picture" || p.File != "a_; x=_ .png" || p.Text != "**here**" {
		t.Errorf("posted %+v", p)
	}
	out.Key, out.File.Path = "f2", path+"-none"
	if _, err := c.Deliver(ctx, out); !channel.IsPermanent(err) {
		t.Errorf("a copy that is gone gave %v", err)
	}
}

func TestProgressIsEditedAndGoes(t *testing.T) {
	s := discordtest.New(t)
	c := connected(s)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	until := func(what string, ok func(m []discordtest.Message) bool) {
		t.Helper()
		for !ok(s.Messages(discordtest.Thread)) {
			if ctx.Err() != nil {
				t.Fatalf("%s never came: %+v", what, s.Messages(discordtest.Thread))
			}
			time.Sleep(time.Millisecond)
		}
	}
	c.Progress(ctx, chat.Progress{To: thread, Kind: chat.ToolUse, Text: "my_tool: cat /etc/shadow"})
	until("the message", func(m []discordtest.Message) bool {
		return len(m) == 1 && strings.HasPrefix(m[0].Text, `*working: my\_tool, `) && !strings.Contains(m[0].Text, "shadow")
	})
	c.Progress(ctx, chat.Progress{To: thread, Kind: chat.Text, Text: "**so** far"})
	until("the edit", func(m []discordtest.Message) bool { return strings.HasPrefix(m[0].Text, "**so** far") })
	if _, err := c.Deliver(ctx, reply(thread, "k", "the answer")); err != nil {
		t.Fatal(err)
	}
	until("the answer alone", func(m []discordtest.Message) bool { return len(m) == 1 && m[0].Text == "the answer" })
}
