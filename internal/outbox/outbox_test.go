package outbox

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// row is a message and what became of it.
type row struct {
	chat.Outbound
	attempts int
	due      time.Time
	state    string // pending, sending, sent, given up
	held     bool
}

// rows is a store in memory.
type rows struct {
	mu  sync.Mutex
	all []*row
}

func (s *rows) Put(_ context.Context, m chat.Outbound, at time.Time) (chat.Outbound, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.all {
		if r.Key == m.Key {
			return r.Outbound, nil
		}
	}
	m.ID = int64(len(s.all) + 1)
	s.all = append(s.all, &row{Outbound: m, due: at, state: "pending"})
	return m, nil
}

func (s *rows) Due(_ context.Context, now time.Time, n int) ([]Pending, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Pending
	blocked := map[chat.Address]bool{}
	for _, r := range s.all {
		if r.state != "pending" || blocked[r.To] {
			continue
		}
		if r.held || r.due.After(now) {
			blocked[r.To] = true
			continue
		}
		out = append(out, Pending{r.Outbound, r.attempts})
	}
	return out[:min(n, len(out))], nil
}

func (s *rows) NextDue(context.Context) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next time.Time
	for _, r := range s.all {
		if r.state == "pending" && !r.held && (next.IsZero() || r.due.Before(next)) {
			next = r.due
		}
	}
	return next, nil
}

func (s *rows) at(id int64) *row { return s.all[id-1] }

func (s *rows) Sending(_ context.Context, id int64, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at(id).state = "sending"
	return nil
}

func (s *rows) Sent(_ context.Context, id int64, _ chat.MessageID, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at(id).state = "sent"
	return nil
}

func (s *rows) Retry(_ context.Context, id int64, _ string, next time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.at(id)
	r.state, r.due = "pending", next
	r.attempts++
	return nil
}

func (s *rows) Held(_ context.Context, id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.at(id)
	r.state, r.held = "pending", true
	return nil
}

func (s *rows) GiveUp(_ context.Context, id int64, _ string, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at(id).state = "given up"
	return nil
}

func (s *rows) Unhold(_ context.Context, to chat.Address) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.all {
		if r.To == to {
			r.held = false
		}
	}
	return nil
}

// network is a channel that answers by err and remembers what arrived, and when.
type network struct {
	mu    sync.Mutex
	err   func(text string) error
	texts []string
	tries []time.Duration
	began time.Time
}

func (n *network) Deliver(_ context.Context, m chat.Outbound) (chat.MessageID, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tries = append(n.tries, time.Since(n.began))
	if err := n.err(m.Text); err != nil {
		return "", err
	}
	n.texts = append(n.texts, m.Text)
	return "x", nil
}

// only gives the outbox one channel, or none.
func only(n Channel) func(chat.ChannelID) Channel {
	return func(id chat.ChannelID) Channel {
		if id == "net" {
			return n
		}
		return nil
	}
}

// serve runs an outbox over store and network for a while of virtual time.
func serve(t *testing.T, s *rows, n *network, put []string, while time.Duration, then func(*Outbox)) {
	t.Helper()
	n.began = time.Now()
	o := New(s, only(n), slog.New(slog.DiscardHandler))
	for _, text := range put {
		to := chat.Address{Channel: "net", Chat: chat.ChatID(text[:1])}
		if _, err := o.Put(t.Context(), chat.Outbound{To: to, Text: text, Key: text}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { o.Run(ctx); close(done) }()
	time.Sleep(while)
	synctest.Wait()
	if then != nil {
		then(o)
		synctest.Wait()
	}
	cancel()
	<-done
}

func TestDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n := &rows{}, &network{err: func(string) error { return nil }}
		serve(t, s, n, []string{"a1", "b1", "a2", "a1"}, time.Second, nil)
		slices.SortStableFunc(n.texts, func(a, b string) int { return strings.Compare(a[:1], b[:1]) }) // chats do not wait for each other
		if d := cmp.Diff([]string{"a1", "a2", "b1"}, n.texts); d != "" {
			t.Errorf("in order, once each (-want +got):\n%s", d)
		}
	})
}

// A failure delays its own chat alone, in order, and with growing pauses.
func TestRetriesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := 2
		s := &rows{}
		n := &network{err: func(text string) error {
			if text == "a1" && fails > 0 {
				fails--
				return errors.New("busy")
			}
			return nil
		}}
		serve(t, s, n, []string{"a1", "a2", "b1"}, time.Minute, nil)
		got := map[string]int{}
		for i, text := range n.texts {
			got[text] = i
		}
		if len(n.texts) != 3 || got["a1"] > got["a2"] || got["b1"] > got["a1"] {
			t.Errorf("delivered %v", n.texts)
		}
		if n.tries[len(n.tries)-1] < 6*time.Second { // 2 s, then 4 s
			t.Errorf("tried at %v: the pauses do not grow", n.tries)
		}
	})
}

func TestGivesUpLoudly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n := &rows{}, &network{err: func(string) error { return errors.New("gone") }}
		serve(t, s, n, []string{"a1"}, time.Hour, nil)
		if s.all[0].state != "given up" || len(n.tries) != 6 {
			t.Errorf("%s after %d tries, want given up after 6", s.all[0].state, len(n.tries))
		}
	})
}

func TestPermanentFailureIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n := &rows{}, &network{err: func(string) error { return channel.Permanent(errors.New("no such chat")) }}
		serve(t, s, n, []string{"a1"}, time.Hour, nil)
		if s.all[0].state != "given up" || len(n.tries) != 1 {
			t.Errorf("%s after %d tries, want given up after 1", s.all[0].state, len(n.tries))
		}
	})
}

func TestNobodyCostsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here := false
		s := &rows{}
		n := &network{err: func(string) error {
			if !here {
				return chat.ErrNobody
			}
			return nil
		}}
		serve(t, s, n, []string{"a1"}, time.Hour, func(o *Outbox) {
			if len(n.tries) != 1 || s.all[0].attempts != 0 {
				t.Errorf("%d tries, %d counted; want 1 and 0", len(n.tries), s.all[0].attempts)
			}
			here = true
			if err := o.Attached(t.Context(), s.all[0].To); err != nil {
				t.Error(err)
			}
		})
		if s.all[0].state != "sent" {
			t.Errorf("after somebody attached it is %s", s.all[0].state)
		}
	})
}

func TestUnknownChannel(t *testing.T) {
	s := &rows{}
	o := New(s, only(nil), slog.New(slog.DiscardHandler))
	if _, err := o.Put(t.Context(), chat.Outbound{To: chat.Address{Channel: "none", Chat: "1"}, Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if err := o.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.work.Wait()
	if s.all[0].state != "given up" {
		t.Errorf("it is %s", s.all[0].state)
	}
}

// A terminal that stands still holds up nobody else.
func TestStalledChatHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stalled := &rows{}, make(chan struct{})
		n := stallingNetwork{stalled, &network{err: func(string) error { return nil }}}
		o := New(s, only(n), slog.New(slog.DiscardHandler))
		for _, text := range []string{"a1", "b1"} {
			if _, err := o.Put(t.Context(), chat.Outbound{To: chat.Address{Channel: "net", Chat: chat.ChatID(text[:1])}, Text: text, Key: text}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { o.Run(ctx); close(done) }()
		synctest.Wait()
		if d := cmp.Diff([]string{"b1"}, n.texts); d != "" {
			t.Error(d)
		}
		close(stalled)
		synctest.Wait()
		if len(n.texts) != 2 {
			t.Errorf("delivered %v", n.texts)
		}
		cancel()
		<-done
	})
}

// stallingNetwork stands still for chat "a" until the channel is closed.
type stallingNetwork struct {
	until chan struct{}
	*network
}

func (n stallingNetwork) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	if m.To.Chat == "a" {
		<-n.until
	}
	return n.network.Deliver(ctx, m)
}

// marking is a network whose readers show by themselves who speaks.
type marking struct{ *network }

func (marking) MarksHost() {}

// On every channel only the host's words carry its mark, whatever an agent says.
func TestMark(t *testing.T) {
	o := New(nil, only(nil), slog.New(slog.DiscardHandler))
	o.OnAgentWords(func(s string) string { return strings.ReplaceAll(s, "code", "-") })
	for _, tt := range []struct {
		name string
		ch   Channel
		kind chat.OutboundKind
		text string
		want string
	}{
		{"the host", &network{}, chat.Notice, "a code", "◆ nanoclaw: a code"},
		{"the host asks", &network{}, chat.Question, "a code", "◆ nanoclaw: a code"},
		{"the host, where the reader tells", marking{}, chat.Question, "a code", "a code"},
		{"an agent's answer", &network{}, chat.Reply, "◆ nanoclaw: a code", "◇ nanoclaw: a -"},
		{"an agent's message", &network{}, chat.Tool, "♦⬥❖ nanoclaw: a code", "◇◇◇ nanoclaw: a -"},
		{"an agent, where the reader tells", marking{}, chat.Reply, "◆ nanoclaw: a code", "◇ nanoclaw: a -"},
		{"of no known kind", &network{}, "else", "◆ a code", "◇ a -"},
	} {
		if got := o.shown(tt.ch, chat.Outbound{Kind: tt.kind, Text: tt.text}).Text; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
