package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/chat"
)

// chatNet is a chat network called "net" that the test plays: whoever says
// something there is who the test says, and everything that is delivered is kept.
type chatNet struct {
	mu      sync.Mutex
	sink    channel.Sink
	ready   chan struct{} // closed by Run
	out     []chat.Outbound
	changed chan struct{} // closed at the next delivery
	down    bool          // its one chat cannot be reached
}

func newChatNet() *chatNet {
	return &chatNet{ready: make(chan struct{}), changed: make(chan struct{})}
}

func (n *chatNet) ID() chat.ChannelID { return "net" }

func (n *chatNet) Run(ctx context.Context, sink channel.Sink) error {
	n.mu.Lock()
	n.sink = sink
	close(n.ready)
	n.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (n *chatNet) Self() chat.SenderID { return "nanoclaw" }

func (n *chatNet) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case m.To.Channel != n.ID():
		return "", channel.Permanent(fmt.Errorf("%s is not here", m.To))
	case n.down:
		return "", chat.ErrNobody
	}
	n.out = append(n.out, m)
	close(n.changed)
	n.changed = make(chan struct{})
	return chat.MessageID(fmt.Sprint("out", len(n.out))), nil
}

// receive hands over a message and returns once it is stored.
func (n *chatNet) receive(ctx context.Context, in chat.Inbound) error {
	select {
	case <-n.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	n.mu.Lock()
	in.ID, in.Sent = cmp.Or(in.ID, chat.MessageID(rand.Text())), time.Now()
	in.From.Channel = n.ID()
	sink := n.sink
	n.mu.Unlock()
	return sink.Receive(ctx, in)
}

// says is a message of somebody in a chat.
func (n *chatNet) says(t testing.TB, in, sender, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, n.receive(ctx, chat.Inbound{
		From: chat.Address{Chat: chat.ChatID(in)}, Sender: chat.Sender{ID: chat.SenderID(sender), Name: "I am " + sender}, Text: text,
	}))
}

// heard waits for a delivery to a chat that holds a text, and gives it. The
// deliveries before the mark after are not looked at.
func (n *chatNet) heard(t testing.TB, in, text string, after int) string {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		n.mu.Lock()
		changed := n.changed
		for _, m := range n.out[after:] {
			if m.To.Chat == chat.ChatID(in) && strings.Contains(m.Text, text) {
				n.mu.Unlock()
				return m.Text
			}
		}
		n.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("nobody said %q in %s; there was:\n%s", text, in, strings.Join(n.all(in), "\n"))
		}
	}
}

// mark is the place of now among the deliveries.
func (n *chatNet) mark() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.out)
}

// all are the texts that were delivered to a chat, to all of them for "".
func (n *chatNet) all(in string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, m := range n.out {
		if in == "" || m.To.Chat == chat.ChatID(in) {
			out = append(out, m.Text)
		}
	}
	return out
}

// count is how many deliveries to a chat hold a text.
func (n *chatNet) count(in, text string) int {
	found := 0
	for _, s := range n.all(in) {
		if strings.Contains(s, text) {
			found++
		}
	}
	return found
}

// TestChatNet: the network of these tests is a channel like any other.
func TestChatNet(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) channeltest.Network {
		n := newChatNet()
		n.down = true
		return channeltest.Network{
			Channel: n, Chat: chat.Address{Channel: "net", Chat: "a"}, Leaves: true,
			Say: func(ctx context.Context, text string) error {
				return n.receive(ctx, chat.Inbound{From: chat.Address{Chat: "a"}, Sender: chat.Sender{ID: "x"}, Text: text})
			},
			Connect: func() (func(context.Context) (string, error), func()) {
				n.mu.Lock()
				n.down = false
				n.mu.Unlock()
				next := 0
				return func(ctx context.Context) (string, error) {
						for {
							n.mu.Lock()
							changed := n.changed
							if next < len(n.out) {
								next++
								defer n.mu.Unlock()
								return n.out[next-1].Text, nil
							}
							n.mu.Unlock()
							select {
							case <-changed:
							case <-ctx.Done():
								return "", ctx.Err()
							}
						}
					}, func() {
						n.mu.Lock()
						n.down = true
						n.mu.Unlock()
					}
			},
		}
	})
}
