package router

import (
	"context"
	"fmt"
	"sync"
	"unicode/utf8"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/steps"
)

// Action is what becomes of a message.
type Action string

// The actions.
const (
	Run     Action = "run"     // it starts a run of Group
	Context Action = "context" // kept, bounded, and shown to the agent at the next run
	Ignore  Action = "ignore"  // our own, empty, or from a chat nobody registered: stored, never shown
	Refuse  Action = "refuse"  // its sender may not speak here; never shown to the agent
	Answer  Action = "answer"  // it answers a question of the host; never shown to the agent
	Do      Action = "do"      // it is a command for the host; never shown to the agent
)

// The reasons of the verdicts Answer and Do.
const (
	Answered  = "it answers a question of the host"
	Commanded = "it is a command for the host"
)

// Verdict is the decision about one message, with its reason in words.
type Verdict struct {
	Group  chat.Group `json:"group,omitempty"`
	Action Action     `json:"action"`
	Reason string     `json:"reason"`
	// Who wrote it, as the channel proved and the owner decided.
	Who authority.Actor `json:"-"`
	// Command is what is commanded, for Do, and for Refuse if that is what was
	// refused.
	Command Command `json:"-"`
	// Unknown says of a refused sender that the owner has not decided about them.
	Unknown bool `json:"-"`
	// Pairing is the code that they gave, to be let in.
	Pairing string `json:"-"`
	// Full says that too much waits already, so that it was not taken.
	Full bool `json:"-"`
	// Words says that whoever wrote it may be told the reason.
	Words bool `json:"-"`
	// Row is the stored message. Again says that an earlier process had begun with
	// what it says, so that some of it may be done.
	Row   int64 `json:"-"`
	Again bool  `json:"-"`
}

// Store is what the router needs of the store.
type Store interface {
	// Accept stores one message with its verdict and the audit entry in one
	// transaction. Fresh is false, and nothing changes, if this message (channel,
	// chat, id) is already stored. For Context it also prunes the oldest context
	// of the group beyond keep. If the group already has max messages waiting the
	// message is stored with Ignore and that reason, and Full is true.
	Accept(ctx context.Context, in chat.Inbound, v Verdict, keep, max int) (Accepted, error)
}

// Accepted says what Accept did.
type Accepted struct {
	Row   int64 // our own row id, which is the order of messages
	Fresh bool  // false: it was already there
	Full  bool  // true: the group's queue was full, the message is stored but starts nothing
}

// Router sends messages to groups.
type Router struct {
	store Store
	// wake tells the queue that a group has work.
	wake func(chat.Group)
	// host gets what is for the host.
	host func(ctx context.Context, in chat.Inbound, v Verdict)

	mu    sync.RWMutex // held for reading while a message is decided and stored
	rules Rules
}

// New makes a router. wake is called after a message that starts a run is
// durable; it must not block.
func New(rules Rules, store Store, wake func(chat.Group)) *Router {
	return &Router{rules: rules, store: store, wake: wake, host: func(context.Context, chat.Inbound, Verdict) {}}
}

// OnHost has f called with each message that is an answer to a question of the
// host, a command for it, or refused, once that is durable, and once for each.
// It is set before the first message.
func (r *Router) OnHost(f func(ctx context.Context, in chat.Inbound, v Verdict)) { r.host = f }

// SetRules has messages decided by other rules. When it returns, no message that
// was decided by the old ones is still to be stored.
func (r *Router) SetRules(rules Rules) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules = rules
}

// Rename gives the assistant another name for the messages that come from now on.
func (r *Router) Rename(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules.Name = name
}

// Rules are those of now.
func (r *Router) Rules() Rules {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.rules
}

// Deliver decides about one message and stores it. When it returns without an
// error the message is durable and the channel may acknowledge it.
func (r *Router) Deliver(ctx context.Context, in chat.Inbound) (Verdict, error) {
	in, v, got, err := r.take(ctx, in)
	if err != nil {
		return Verdict{}, fmt.Errorf("storing a message from %s: %w", in.From, err)
	}
	switch {
	case !got.Fresh:
		v.Action, v.Reason = Ignore, "already here"
	case got.Full:
		v.Action, v.Full, v.Reason = Ignore, true, fmt.Sprintf("too many messages of this group, or of this sender in it, are waiting already (limits.queuedMessages is %d)", r.Rules().Queued)
	case v.Action == Run:
		r.wake(v.Group)
	case v.Action == Answer, v.Action == Do, v.Action == Refuse:
		v.Row = got.Row
		r.host(ctx, in, v)
	}
	return v, nil
}

// take decides about a message and stores it, by one set of rules.
func (r *Router) take(ctx context.Context, in chat.Inbound) (chat.Inbound, Verdict, Accepted, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	in.Text, in.Truncated = cut(in.Text, r.rules.MessageSize)
	in.ID, in.Task = chat.FromNetwork(in.ID), nil // no network sends tasks
	v := r.rules.Decide(in)
	if v.Who.Role == authority.Owner { // from here on it is the same, however it was proven
		in.Sender.Owner = true
	}
	if v.Action == Run && v.Command.Verb == Clear {
		in.Text = clearWord
	}
	steps.Before(steps.Accept)
	got, err := r.store.Accept(ctx, in, v, r.rules.Keep, r.rules.Queued)
	steps.After(steps.Accept)
	return in, v, got, err
}

// cut shortens s to at most n bytes, at a rune's end.
func cut(s string, n int) (string, bool) {
	if n <= 0 || len(s) <= n {
		return s, false
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n], true
}
