package demo

import (
	"context"
	"testing"

	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/chat"
)

// TestNetwork: the network of the demonstration is a channel like any other.
func TestNetwork(t *testing.T) {
	channeltest.Run(t, func(*testing.T) channeltest.Network {
		n := newNetwork()
		return channeltest.Network{
			Channel: n, Chat: chat.Address{Channel: networkID, Chat: partyChat}, Fetched: true,
			Say: func(ctx context.Context, text string) error {
				_, err := n.says(ctx, partyChat, visitor, text)
				return err
			},
			Connect: func() (func(context.Context) (string, error), func()) {
				next := 0
				return func(ctx context.Context) (string, error) {
					m, err := n.heard(ctx, next, func(chat.Outbound) bool { return true })
					next++
					return m.Text, err
				}, func() {}
			},
		}
	})
}
