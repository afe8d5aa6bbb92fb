// Package channel is the seam to chat networks. One adapter, in a folder
// beneath this one, is one network; the host knows none of them by name.
//
// A channel turns events of its network into chat.Inbound values and delivers
// chat.Outbound values. It decides nothing: who may speak, which group is
// meant and whether a run starts is for the router, and when a delivery is
// tried again is for the outbox.
//
// What a channel promises, and the suite in channeltest holds it to:
//
//   - It acknowledges a message to its network only after Sink.Receive
//     returned nil: then the message is durable here (I8).
//   - Everything it reads is somebody else's: sizes are bounded, and identity
//     (chat.Sender) comes from the network's own proof, never from text.
//   - Deliver tells three failures apart: nobody is there (chat.ErrNobody), it
//     can never work (Permanent), and everything else, which may work later.
//
// SafeText is here because every channel that ends in a terminal needs it: what
// an agent wrote is hostile to terminals until it went through it.
package channel

import (
	"context"
	"errors"

	"nanoclaw/internal/chat"
)

// Channel is one connection to a chat network.
type Channel interface {
	// ID names the connection. It never changes.
	ID() chat.ChannelID
	// Self is who we are there, as messages of our own have it as their sender. It is
	// "" as long as that is not known.
	Self() chat.SenderID
	// Run connects, hands each message to sink, and returns when ctx ends (with
	// nil) or when the connection cannot be had any more (with the cause). It is
	// called once.
	Run(ctx context.Context, sink Sink) error
	// Deliver hands one message to the network and gives the network's id of it.
	// It may be called from several goroutines, before Run and after it. It
	// returns when ctx ends. The same message may come again after a crash;
	// chat.Outbound.ID and Key are the same then.
	Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error)
}

// Sink takes in what a channel received.
type Sink interface {
	// Receive returns nil once the message is stored: only then may the network
	// be told that it arrived. A message that came before (same channel, chat and
	// id) is nil too. After an error the network should deliver it again.
	Receive(ctx context.Context, in chat.Inbound) error
}

// Progress is for channels that can show what an agent is doing while it does
// it, or only that it does something: chat.Started begins it, and chat.Finished
// always ends it, so that a network's "is typing" can be kept up between them. It
// must not block: what cannot be shown now is dropped.
type Progress interface {
	Progress(ctx context.Context, p chat.Progress)
}

// Formatter is for channels that say what their network makes of marks in a
// text, so that agents can write for it.
type Formatter interface {
	Markup() chat.Markup
}

// Marker is for channels whose readers show by themselves which words are the
// host's, by the kind of the message. To every other the outbox gives the host's
// words with chat.HostMark before them.
type Marker interface {
	MarksHost()
}

// Permanent marks a delivery error that no later attempt can cure, such as a
// chat that does not exist any more.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent tells whether err was marked by Permanent.
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

type permanentError struct{ err error }

func (p *permanentError) Error() string { return p.err.Error() }
func (p *permanentError) Unwrap() error { return p.err }
