package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// networkID is the channel's name.
const networkID chat.ChannelID = "demo"

// The chats of the network, and who is there.
const (
	ownersChat = "owner"
	partyChat  = "party"
	familyChat = "family"

	owner    = "sam"     // whose installation it is
	aunt     = "aunt"    // of the family group
	visitor  = "mallory" // may speak in the party group, and means harm
	stranger = "nobody"  // was let in by nobody
)

// Network is the chat network of the demonstration, within the process. Like an
// adapter it hands on who spoke as the network knows it, and text proves nothing.
type Network struct {
	mu      sync.Mutex
	sink    channel.Sink
	ready   chan struct{} // closed by Run
	out     []chat.Outbound
	changed chan struct{} // closed at the next delivery
}

var _ channel.Channel = (*Network)(nil)

func newNetwork() *Network {
	return &Network{ready: make(chan struct{}), changed: make(chan struct{})}
}

// ID gives "demo".
func (n *Network) ID() chat.ChannelID { return networkID }

// Self gives "nanoclaw".
func (n *Network) Self() chat.SenderID { return "nanoclaw" }

// Run takes messages until ctx ends.
func (n *Network) Run(ctx context.Context, sink channel.Sink) error {
	n.mu.Lock()
	n.sink = sink
	close(n.ready)
	n.mu.Unlock()
	<-ctx.Done()
	return nil
}

// Deliver keeps what the host says in a chat.
func (n *Network) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if m.To.Channel != networkID {
		return "", channel.Permanent(fmt.Errorf("%s is not here", m.To))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.out = append(n.out, m)
	close(n.changed)
	n.changed = make(chan struct{})
	return chat.MessageID(fmt.Sprint("out", len(n.out))), nil
}

// says has somebody write in a chat. It returns once the message is stored, and gives
// the place among the deliveries after which an answer comes.
func (n *Network) says(ctx context.Context, in, who, text string) (mark int, err error) {
	select {
	case <-n.ready:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	n.mu.Lock()
	sink, mark := n.sink, len(n.out)
	n.mu.Unlock()
	return mark, sink.Receive(ctx, chat.Inbound{
		From: chat.Address{Channel: networkID, Chat: chat.ChatID(in)}, ID: chat.MessageID(rand.Text()),
		Sender: chat.Sender{ID: chat.SenderID(who), Name: who}, Text: text, Sent: time.Now(),
	})
}

// heard waits for a delivery after the mark that fits.
func (n *Network) heard(ctx context.Context, mark int, fits func(chat.Outbound) bool) (chat.Outbound, error) {
	for {
		n.mu.Lock()
		changed := n.changed
		for _, m := range n.out[mark:] {
			if fits(m) {
				n.mu.Unlock()
				return m, nil
			}
		}
		n.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return chat.Outbound{}, fmt.Errorf("no answer came: %w", context.Cause(ctx))
		}
	}
}

// in is all that was delivered to a chat after the mark.
func (n *Network) in(id string, mark int) (all []chat.Outbound) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.out[mark:] {
		if m.To.Chat == chat.ChatID(id) {
			all = append(all, m)
		}
	}
	return all
}
