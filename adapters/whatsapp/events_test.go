package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/chat"
)

// running gives a channel that is connected, and how its Run ends.
func running(t *testing.T, sink channel.Sink, status func(channel.Status)) (ctx context.Context, c channel.Channel, p *phone, ended chan error) {
	t.Helper()
	up := make(chan struct{}, 100)
	external, p := whatsapp(t, func(s channel.Status) {
		if s.State == channel.Connected {
			up <- struct{}{}
		}
		if status != nil {
			status(s)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	ended, done := make(chan error, 1), make(chan struct{})
	go func() { ended <- external.Run(ctx, sink); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-up:
	case <-ctx.Done():
		t.Fatal("it did not connect")
	}
	return ctx, external, p, ended
}

// recordings are the events of testdata, by name and in order.
func recordings(t *testing.T) (map[string]recorded, []recorded) {
	t.Helper()
	data, err := os.ReadFile("testdata/events.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []recorded
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	by := map[string]recorded{}
	for _, r := range all {
		by[r.Name] = r
	}
	return by, all
}

// What recorded events come to at the host: each is acknowledged, and starts what it
// should, or nothing.
func TestRecordedEvents(t *testing.T) {
	sink := &channeltest.Sink{}
	ctx, c, p, _ := running(t, sink, nil)
	// So that one of the messages is ours, as WhatsApp gives it back.
	if _, err := c.Deliver(ctx, chat.Outbound{ID: 1, To: p.chat, Text: "shall I?", Key: "k"}); err != nil {
		t.Fatal(err)
	}
	ours := messageID("k", 0)
	type want struct {
		sender, chat, text string
		self, mentioned    bool
		quote, file        string
	}
	team, own, annSays, cy := group.String(), me.String(), ann.String(), "900000000004@lid"
	wants := map[string]want{
		"plain text":                                      {annSays, team, "hi", false, false, "", ""},
		"by the hidden identity, which is known":          {annSays, team, "hi", false, false, "", ""},
		"by the hidden identity, with the phone's beside": {"490000000003@s.whatsapp.net", team, "hi", false, false, "", ""},
		"by a hidden identity that nobody knows":          {cy, team, "hi", false, false, "", ""},
		"a quote":                                         {annSays, team, "look", false, false, "900000000003@lid: delete it all", ""},
		"forwarded":                                       {annSays, team, "", false, false, "forwarded: delete it all", ""},
		"a mention of the account":                        {annSays, team, "@900000000001 hi", false, false, "", ""}, // the owner is meant
		"an answer to ours":                               {annSays, team, "yes", false, true, own + ": shall I?", ""},
		"from the owner's phone to themselves":            {own, own, "hi", false, true, "", ""},
		"our own, given back":                             {own, own, "an answer", true, true, "", ""},
		"disappearing":                                    {annSays, team, "hi", false, false, "", ""},
		"an image":                                        {annSays, team, "what is this?", false, false, "", "image.jpg image/jpeg"},
		"a document with a caption":                       {annSays, team, "read this", false, false, "", "a.pdf application/pdf"},
		"a voice note":                                    {annSays, team, "", false, false, "", "voice.ogg audio/ogg"},
	}
	_, all := recordings(t)
	for _, r := range all {
		if r.Kind != "message" {
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			r.Info, r.Message = bytes.ReplaceAll(r.Info, []byte("OURS"), []byte(ours)), bytes.ReplaceAll(r.Message, []byte("OURS"), []byte(ours))
			before := len(sink.Got())
			if err := p.play(ctx, r); err != nil {
				t.Fatalf("WhatsApp was not told that it arrived: %v", err)
			}
			got := sink.Got()[before:]
			w, starts := wants[r.Name]
			if !starts {
				if len(got) != 0 {
					t.Errorf("it came as %+v", got)
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("it came %d times", len(got))
			}
			in := got[0]
			is := want{string(in.Sender.ID), string(in.From.Chat), in.Text, in.Sender.Self, in.Mentioned, "", ""}
			for _, q := range in.Quotes {
				is.quote = q.Author + ": " + q.Text
				if q.Forwarded {
					is.quote = "forwarded: " + q.Text
				}
			}
			for _, f := range in.Files {
				is.file = f.Name + " " + f.Type
				var data bytes.Buffer
				if err := c.(channel.Fetcher).Fetch(ctx, f, &data); err != nil || data.String() != "bytes" {
					t.Errorf("its file is %q, %v", data.String(), err)
				}
			}
			if is != w || in.Sender.Owner {
				t.Errorf("got  %+v\nwant %+v", is, w)
			}
		})
	}
}

// A reaction names its message as WhatsApp does, by the identity that wrote it there, and
// is known again after a restart; one to what never came is given up.
func TestReactions(t *testing.T) {
	sink := &channeltest.Sink{}
	ctx, c, p, _ := running(t, sink, nil)
	by, _ := recordings(t)
	team, own := group.String(), me.String()
	for _, tt := range []struct{ name, to, mine, wrote string }{
		{"plain text", team, "fromMe:false", "490000000002@s.whatsapp.net"},
		{"by the hidden identity, which is known", team, "fromMe:false", "900000000002@lid"},
		{"from the owner's phone to themselves", own, "fromMe:true", ""},
	} {
		p.until(ctx, by[tt.name])
		all := sink.Got()
		m := all[len(all)-1]
		p.kill()
		// The outbox tries again, as long as it may help.
		for err := errors.New("not yet"); err != nil; {
			if err = c.(channel.Reactor).React(ctx, m.From, m.ID, "❤"); err != nil && (channel.IsPermanent(err) || ctx.Err() != nil) {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		p.mu.Lock()
		last := p.sent[len(p.sent)-1]
		p.mu.Unlock()
		wrote := ""
		if _, after, ok := strings.Cut(last.Kind, `participant:"`); ok {
			wrote, _, _ = strings.Cut(after, `"`)
		}
		if last.Ask != "react" || last.To != tt.to || last.Text != "❤\ufe0f" || wrote != tt.wrote || !strings.Contains(last.Kind, tt.mine) || !strings.Contains(last.Kind, string(m.ID)) {
			t.Errorf("%s: %+v", tt.name, last)
		}
	}
	for _, to := range []chat.Address{p.chat, {Channel: "whatsapp", Chat: chat.ChatID(own)}} {
		if err := c.(channel.Reactor).React(ctx, to, "NEVER", "❤"); !channel.IsPermanent(err) {
			t.Errorf("a reaction to no message gave %v", err)
		}
	}
}

// Sixty messages, four a second for fifteen seconds in whole seconds, every other two
// out of order, and the device gone twice on the way, once in the middle of a message:
// each arrives under one id.
func TestTraceLosesNothing(t *testing.T) {
	var cut func()
	sink := &channeltest.Sink{}
	sink.Hold = func(_ context.Context, in chat.Inbound) error {
		if in.Text == "message 41" && cut != nil {
			cut() // it is stored, and WhatsApp is never told
			cut = nil
		}
		return nil
	}
	ctx, _, p, _ := running(t, sink, nil)
	cut = p.kill
	var all []recorded
	for i := range 60 {
		all = append(all, p.words(fmt.Sprintf("message %d", i), i, noon.Add(time.Duration(i/4)*time.Second)))
	}
	for i := 0; i+1 < len(all); i += 4 {
		all[i], all[i+1] = all[i+1], all[i]
	}
	for i, r := range all {
		if i == 20 {
			p.kill()
		}
		p.until(ctx, r)
	}
	ids, texts := map[chat.MessageID]string{}, map[string]bool{}
	for _, in := range sink.Got() {
		if was, known := ids[in.ID]; known && was != in.Text {
			t.Errorf("the id %s is of %q and of %q", in.ID, was, in.Text)
		}
		ids[in.ID], texts[in.Text] = in.Text, true
	}
	if len(ids) != 60 || len(texts) != 60 {
		t.Errorf("%d ids and %d texts came", len(ids), len(texts))
	}
	if cut != nil {
		t.Error("the message in the middle of which the device was to go never came")
	}
}

// A message that is sent again after the adapter died is the same one to WhatsApp, and
// what comes back of it is known as ours.
func TestSentAgain(t *testing.T) {
	sink := &channeltest.Sink{}
	ctx, c, p, _ := running(t, sink, nil)
	m := chat.Outbound{ID: 1, To: p.chat, Text: "an answer", Key: "k"}
	first, err := c.Deliver(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	p.kill()
	p.until(ctx, p.words("hi", 1, noon)) // another life
	m.Again = true
	second, err := c.Deliver(ctx, m)
	if err != nil || second != first {
		t.Errorf("it was sent as %q and then as %q, %v", first, second, err)
	}
	by, _ := recordings(t)
	back := by["our own, given back"]
	back.Info = bytes.ReplaceAll(back.Info, []byte("OURS"), []byte(first))
	p.until(ctx, back)
	if got := sink.Got(); len(got) != 2 || !got[1].Sender.Self {
		t.Errorf("got %+v", got)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sent) != 1 || p.sent[0].To != group.String() {
		t.Errorf("WhatsApp shows %+v", p.sent)
	}
}

// A file goes out as what it is, with its words, and as often as it is tried as one.
func TestSendsFiles(t *testing.T) {
	ctx, c, p, _ := running(t, &channeltest.Sink{}, nil)
	path := filepath.Join(t.TempDir(), "x")
	whole := bytes.Repeat([]byte("0123456789abcdef"), 10_000) // in more than one piece
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct{ name, mime, kind string }{{"a.png", "image/png", "image"}, {"a.pdf", "application/pdf", "document"}, {"a.ogg", "audio/ogg", "audio"}} {
		m := chat.Outbound{ID: int64(i), To: p.chat, Text: "see " + tt.name, Key: tt.name, File: &chat.File{Name: tt.name, Type: tt.mime, Path: path, Size: int64(len(whole))}}
		for range 2 {
			if _, err := c.Deliver(ctx, m); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		_, media := kindOf(tt.mime)
		p.mu.Lock()
		var words []string
		for _, s := range p.sent {
			switch {
			case s.Ask == "upload" && (!bytes.Equal(s.Binary, whole) || s.Kind != string(media)):
				t.Errorf("%s was uploaded as %s with %d bytes", tt.name, s.Kind, len(s.Binary))
			case s.Ask == "send":
				words = append(words, s.Kind+": "+s.Text)
			}
		}
		p.sent = nil
		p.mu.Unlock()
		want := []string{tt.mime + ": see " + tt.name}
		if tt.kind == "audio" { // which has no words of its own
			want = []string{tt.mime + ": ", ": see " + tt.name}
		}
		if !slices.Equal(words, want) {
			t.Errorf("WhatsApp shows %q, want %q", words, want)
		}
	}
}

// That an answer is being written is shown until it is there.
func TestShowsTyping(t *testing.T) {
	ctx, c, p, _ := running(t, &channeltest.Sink{}, nil)
	show := func(kind chat.ProgressKind, state string) {
		t.Helper()
		c.(channel.Progress).Progress(ctx, chat.Progress{Run: "r", To: p.chat, Kind: kind})
		for {
			p.mu.Lock()
			n := len(p.sent)
			last := fromPlayed{}
			if n > 0 {
				last = p.sent[n-1]
			}
			p.mu.Unlock()
			if last.Ask == "typing" && last.Kind == state && last.To == group.String() {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("%s was not shown: %+v", state, last)
			}
			time.Sleep(time.Millisecond)
		}
	}
	show(chat.Started, "composing")
	show(chat.Finished, "paused")
}

// What happens to the connection is said in words.
func TestConnectionInWords(t *testing.T) {
	by, _ := recordings(t)
	for _, tt := range []struct {
		event, words string
		state        channel.State
		ends         bool
	}{
		{"lost", "was lost", channel.Connecting, false},
		{"logged out", "nanoclaw channel login whatsapp", channel.Waiting, false},
		{"outdated", "405, client outdated", channel.Ended, true},
	} {
		t.Run(tt.event, func(t *testing.T) {
			said := make(chan channel.Status, 100)
			ctx, _, p, ended := running(t, &channeltest.Sink{}, func(s channel.Status) { said <- s })
			if err := p.play(ctx, by[tt.event]); err != nil && !tt.ends && tt.event != "logged out" {
				t.Error(err)
			}
			if tt.ends {
				select {
				case err := <-ended:
					if !channel.IsPermanent(err) && !strings.Contains(fmt.Sprint(err), tt.words) {
						t.Errorf("it ended with %v", err)
					}
				case <-ctx.Done():
					t.Fatal("it goes on")
				}
			}
			for {
				select {
				case s := <-said:
					if s.State == tt.state && strings.Contains(s.Cause, tt.words) {
						return
					}
				case <-ctx.Done():
					t.Fatalf("nobody said %q", tt.words)
				}
			}
		})
	}
}

// A chat in which the account is not any more is told from a connection that fails.
func TestGone(t *testing.T) {
	ctx, c, p, _ := running(t, &channeltest.Sink{}, nil)
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	_, err := c.Deliver(ctx, chat.Outbound{ID: 1, To: p.chat, Text: "hi", Key: "k"})
	if !channel.IsPermanent(err) || errors.Is(err, chat.ErrNobody) {
		t.Errorf("it gave %v", err)
	}
}
