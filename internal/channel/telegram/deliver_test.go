package telegram

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/telegram/telegramtest"
	"nanoclaw/internal/chat"
)

func reply(to chat.Address, key, text string) chat.Outbound {
	return chat.Outbound{ID: 1, To: to, Kind: chat.Reply, Key: key, Text: text}
}

func TestDeliverFormats(t *testing.T) {
	s := telegramtest.New(t)
	c := connected(s)
	id, err := c.Deliver(t.Context(), reply(address(team, 5), "k", "**done** <b>& [x](https://a.example)\n\n```go\na < b\n```"))
	if err != nil {
		t.Fatal(err)
	}
	m := s.Messages(team)[0]
	want := "<b>done</b> &lt;b&gt;&amp; <a href=\"https://a.example\">x</a>\n\n<pre><code class=\"language-go\">\na &lt; b\n</code></pre>"
	if m.Text != want || m.Topic != 5 || m.Mode != "HTML" || !strings.Contains(m.Preview, `"is_disabled":true`) || chat.MessageID(strconv.Itoa(m.ID)) != id {
		t.Errorf("sent %+v as %s", m, id)
	}
}

// What Telegram does not take as it is marked goes out as plain words.
func TestMarksThatAreRefused(t *testing.T) {
	s := telegramtest.New(t)
	c := connected(s)
	s.Refuse("sendMessage", 400, "Bad Request: can't parse entities: Unsupported start tag", 1)
	if _, err := c.Deliver(t.Context(), reply(address(team, 0), "k", "**a** < b & `c`")); err != nil {
		t.Fatal(err)
	}
	if m := s.Messages(team)[0]; m.Text != "a < b & c" || m.Mode != "" {
		t.Errorf("sent %+v", m)
	}
}

func TestDeliverLong(t *testing.T) {
	s := telegramtest.New(t)
	c := connected(s)
	c.opt.MaxParts = 3
	if _, err := c.Deliver(t.Context(), reply(address(team, 0), "k", strings.Repeat("word & word\n\n", 600))); err != nil {
		t.Fatal(err)
	}
	if got := s.Messages(team); len(got) != 3 {
		t.Fatalf("%d messages", len(got))
	}
	huge := strings.Repeat("word word\n\n", 5000)
	if _, err := c.Deliver(t.Context(), reply(address(person, 0), "k2", huge)); err != nil {
		t.Fatal(err)
	}
	if got := s.Messages(person); len(got) != 3 || got[2].Body != huge || got[2].File != "answer.md" {
		t.Errorf("%d messages: %.200v", len(got), got)
	}
}

// An attempt that was cut off in the middle goes on there.
func TestDeliverAgain(t *testing.T) {
	s := telegramtest.New(t)
	c := connected(s)
	m := reply(address(team, 0), "k", strings.Repeat("word word\n\n", 1000))
	n := 0
	s.Fail("sendMessage", func(w http.ResponseWriter) bool {
		if n++; n == 2 {
			telegramtest.Refusal(w, 502, "Bad Gateway", nil)
			return true
		}
		return false
	})
	if _, err := c.Deliver(t.Context(), m); err == nil || channel.IsPermanent(err) {
		t.Fatalf("the failure was told as %v", err)
	}
	first := s.Messages(team)[0].ID
	m.Again = true
	for range 2 {
		id, err := c.Deliver(t.Context(), m)
		if err != nil || id != chat.MessageID(strconv.Itoa(first)) {
			t.Fatalf("id %s, %v, want %d", id, err, first)
		}
	}
	if got := s.Messages(team); len(got) != 3 {
		t.Errorf("%d messages", len(got))
	}
}

func TestRateLimit(t *testing.T) {
	s := telegramtest.New(t)
	c := connected(s)
	s.Limit("sendMessage", 1, 2)
	begun := time.Now()
	if _, err := c.Deliver(t.Context(), reply(address(team, 0), "k", "x")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 2*time.Second || s.Calls("sendMessage") != 3 {
		t.Errorf("it took %v and %d requests", took, s.Calls("sendMessage"))
	}
	s.Limit("sendMessage", 3600, 1)
	if _, err := c.Deliver(t.Context(), reply(address(team, 0), "k2", "x")); err == nil || channel.IsPermanent(err) {
		t.Errorf("an hour of waiting gave %v", err)
	}
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := reply(address(team, 0), "k3", "")
	m.File = &chat.File{Name: "a.txt", Path: path, Size: 4}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.Deliver(ctx, m); err != nil {
		t.Errorf("the limit of one method holds another back: %v", err)
	}
}

func TestDeliverErrors(t *testing.T) {
	s := telegramtest.New(t)
	c := connected(s)
	for i, tt := range []struct {
		code        int
		description string
		permanent   bool
		words       string
	}{
		{400, "Bad Request: chat not found", true, "never in it"},
		{403, "Forbidden: bot was blocked by the user", true, "they have blocked the bot"},
		{403, "Forbidden: bot was kicked from the supergroup chat", true, "add it again"},
		{401, "Unauthorized", true, "nanoclaw channel login telegram"},
		{500, "Internal Server Error", false, ""},
	} {
		s.Refuse("sendMessage", tt.code, tt.description, 1)
		_, err := c.Deliver(t.Context(), reply(address(team, 0), strconv.Itoa(i), "x"))
		if err == nil || channel.IsPermanent(err) != tt.permanent || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s gave %v", tt.description, err)
		}
	}
	for _, to := range []string{"x", "", "5#x", "#1", "5#-1"} {
		if _, err := c.Deliver(t.Context(), reply(chat.Address{Channel: ID, Chat: chat.ChatID(to)}, "k", "x")); !channel.IsPermanent(err) {
			t.Errorf("%q gave %v", to, err)
		}
	}
	s.Fail("sendMessage", func(w http.ResponseWriter) bool { telegramtest.Hang(w); return true })
	if _, err := c.Deliver(t.Context(), reply(address(team, 0), "cut", "x")); err == nil || strings.Contains(err.Error(), telegramtest.Token) {
		t.Errorf("a request that was cut off gave %v", err)
	}
}

func TestFiles(t *testing.T) {
	s := telegramtest.New(t)
	c := connected(s)
	ctx := t.Context()
	ref := s.AddFile("the notes")
	var got bytes.Buffer
	if err := c.Fetch(ctx, chat.File{Name: "n", Ref: ref, Size: 9}, &got); err != nil || got.String() != "the notes" {
		t.Errorf("fetched %q, %v", got.String(), err)
	}
	if err := c.Fetch(ctx, chat.File{Ref: "gone"}, &got); !channel.IsPermanent(err) {
		t.Errorf("a file that is gone gave %v", err)
	}
	for _, size := range []int64{maxDownload + 1, 0} {
		s.Refuse("getFile", 400, "Bad Request: file is too big", 1)
		if err := c.Fetch(ctx, chat.File{Ref: ref, Size: size}, &got); !channel.IsPermanent(err) || !strings.Contains(err.Error(), "20 MB") {
			t.Errorf("a file that is too large gave %v", err)
		}
	}
	s.Fail("getFile", nil)
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, []byte("a picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	send := func(key, kind, text string) telegramtest.Message {
		t.Helper()
		if _, err := c.Deliver(ctx, chat.Outbound{ID: 3, To: address(team, 5), Kind: chat.Tool, Key: key, Text: text, File: &chat.File{Name: "a.png", Type: kind, Path: path, Size: 9}}); err != nil {
			t.Fatal(err)
		}
		all := s.Messages(team)
		return all[len(all)-1]
	}
	if m := send("1", "image/png", "**here**"); m.Method != "sendPhoto" || m.Body != "a picture" || m.Text != "<b>here</b>" || m.Topic != 5 {
		t.Errorf("sent %+v", m)
	}
	s.Refuse("sendPhoto", 400, "Bad Request: PHOTO_INVALID_DIMENSIONS", 1)
	if m := send("2", "image/png", "here"); m.Method != "sendDocument" || m.File != "a.png" {
		t.Errorf("sent %+v", m)
	}
	if m := send("3", "text/plain", strings.Repeat("long ", 400)); m.Method != "sendDocument" || m.Text != "" || len(s.Messages(team)) != 4 {
		t.Errorf("sent %+v", m)
	}
	m := reply(address(team, 0), "4", "")
	m.File = &chat.File{Name: "x", Path: path + "-none", Size: 1}
	if _, err := c.Deliver(ctx, m); !channel.IsPermanent(err) {
		t.Errorf("a copy that is gone gave %v", err)
	}
}

func TestProgress(t *testing.T) {
	s := telegramtest.New(t)
	c := connected(s)
	ctx, _ := start(t, c)
	until := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			if ctx.Err() != nil {
				t.Fatalf("%s never came: %+v, %+v", what, s.Messages(team), s.Drafts())
			}
			time.Sleep(time.Millisecond)
		}
	}
	for _, to := range []int64{team, person} {
		c.Progress(ctx, chat.Progress{To: address(to, 0), Kind: chat.ToolUse, Text: "mcp_<b>: cat /etc/shadow"})
	}
	until("the message", func() bool {
		m := s.Messages(team)
		return len(m) == 1 && strings.HasPrefix(m[0].Text, "<i>working: mcp_&lt;b&gt;, ") && !strings.Contains(m[0].Text, "shadow")
	})
	c.Progress(ctx, chat.Progress{To: address(team, 0), Kind: chat.Text, Text: "**so** far"})
	until("the edit", func() bool { return strings.Contains(s.Messages(team)[0].Text, "<b>so</b> far") })
	until("drafts", func() bool { d := s.Drafts(); return len(d) > 2 && d[0].Chat == person })
	for _, to := range []int64{team, person} {
		if _, err := c.Deliver(ctx, reply(address(to, 0), strconv.FormatInt(to, 10), "the answer")); err != nil {
			t.Fatal(err)
		}
		until("the answer alone", func() bool { m := s.Messages(to); return len(m) == 1 && m[0].Text == "the answer" })
	}
	// A server that knows no drafts is shown messages.
	s.Refuse("sendMessageDraft", 400, "Bad Request: method is not available", 1_000_000)
	c.Progress(ctx, chat.Progress{To: address(person, 0), Kind: chat.Text, Text: "more"})
	until("a message instead", func() bool { return len(s.Messages(person)) == 2 })
}

// notes are a store of the host's, in memory.
type notes struct {
	mu sync.Mutex
	by map[string]string
}

func (n *notes) Meta(_ context.Context, key string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.by[key], nil
}

func (n *notes) SetMeta(_ context.Context, key, value string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.by == nil {
		n.by = map[string]string{}
	}
	n.by[key] = value
	return nil
}

// A group that becomes a supergroup has another number, and goes on as the chat that it
// was: what is sent to it, what comes from it, and after a restart.
func TestChatMoves(t *testing.T) {
	const was, is = int64(-500), int64(-100777)
	for _, how := range []string{"a message", "a refusal"} {
		t.Run(how, func(t *testing.T) {
			s := telegramtest.New(t)
			kept, registered := &notes{}, was
			var told []chat.Address
			opened := func() *Channel {
				c := connected(s)
				c.opt.Registered = func(a chat.Address) bool { return a.Base() == address(registered, 0) }
				c.opt.Moved = func(from, to chat.Address) { told = append(told, from, to) }
				c.opt.Notes, c.moves.notes = kept, kept
				return c
			}
			c := opened()
			ctx, _ := start(t, c)
			if how == "a refusal" {
				s.Migrate(is)
			} else if err := s.Say(ctx, said(s.Text(is, person, "", fields{"text": nil, "migrate_from_chat_id": was}))); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Deliver(ctx, reply(address(was, 0), "k", "x")); err != nil || len(s.Messages(is)) != 1 {
				t.Fatalf("%v, %+v", err, s.Messages(is))
			}
			if len(told) != 2 || told[0] != address(was, 0) || told[1] != address(is, 0) {
				t.Errorf("told %v", told)
			}
			later := opened()
			if err := later.moves.load(ctx); err != nil {
				t.Fatal(err)
			}
			m := message{ID: 1, Chat: talk{ID: is, Kind: "supergroup"}, From: &account{ID: person}, Text: "hi"}
			if in, _ := later.inbound(m); in.From != address(was, 0) {
				t.Errorf("it comes from %s", in.From)
			}
			registered = is // by now the configuration has the new number
			if in, _ := later.inbound(m); in.From != address(is, 0) {
				t.Errorf("it comes from %s", in.From)
			}
		})
	}
}

func FuzzPlain(f *testing.F) {
	c := New(Options{Bot: telegramtest.Token, Assistant: func() string { return "Andy" }})
	me := identity{id: 77, name: "andy_bot"}
	f.Add("👩 @andy_bot hi", 3, 9)
	f.Add("", 0, 1)
	f.Add("a", -5, 1<<62)
	f.Fuzz(func(t *testing.T, text string, offset, length int) {
		got, called := c.plain(me, text, []mark{{Kind: "mention", Offset: offset, Length: length}, {Kind: "bot_command", Offset: offset, Length: length}})
		if called && !strings.Contains(got, "@Andy") && got == text {
			t.Errorf("%q calls us and became %q", text, got)
		}
		if !called && got != strings.ToValidUTF8(text, "\ufffd") && len([]rune(got)) != len([]rune(text)) {
			t.Errorf("%q became %q", text, got)
		}
	})
}
