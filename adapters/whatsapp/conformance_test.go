package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/channel/external"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/chat"
)

// phone is WhatsApp as these tests play it, across the lives of the adapter.
type phone struct {
	t    *testing.T
	home string
	chat chat.Address

	mu   sync.Mutex
	live *life
	n    int
	last *recorded
	gone bool
	seen map[string]bool // ids that were sent: WhatsApp shows each once
	sent []fromPlayed

	texts chan string
}

// life is one process of the adapter.
type life struct {
	io.Reader
	io.Writer
	cmd   *exec.Cmd
	files []io.Closer
	cried bytes.Buffer
	once  sync.Once
	gone  chan struct{}

	mu     sync.Mutex
	tell   *json.Encoder
	played map[int]chan fromPlayed
}

func (l *life) Close() error {
	l.once.Do(func() {
		l.cmd.Process.Kill()
		for _, f := range l.files {
			f.Close()
		}
		l.cmd.Wait()
	})
	return nil
}

func (l *life) LastWords() string {
	l.Close()
	return l.cried.String()
}

func (l *life) say(line toPlayed) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tell.Encode(line)
}

// whatsapp makes a channel whose adapter is this program of the tests, started as the
// daemon starts one, but for the boundary.
func whatsapp(t *testing.T, status func(channel.Status)) (*external.Channel, *phone) {
	p := &phone{t: t, home: t.TempDir(), chat: chat.Address{Channel: "whatsapp", Chat: chat.ChatID(group.String())}, seen: map[string]bool{}, texts: make(chan string, 200)}
	c := external.New(external.Options{
		ID: "whatsapp", Supervise: supervise.Options{First: time.Millisecond, Most: 5 * time.Millisecond},
		Start: func(context.Context) (external.Program, error) { return p.start() },
	})
	if status != nil {
		c.OnStatus(status)
	}
	return c, p
}

// newLife makes a process of the adapter that is to be started, with its folder.
func newLife(home string, env []string, args ...string) (*life, error) {
	l := &life{cmd: exec.Command(os.Args[0], args...)}
	l.cmd.Env, l.cmd.Dir, l.cmd.Stderr = append(append(os.Environ(), "HOME="+home), env...), home, &l.cried
	in, inErr := l.cmd.StdinPipe()
	out, outErr := l.cmd.StdoutPipe()
	l.Reader, l.Writer, l.files = out, in, []io.Closer{in, out}
	return l, errors.Join(inErr, outErr)
}

func (p *phone) start() (external.Program, error) {
	l, err := newLife(p.home, []string{playedEnv + "=1"})
	toR, toW, toErr := os.Pipe()
	fromR, fromW, fromErr := os.Pipe()
	if err := errors.Join(err, toErr, fromErr); err != nil {
		return nil, err
	}
	l.cmd.ExtraFiles = []*os.File{toR, fromW}
	l.gone, l.played = make(chan struct{}), map[int]chan fromPlayed{}
	l.tell, l.files = json.NewEncoder(toW), append(l.files, toW)
	err = l.cmd.Start()
	toR.Close()
	fromW.Close()
	if err != nil {
		return nil, err
	}
	go p.listen(l, fromR)
	return l, nil
}

// listen takes what a life says until it ends.
func (p *phone) listen(l *life, from *os.File) {
	defer close(l.gone)
	defer from.Close()
	for d := json.NewDecoder(from); ; {
		var line fromPlayed
		if d.Decode(&line) != nil {
			return
		}
		switch line.Ask {
		case "":
			l.mu.Lock()
			c := l.played[line.N]
			l.mu.Unlock()
			c <- line
		case "typing":
			p.mu.Lock()
			p.sent = append(p.sent, line)
			p.mu.Unlock()
		default:
			l.say(p.answer(l, line))
		}
	}
}

// answer is WhatsApp's to what the adapter does.
func (p *phone) answer(l *life, line fromPlayed) toPlayed {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch line.Ask {
	case "connect":
		p.live = l
	case "download":
		return toPlayed{N: line.N, Binary: []byte("bytes")}
	case "send", "upload", "react":
		if p.gone {
			return toPlayed{N: line.N, Gone: true}
		}
		if line.Ask != "upload" && p.seen[line.ID] {
			return toPlayed{N: line.N}
		}
		p.seen[line.ID] = true
		p.sent = append(p.sent, line)
		if line.Ask == "send" {
			p.texts <- line.Text
		}
	}
	return toPlayed{N: line.N}
}

// play has an event come, and gives whether WhatsApp was told that it arrived.
func (p *phone) play(ctx context.Context, r recorded) error {
	p.mu.Lock()
	p.n++
	n, l := p.n, p.live
	p.last = &r
	p.mu.Unlock()
	if l == nil {
		return errors.New("no device is connected")
	}
	c := make(chan fromPlayed, 1)
	l.mu.Lock()
	l.played[n] = c
	l.mu.Unlock()
	if err := l.say(toPlayed{N: n, Event: &r}); err != nil {
		return err
	}
	select {
	case got := <-c:
		if got.Error != "" {
			p.t.Error(got.Error)
		}
		if !got.Taken {
			return errors.New("it was not acknowledged")
		}
		return nil
	case <-l.gone:
		return errors.New("the device is gone")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until plays an event as often as WhatsApp would: until it was acknowledged.
func (p *phone) until(ctx context.Context, r recorded) {
	p.t.Helper()
	for p.play(ctx, r) != nil {
		if ctx.Err() != nil {
			p.t.Fatal(ctx.Err())
		}
		time.Sleep(time.Millisecond)
	}
}

// words is a message in the group.
func (p *phone) words(text string, id int, sent time.Time) recorded {
	info, err := json.Marshal(map[string]any{"Chat": group, "Sender": ann, "IsGroup": true, "ID": fmt.Sprintf("3AF1%016X", id), "PushName": "Ann", "Timestamp": sent})
	if err != nil {
		p.t.Fatal(err)
	}
	message, err := json.Marshal(map[string]string{"conversation": text})
	if err != nil {
		p.t.Fatal(err)
	}
	return recorded{Kind: "message", Info: info, Message: message}
}

// kill ends the adapter's process without a word.
func (p *phone) kill() {
	p.mu.Lock()
	l := p.live
	p.mu.Unlock()
	l.cmd.Process.Kill()
	<-l.gone
}

func (p *phone) network(c *external.Channel) channeltest.Network {
	said := 0
	return channeltest.Network{
		Channel: c, Chat: p.chat,
		Say: func(ctx context.Context, text string) error {
			said++
			return p.play(ctx, p.words(text, said, noon))
		},
		Repeat: func(ctx context.Context) error { return p.play(ctx, *p.last) },
		Cut:    p.kill,
		Reacted: func() (all []string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, l := range p.sent {
				if l.Ask == "react" {
					all = append(all, l.To+" "+l.Kind+" "+strings.TrimSuffix(l.Text, "\ufe0f"))
				}
			}
			return all
		},
		Connect: func() (func(context.Context) (string, error), func()) {
			received := func(ctx context.Context) (string, error) {
				select {
				case text := <-p.texts:
					return text, nil
				case <-ctx.Done():
					return "", ctx.Err()
				}
			}
			return received, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.gone = true
			}
		},
	}
}

// The adapter is a channel like any other.
func TestConformance(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) channeltest.Network {
		c, p := whatsapp(t, nil)
		return p.network(c)
	})
}

// The suite and the host's side are of the tests alone: the program is of nothing of
// nanoclaw's, and speaks with it by what docs/adapters.md says.
func TestLinksNothingOfNanoclaw(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		if strings.HasPrefix(pkg, "nanoclaw/") && pkg != "nanoclaw/adapters/whatsapp" {
			t.Errorf("it links %s", pkg)
		}
	}
}
