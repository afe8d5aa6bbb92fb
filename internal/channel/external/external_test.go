package external

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/chat"
)

// fake is an adapter that the test plays: what it says and what it is told.
type fake struct {
	t    *testing.T
	said *io.PipeWriter
	out  *json.Decoder
	toIn *io.PipeReader
	once sync.Once
	gone chan struct{}
}

// end is the host's side of a fake.
type end struct {
	io.Reader
	io.Writer
	f *fake
}

func (e end) Close() error {
	e.f.once.Do(func() {
		e.f.said.CloseWithError(io.ErrClosedPipe)
		e.f.toIn.Close()
		close(e.f.gone)
	})
	return nil
}

func (e end) LastWords() string { return "" }

// played runs a channel whose adapters play does, one life after the other.
func played(t *testing.T, sink channel.Sink, play func(*fake, int), o Options) (c *Channel, causes func() []string) {
	t.Helper()
	lives := 0
	o.ID, o.Supervise = "box", supervise.Options{First: time.Millisecond, Most: 5 * time.Millisecond, Silence: o.Supervise.Silence}
	o.Start = func(context.Context) (Program, error) {
		fromR, fromW := io.Pipe()
		toR, toW := io.Pipe()
		f := &fake{t: t, said: fromW, toIn: toR, out: json.NewDecoder(toR), gone: make(chan struct{})}
		n := lives
		lives++
		go play(f, n)
		return end{fromR, toW, f}, nil
	}
	c = New(o)
	var mu sync.Mutex
	var all []string
	c.OnStatus(func(s channel.Status) {
		mu.Lock()
		defer mu.Unlock()
		if s.State == channel.Waiting || s.State == channel.Ended {
			all = append(all, s.Cause)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { c.Run(ctx, sink); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return c, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, all...)
	}
}

// say writes lines. It may fail: the host ends who says what it may not.
func (f *fake) say(lines ...string) {
	for _, l := range lines {
		if _, err := io.WriteString(f.said, l+"\n"); err != nil {
			return
		}
	}
}

// hear gives the next line of a type, leaving others out.
func (f *fake) hear(kind string) (l toAdapter) {
	for l.Type != kind {
		l = toAdapter{}
		if f.out.Decode(&l) != nil {
			return toAdapter{}
		}
	}
	return l
}

// serve answers pings until the host ends it.
func (f *fake) serve() {
	for l := f.hear("ping"); l.Type != ""; l = f.hear("ping") {
		f.say(fmt.Sprintf(`{"type":"pong","nonce":%q}`, l.Nonce))
	}
}

const (
	helloLine = `{"type":"hello","version":1,"name":"fake","abilities":["files","fetch","history","typing","login"],"markup":"whatsapp"}`
	upLine    = `{"type":"state","state":"connected","self":"me"}`
)

func said(seq int, rest string) string {
	return fmt.Sprintf(`{"type":"message","seq":%d,"message":{"id":"m%d","chat":"team","sender":"ann","text":"hi","sent":"2026-01-02T03:04:05Z"%s}}`, seq, seq, rest)
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// Whatever an adapter does, it is ended for it, and the next of its lives is heard.
func TestMisbehaviour(t *testing.T) {
	many := func(n int, line func(int) string) func(*fake) {
		return func(f *fake) {
			go io.Copy(io.Discard, f.toIn)
			for i := range n {
				f.say(line(i + 1))
			}
			<-f.gone
		}
	}
	one := func(line string) func(*fake) { return many(1, func(int) string { return line }) }
	tests := []struct {
		name   string
		before []string
		do     func(*fake)
		want   string
	}{
		{"no hello", nil, one(upLine), "first line is no hello"},
		{"another version", nil, one(strings.Replace(helloLine, `"version":1`, `"version":2`, 1)), ""},
		{"a crash", []string{helloLine, upLine}, func(f *fake) { f.said.Close(); <-f.gone }, "the adapter ended"},
		{"no JSON", []string{helloLine}, one("hello"), "no JSON object"},
		{"two values", []string{helloLine}, one(upLine + upLine), "no JSON object"},
		{"an unknown line", []string{helloLine}, one(`{"type":"owner"}`), "no line of the type"},
		{"hello twice", []string{helloLine}, one(helloLine), "hello twice"},
		{"claims another channel", nil, one(strings.Replace(helloLine, `"name"`, `"channel":"slack","name"`, 1)), "unknown field"},
		{"claims another channel for a message", []string{helloLine, upLine}, one(said(1, `,"channel":"slack"`)), "unknown field"},
		{"claims the owner", []string{helloLine, upLine}, one(said(1, `,"owner":true`)), "unknown field"},
		{"claims a task", []string{helloLine, upLine}, one(said(1, `,"task":{"id":"t1"}`)), "unknown field"},
		{"claims folders", []string{helloLine, upLine}, one(said(1, `,"ask":{"mounts":["/"]}`)), "unknown field"},
		{"an empty sender", []string{helloLine, upLine}, one(said(1, `,"sender":""`)), "sender is empty"},
		{"a sender of two lines", []string{helloLine, upLine}, one(said(1, `,"sender":"a\nb"`)), "sender is empty"},
		{"a chat that reads backwards", []string{helloLine, upLine}, one(said(1, `,"chat":"a\u202eb"`)), "chat is empty"},
		{"a long id", []string{helloLine, upLine}, one(said(1, `,"id":"`+strings.Repeat("x", 400)+`"`)), "id is empty"},
		{"many files", []string{helloLine, upLine}, one(said(1, `,"files":[`+strings.Repeat(`{"name":"x"},`, 30)+`{"name":"x"}]`)), "too many parts"},
		{"no time", []string{helloLine, upLine}, one(said(1, `,"sent":"0001-01-01T00:00:00Z"`)), "no time"},
		{"a number again", []string{helloLine, upLine}, many(2, func(int) string { return said(1, "") }), "not higher"},
		{"a line without an end", []string{helloLine, upLine}, one(strings.Repeat("x", maxLine+1)), "more than 262144 bytes"},
		{"a line that is too long", []string{helloLine, upLine}, one(said(1, `,"text":"`+strings.Repeat("x", maxLine)+`"`)), "more than 262144 bytes"},
		{"a flood", []string{helloLine, upLine}, many(2*lineBurst, func(int) string { return `{"type":"pong","nonce":"x"}` }), "more than 500 lines"},
		{"an answer to nothing", []string{helloLine, upLine}, one(`{"type":"result","call":7}`), "was not asked"},
		{"it ends itself", []string{helloLine, upLine}, one(`{"type":"state","state":"over"}`), "no state"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sink := &channeltest.Sink{}
			_, causes := played(t, sink, func(f *fake, life int) {
				if life > 0 {
					go f.say(helloLine, upLine, said(77, ""))
					f.serve()
					return
				}
				f.say(tt.before...)
				tt.do(f)
			}, Options{})
			if tt.want == "" { // it is of no use to try again
				waitFor(t, "the end", func() bool { return len(causes()) == 1 })
				return
			}
			waitFor(t, "the next life", func() bool {
				got := sink.Got()
				return len(got) > 0 && got[len(got)-1].ID == "m77"
			})
			if got := causes(); len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("it was ended for %q, want %q", got, tt.want)
			}
			for _, in := range sink.Got() {
				if in.From.Channel != "box" || in.Sender.Owner || in.Task != nil || in.Ask.Mounts != nil {
					t.Errorf("a message came in as %+v", in)
				}
			}
		})
	}
}

// One that hangs gives no sign of life, whatever else it says.
func TestHang(t *testing.T) {
	sink := &channeltest.Sink{}
	_, causes := played(t, sink, func(f *fake, life int) {
		if life > 0 {
			go f.say(helloLine, upLine, said(77, ""))
			f.serve()
			return
		}
		f.say(helloLine, upLine)
		for f.hear("ping").Type != "" { // it hears them, and answers something else
			f.say(`{"type":"pong","nonce":"guessed"}`)
		}
	}, Options{Ping: 10 * time.Millisecond, Supervise: supervise.Options{Silence: 2 * time.Second}})
	waitFor(t, "the next life", func() bool { return len(sink.Got()) == 1 })
	if got := causes(); !strings.Contains(got[0], "no sign of life") {
		t.Errorf("it was ended for %q", got)
	}
}

// No more than the window waits to be stored: one that does not wait for answers is
// ended, and one that does is slowed down by the store.
func TestWindow(t *testing.T) {
	hold := make(chan struct{})
	sink := &channeltest.Sink{Hold: func(ctx context.Context, _ chat.Inbound) error {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return nil
	}}
	_, causes := played(t, sink, func(f *fake, life int) {
		f.say(helloLine, upLine)
		if life > 0 {
			f.serve()
			return
		}
		f.hear("hello")
		for i := range window + 1 {
			f.say(said(i+1, ""))
		}
		<-f.gone
	}, Options{})
	waitFor(t, "its end", func() bool { return len(causes()) == 1 })
	if got := causes(); !strings.Contains(got[0], "more than 32 messages") {
		t.Errorf("it was ended for %q", got)
	}
	close(hold)
}

// Messages that come faster than they are taken are acknowledged later.
func TestPace(t *testing.T) {
	b := bucket{rate: messagesPerSecond, burst: messageBurst}
	at := time.Unix(1000, 0)
	var waited time.Duration
	for range messageBurst + 100 {
		d := b.take(at, 1)
		at, waited = at.Add(d), waited+d
	}
	if want := 2 * time.Second; waited < want-time.Millisecond || waited > want+time.Millisecond {
		t.Errorf("600 messages took %v, want %v", waited, want)
	}
}

// The results of a delivery, and what they mean to the outbox.
func TestResults(t *testing.T) {
	answers := make(chan string, 1)
	c, _ := played(t, &channeltest.Sink{}, func(f *fake, _ int) {
		f.say(helloLine, upLine)
		for l := f.hear("deliver"); l.Type != ""; l = f.hear("deliver") {
			f.say(fmt.Sprintf(`{"type":"result","call":%d%s}`, l.Call, <-answers))
		}
	}, Options{})
	m := chat.Outbound{ID: 9, To: chat.Address{Channel: "box", Chat: "team"}, Kind: chat.Reply, Text: "hello", Key: "k"}
	for _, tt := range []struct {
		answer string
		id     chat.MessageID
		is     func(error) bool
	}{
		{`,"id":"x1"`, "x1", func(err error) bool { return err == nil }},
		{``, "out:9", func(err error) bool { return err == nil }},
		{`,"failure":"nobody"`, "", func(err error) bool { return errors.Is(err, chat.ErrNobody) }},
		{`,"failure":"never","error":"gone"`, "", channel.IsPermanent},
		{`,"failure":"later","error":"busy"`, "", func(err error) bool {
			return err != nil && !channel.IsPermanent(err) && strings.Contains(err.Error(), "busy")
		}},
		{`,"failure":"later","error":"busy","after":30`, "", func(err error) bool { var a *supervise.After; return errors.As(err, &a) && a.Wait == 30*time.Second }},
	} {
		answers <- tt.answer
		id, err := c.Deliver(t.Context(), m)
		if id != tt.id || !tt.is(err) {
			t.Errorf("%q gave %q, %v", tt.answer, id, err)
		}
	}
}

// A reaction is asked of an adapter that said that it can give them, and of no other.
func TestReact(t *testing.T) {
	in := chat.Address{Channel: "box", Chat: "team"}
	for _, can := range []bool{true, false} {
		heard := make(chan toAdapter, 1)
		c, _ := played(t, &channeltest.Sink{}, func(f *fake, _ int) {
			h := helloLine
			if can {
				h = strings.Replace(h, `"login"`, `"login","reactions"`, 1)
			}
			f.say(h, upLine)
			for l := f.hear("react"); l.Type != ""; l = f.hear("react") {
				heard <- l
				f.say(fmt.Sprintf(`{"type":"result","call":%d}`, l.Call))
			}
		}, Options{})
		err := c.React(t.Context(), in, "m1", "👍")
		if !can {
			if c.Reacts() || !channel.IsPermanent(err) {
				t.Errorf("without the ability it reacts: %v, and gave %v", c.Reacts(), err)
			}
			continue
		}
		if l := <-heard; err != nil || !c.Reacts() || l.Chat != "team" || l.ID != "m1" || l.Emoji != "👍" {
			t.Errorf("it was told %+v, and gave %v", l, err)
		}
	}
}

// Files go both ways in pieces, and a history is that of the chat that was asked for.
func TestFilesAndHistory(t *testing.T) {
	const pieces = 3
	whole := bytes.Repeat([]byte("0123456789abcdef"), pieces*maxChunk/16-100)
	var got bytes.Buffer
	c, causes := played(t, &channeltest.Sink{}, func(f *fake, _ int) {
		f.say(helloLine, upLine)
		for {
			var l toAdapter
			if f.out.Decode(&l) != nil {
				return
			}
			switch l.Type {
			case "chunk":
				b, _ := base64.StdEncoding.DecodeString(l.Data)
				got.Write(b)
			case "end":
				f.say(fmt.Sprintf(`{"type":"result","call":%d,"id":"f1"}`, l.Call))
			case "fetch":
				for i := 0; i < len(whole); i += maxChunk {
					f.say(fmt.Sprintf(`{"type":"chunk","call":%d,"data":%q}`, l.Call, base64.StdEncoding.EncodeToString(whole[i:min(len(whole), i+maxChunk)])))
				}
				f.say(fmt.Sprintf(`{"type":"result","call":%d}`, l.Call))
			case "history":
				past := fmt.Sprintf(`{"type":"past","call":%d,"message":{"id":"p1","chat":%q,"sender":"ann","text":"before","sent":"2026-01-02T03:04:05Z"}}`, l.Call, l.Chat)
				if l.Chat == "elsewhere" {
					past = strings.Replace(past, "elsewhere", "team", 1)
				}
				f.say(past, fmt.Sprintf(`{"type":"result","call":%d}`, l.Call))
			}
		}
	}, Options{})
	file := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	to := chat.Address{Channel: "box", Chat: "team"}
	id, err := c.Deliver(t.Context(), chat.Outbound{ID: 1, To: to, Key: "k", Text: "see", File: &chat.File{Name: "x.bin", Path: file, Size: int64(len(whole))}})
	if err != nil || id != "f1" || !bytes.Equal(got.Bytes(), whole) {
		t.Errorf("a file of %d bytes was sent as %d, %q, %v", len(whole), got.Len(), id, err)
	}
	var back bytes.Buffer
	if err := c.Fetch(t.Context(), chat.File{Ref: "r"}, &back); err != nil || !bytes.Equal(back.Bytes(), whole) {
		t.Errorf("a file came as %d bytes, %v", back.Len(), err)
	}
	full := errors.New("it is larger than the host takes")
	if err := c.Fetch(t.Context(), chat.File{Ref: "r"}, writer(func([]byte) (int, error) { return 0, full })); !errors.Is(err, full) {
		t.Errorf("a file that is too large gave %v", err)
	}
	past, err := c.Since(t.Context(), to, time.Unix(0, 0), 10)
	if err != nil || len(past) != 1 || past[0].ID != "p1" || past[0].From != to {
		t.Errorf("the history is %+v, %v", past, err)
	}
	to.Chat = "elsewhere"
	if past, err := c.Since(t.Context(), to, time.Unix(0, 0), 10); err == nil || past != nil {
		t.Errorf("the history of another chat was taken: %+v", past)
	}
	if len(causes()) != 0 {
		t.Errorf("it was ended for %q", causes())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// A login is asked for, and its steps are given until it is done.
func TestLogin(t *testing.T) {
	scanned := make(chan struct{})
	c, _ := played(t, &channeltest.Sink{}, func(f *fake, _ int) {
		f.say(helloLine, `{"type":"state","state":"waiting","cause":"not logged in"}`)
		f.hear("login")
		f.say(`{"type":"login","text":"Scan this","qr":"2@abc"}`)
		<-scanned
		f.say(upLine)
		f.serve()
	}, Options{})
	var step *channel.Step
	waitFor(t, "a step", func() bool {
		var err error
		step, err = c.Login(t.Context())
		return err == nil && step != nil
	})
	if diff := cmp.Diff(&channel.Step{Text: "Scan this", QR: "2@abc"}, step); diff != "" {
		t.Error(diff)
	}
	close(scanned)
	waitFor(t, "the end of the steps", func() bool {
		step, err := c.Login(t.Context())
		return err == nil && step == nil && c.Self() == "me"
	})
}

// What a line holds is decoded in full or not at all, and stays within its bounds.
func FuzzDecode(f *testing.F) {
	for _, l := range []string{helloLine, upLine, said(1, ""), said(1, `,"quotes":[{"author":"a","text":"b","forwarded":true}],"files":[{"name":"x","type":"t","size":3,"ref":"r"}]`),
		`{"type":"chunk","call":1,"data":"AAAA"}`, `{"type":"result","call":1,"failure":"later","after":3}`, `{"type":"login","qr":"x"}`, `{"type":"pong","nonce":"n"}`, `{}`, `[]`, "{\"type\":\"message\",\"message\":{\"id\":\"\xff\"}}"} {
		f.Add([]byte(l))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		v, err := decode(line)
		if err != nil {
			if !errors.Is(err, errProtocol) {
				t.Errorf("the error is %v", err)
			}
			return
		}
		l, ok := v.(messageLine)
		if !ok {
			return
		}
		in := l.Message.inbound("box")
		if in.From.Channel != "box" || in.Sender.Owner || in.Task != nil || len(in.Text) > maxText || len(in.Quotes) > maxQuotes || len(in.Files) > maxFiles {
			t.Errorf("%q became %+v", line, in)
		}
		if a, err := chat.ParseAddress(in.From.String()); err != nil || a != in.From {
			t.Errorf("the address %q does not read back", in.From)
		}
	})
}
