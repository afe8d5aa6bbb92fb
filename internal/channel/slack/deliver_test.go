package slack

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/slack/slacktest"
	"nanoclaw/internal/chat"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func reply(to chat.Address, key, text string) chat.Outbound {
	return chat.Outbound{ID: 1, To: to, Kind: chat.Reply, Key: key, Text: text}
}

func TestDeliverFormats(t *testing.T) {
	s := slacktest.New(t)
	c := connected(s)
	ctx := t.Context()
	thread := address("T1", "C1", "1700000000.000001")
	if _, err := c.Deliver(ctx, reply(thread, "k", "**done**, <!channel>")); err != nil {
		t.Fatal(err)
	}
	m, _ := s.Posted(ctx)
	if m.Text != "*done*, &lt;!channel&gt;" || m.Thread != "1700000000.000001" || m.Unfurl != "false" {
		t.Errorf("posted %+v", m)
	}
	if contains(string(m.Metadata), `"k"`) || !contains(string(m.Metadata), hash("k")) {
		t.Errorf("metadata %s", m.Metadata)
	}
}

func TestDeliverLong(t *testing.T) {
	s := slacktest.New(t)
	c := connected(s)
	c.opt.MaxParts = 3
	ctx := t.Context()
	id, err := c.Deliver(ctx, reply(general, "k", strings.Repeat("word word\n\n", 700)))
	if err != nil {
		t.Fatal(err)
	}
	got := s.Messages("C1")
	if len(got) < 2 || chat.MessageID(got[0].TS) != id {
		t.Fatalf("%d messages, id %s", len(got), id)
	}
	huge := strings.Repeat("word word\n\n", 5000)
	if _, err := c.Deliver(ctx, reply(address("T1", "C2", ""), "k2", huge)); err != nil {
		t.Fatal(err)
	}
	got = s.Messages("C2")
	if len(got) != 3 || len(got[2].Files) != 1 || got[2].Files[0].Body != huge {
		t.Errorf("%d messages: %.200v", len(got), got)
	}
}

// An attempt whose answer was lost is not made again, and one that was cut off in the
// middle goes on there.
func TestDeliverAgain(t *testing.T) {
	s := slacktest.New(t)
	c := connected(s)
	ctx := t.Context()
	m := reply(general, "k", strings.Repeat("word word\n\n", 1000))
	n := 0
	s.Fail("chat.postMessage", func(w http.ResponseWriter) bool {
		if n++; n == 2 {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	if _, err := c.Deliver(ctx, m); err == nil {
		t.Fatal("the failure was not told")
	}
	if got := len(s.Messages("C1")); got != 1 {
		t.Fatalf("%d messages", got)
	}
	first := s.Messages("C1")[0].TS
	m.Again = true
	for range 2 {
		id, err := connected(s).Deliver(ctx, m) // another process
		if err != nil || id != chat.MessageID(first) {
			t.Fatalf("id %s, %v, want %s", id, err, first)
		}
	}
	if got := s.Messages("C1"); len(got) != 3 {
		t.Errorf("%d messages", len(got))
	}
	// Somebody else's metadata of the same look is not ours.
	other := reply(address("T1", "C3", ""), "k3", "hello")
	s.Keep(slacktest.Message{Channel: "C3", User: "U1", Metadata: []byte(`{"event_type":"nanoclaw_part","event_payload":{"key":"` + hash("k3") + `","part":"0"}}`)})
	other.Again = true
	if _, err := c.Deliver(ctx, other); err != nil || len(s.Messages("C3")) != 2 {
		t.Errorf("%v, %d messages", err, len(s.Messages("C3")))
	}
}

func TestRateLimit(t *testing.T) {
	s := slacktest.New(t)
	c := connected(s)
	s.Limit("chat.postMessage", 1, 2)
	begun := time.Now()
	if _, err := c.Deliver(t.Context(), reply(general, "k", "x")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 2*time.Second || s.Calls("chat.postMessage") != 3 {
		t.Errorf("it took %v and %d requests", took, s.Calls("chat.postMessage"))
	}
	s.Limit("chat.postMessage", 3600, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Deliver(ctx, reply(general, "k", "x")); err == nil || channel.IsPermanent(err) {
		t.Errorf("an hour of waiting gave %v", err)
	}
}

func TestDeliverErrors(t *testing.T) {
	s := slacktest.New(t)
	c := connected(s)
	for _, tt := range []struct {
		code      string
		permanent bool
	}{{"channel_not_found", true}, {"is_archived", true}, {"token_revoked", true}, {"internal_error", false}, {"fatal_error", false}} {
		s.Refuse("chat.postMessage", tt.code, 1)
		if _, err := c.Deliver(t.Context(), reply(general, "k", "x")); err == nil || channel.IsPermanent(err) != tt.permanent {
			t.Errorf("%s gave %v", tt.code, err)
		}
	}
	for _, to := range []string{"T2/C1", "C1", "T1/", "T1/C1/x"} {
		if _, err := c.Deliver(t.Context(), reply(chat.Address{Channel: ID, Chat: chat.ChatID(to)}, "k", "x")); !channel.IsPermanent(err) {
			t.Errorf("%s gave %v", to, err)
		}
	}
}

func TestFiles(t *testing.T) {
	s := slacktest.New(t)
	c := connected(s)
	ctx, sink := start(t, s, c)
	f := s.AddFile("notes.txt", "text/plain", "the notes")
	if err := s.Event(ctx, slacktest.Message{Channel: "C1", User: "U1", TS: s.TS(), Text: "see", Files: []slacktest.File{f}}, nil); err != nil {
		t.Fatal(err)
	}
	in := sink.Got()[0]
	if len(in.Files) != 1 || in.Files[0].Name != "notes.txt" || in.Files[0].Size != 9 {
		t.Fatalf("files %+v", in.Files)
	}
	var got bytes.Buffer
	if err := c.Fetch(ctx, in.Files[0], &got); err != nil || got.String() != "the notes" {
		t.Errorf("fetched %q, %v", got.String(), err)
	}
	if err := c.Fetch(ctx, chat.File{Ref: "F99"}, &got); !channel.IsPermanent(err) {
		t.Errorf("a file that is gone gave %v", err)
	}
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, []byte("a picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := chat.Outbound{ID: 3, To: general, Kind: chat.Tool, Key: "f", Text: "here", File: &chat.File{Name: "a.png", Path: path, Size: 9}}
	if _, err := c.Deliver(ctx, m); err != nil {
		t.Fatal(err)
	}
	p, _ := s.Posted(ctx)
	if len(p.Files) != 1 || p.Files[0].Body != "a picture" || p.Files[0].Name != "a.png" || p.Text != "here" {
		t.Errorf("posted %+v", p)
	}
}

func TestProgressIsEditedAndGoes(t *testing.T) {
	s := slacktest.New(t)
	c := connected(s)
	ctx, _ := start(t, s, c)
	c.Progress(ctx, chat.Progress{To: general, Kind: chat.ToolUse, Text: "Bash: cat /etc/shadow"})
	m, err := s.Posted(ctx)
	if err != nil || !contains(m.Text, "working: Bash") || contains(m.Text, "shadow") {
		t.Fatalf("%+v, %v", m, err)
	}
	c.Progress(ctx, chat.Progress{To: general, Kind: chat.Text, Text: "**so** far"})
	for !contains(s.Messages("C1")[0].Text, "*so* far") {
		if ctx.Err() != nil {
			t.Fatal("the message was never edited")
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := c.Deliver(ctx, reply(general, "k", "the answer")); err != nil {
		t.Fatal(err)
	}
	for {
		got := s.Messages("C1")
		if len(got) == 1 && got[0].Text == "the answer" {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("messages %+v", got)
		}
		time.Sleep(time.Millisecond)
	}
}
