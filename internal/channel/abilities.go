package channel

import (
	"context"
	"io"
	"time"

	"nanoclaw/internal/chat"
)

// What a network can do beside carrying text is said by the interfaces below. The
// host asks a channel for each of them by a type assertion, and does without what is
// not there.

// Fetcher is for channels whose messages come with files. chat.File.Ref is what it
// knows a file by.
type Fetcher interface {
	// Fetch writes a file to w, which bounds what it takes: what comes is a stranger's.
	// The error is Permanent if the file cannot be had any more.
	Fetch(ctx context.Context, f chat.File, w io.Writer) error
}

// Filer is for channels that can send files: an Outbound with a File.
type Filer interface {
	// MaxFile is the largest file that can be sent, in bytes.
	MaxFile() int64
}

// Reactor is for channels whose network has reactions.
type Reactor interface {
	// Reacts says whether it can give any now: an adapter in a process of its own may
	// be one that cannot.
	Reacts() bool
	// React gives a message in a chat a reaction, one of chat.Reactions. One that is
	// there already is no error.
	React(ctx context.Context, in chat.Address, to chat.MessageID, emoji string) error
}

// Historian is for channels whose network tells what was said while nobody listened.
type Historian interface {
	// Since gives the messages of a chat after a moment, oldest first, as Receive
	// would have got them, at most max of them. They may be ones that came.
	Since(ctx context.Context, of chat.Address, after time.Time, max int) ([]chat.Inbound, error)
}

// Supervised is for channels that hold a connection which can be lost.
type Supervised interface {
	// OnStatus has f called at each change, from one goroutine at a time. f must not
	// block. It is set before Run.
	OnStatus(f func(Status))
}

// State is how a connection stands.
type State string

// The states.
const (
	Connecting State = "connecting"
	Connected  State = "connected"
	Waiting    State = "waiting" // to connect again
	Ended      State = "ended"   // it cannot be had any more
)

// Status tells of a connection.
type Status struct {
	State State     `json:"state"`
	Since time.Time `json:"since"`
	// Cause is why the last connection ended, or the last attempt failed.
	Cause string `json:"cause,omitempty"`
	// Lost is the last sign of life of the connection before, for Connected; zero if
	// there was none in this process.
	Lost time.Time `json:"lost,omitzero"`
}

// Login is how somebody who sets a channel up is led through it, in a terminal or on
// a page: what to do, step by step, and what is asked for.
type Login struct {
	// Steps are what to do, in order. Each is words, and may hold a text to copy.
	Steps []Step
	// Secrets are what is asked for at the end, in order.
	Secrets []Secret
	// Try says whether secrets work, without keeping anything, and gives words about
	// what they open. values are in the order of Secrets.
	Try func(ctx context.Context, values []string) (string, error)
}

// Pairing is for channels that are logged in to while they run, by steps that come
// from the network one after the other.
type Pairing interface {
	// Login asks for it to begin, and gives the step to take now: nil if there is none
	// yet, or any more. Whoever shows the steps calls it again and again.
	Login(ctx context.Context) (*Step, error)
}

// Lister is for channels that know in which chats they are.
type Lister interface {
	// Rooms are these chats, as far as it knows. Nobody changes the list.
	Rooms() []Room
}

// Room is a chat and what it is called there. The name is a stranger's.
type Room struct {
	Chat chat.ChatID `json:"chat"`
	Name string      `json:"name"`
}

// Step is one thing to do.
type Step struct {
	Text string
	// Copy is to be pasted somewhere, as Text says.
	Copy string
	// QR is to be shown as a QR code, "" for none.
	QR string
}

// Secret is one thing that is asked for. It is never shown.
type Secret struct {
	// Name is under which it is kept, such as "bot".
	Name string
	// Ask are the words of the question.
	Ask string
	// Prefix is what it begins with, "" if nothing is known.
	Prefix string
}
