package control

import (
	"context"

	"nanoclaw/internal/chat"
)

// Connector logs channels in that are logged in to while they run.
type Connector interface {
	// ChannelLogin asks a channel to begin, and tells how it stands and the step that
	// somebody has to take now. It is called again and again while somebody looks.
	// CodeNotFound if there is no such channel, or none that has steps.
	ChannelLogin(ctx context.Context, r ChannelRequest) (ChannelInfo, error)
}

// ChannelRequest names a channel.
type ChannelRequest struct {
	Channel chat.ChannelID `json:"channel"`
}

// ChannelStep is something to do. Its words are those of a network's adapter.
type ChannelStep struct {
	Text string `json:"text,omitempty"`
	// Copy is to be pasted somewhere, QR is shown as a QR code.
	Copy string `json:"copy,omitempty"`
	QR   string `json:"qr,omitempty"`
}

// ChannelChat is a chat of a channel. Its name is a stranger's.
type ChannelChat struct {
	Address string `json:"address"`
	Name    string `json:"name,omitempty"`
}

// ChannelLogin asks a channel to log in.
func (c *Client) ChannelLogin(ctx context.Context, r ChannelRequest) (ChannelInfo, error) {
	return call[ChannelInfo](ctx, c, "channel/login", r)
}
