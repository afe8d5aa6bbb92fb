package control

import (
	"context"
	"time"

	"nanoclaw/internal/chat"
)

// Keeper keeps what was moved away from the owner's folders because it would have
// run code later. Its methods work on a host that was opened but does not run.
type Keeper interface {
	// Quarantine lists what is kept, the oldest first. With an ID it gives that
	// one, or all of a session, with the files in it; CodeNotFound if there is none.
	Quarantine(ctx context.Context, q QuarantineQuery) ([]Quarantined, error)
	// QuarantineAct restores or removes what an ID names, each thing by itself. It
	// is CodeNotFound if there is none. CodeRefused says that nothing was done.
	QuarantineAct(ctx context.Context, r QuarantineAct) ([]Quarantined, error)
}

// QuarantineQuery asks for all of it, or for what an ID names.
type QuarantineQuery struct {
	ID string `json:"id,omitempty"`
}

// QuarantineAct names what to restore or to remove: one thing, or by the name of a
// session all that it left.
type QuarantineAct struct {
	ID  string `json:"id"`
	Act string `json:"act"`
}

// The acts.
const (
	Restore = "restore"
	Remove  = "remove"
)

// Quarantined is one thing that was moved away.
type Quarantined struct {
	ID      string         `json:"id"`
	At      time.Time      `json:"at"`
	Group   chat.Group     `json:"group,omitempty"`
	Run     chat.RunID     `json:"run,omitempty"`
	Session chat.SessionID `json:"session"`
	// From is where it was, "" if that is not known; To is where it lies. Names
	// may be any bytes; what is no text in them is replaced.
	From string `json:"from,omitempty"`
	To   string `json:"to"`
	What string `json:"what,omitempty"` // in words
	// Failed says why it is not all of what was there.
	Failed string `json:"failed,omitempty"`
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
	// Inside are the files, if they were asked for. More says that there are others.
	Inside []QuarantinedFile `json:"inside,omitempty"`
	More   bool              `json:"more,omitempty"`
	// Error is why an act could not be done with it, "" if it was.
	Error string `json:"error,omitempty"`
}

// QuarantinedFile is a file in it. Text is its beginning. All of it is the
// agent's own.
type QuarantinedFile struct {
	Path string `json:"path"`
	Mode string `json:"mode"`
	Size int64  `json:"size"`
	Link string `json:"link,omitempty"` // where a link leads
	Text string `json:"text,omitempty"`
}

// Quarantine lists what is kept.
func (c *Client) Quarantine(ctx context.Context, q QuarantineQuery) ([]Quarantined, error) {
	return call[[]Quarantined](ctx, c, "quarantine", q)
}

// QuarantineAct restores or removes.
func (c *Client) QuarantineAct(ctx context.Context, r QuarantineAct) ([]Quarantined, error) {
	return call[[]Quarantined](ctx, c, "quarantine/act", r)
}
