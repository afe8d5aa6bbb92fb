package router

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// Action is what becomes of a message.
type Action string

// The actions.
const (
	Run     Action = "run"     // it starts a run of Group
	Context Action = "context" // kept, bounded, and shown to the agent at the next run
	Ignore  Action = "ignore"  // our own, empty, or from a chat nobody registered: stored, never shown
	Refuse  Action = "refuse"  // its sender may not speak here; never shown to the agent
	Answer  Action = "answer"  // the owner answers a question of the host; never shown to the agent
)

// Answered is the reason of the verdict Answer.
const Answered = "the owner answers a question of the host"

// Verdict is the decision about one message, with its reason in words.
type Verdict struct {
	Group  chat.Group `json:"group,omitempty"`
	Action Action     `json:"action"`
	Reason string     `json:"reason"`
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
	rules Rules
	store Store
	// wake tells the queue that a group has work.
	wake func(chat.Group)
	// answer gets the owner's answers to questions of the host.
	answer func(ctx context.Context, in chat.Inbound)
	// renamed is the assistant's name since it was changed; nil if it was not.
	renamed atomic.Pointer[string]
}

// New makes a router. wake is called after a message that starts a run is
// durable; it must not block.
func New(rules Rules, store Store, wake func(chat.Group)) *Router {
	return &Router{rules: rules, store: store, wake: wake, answer: func(context.Context, chat.Inbound) {}}
}

// Rename gives the assistant another name for the messages that come from now on.
// It is the only rule that may change while the daemon runs.
func (r *Router) Rename(name string) { r.renamed.Store(&name) }

// now are the rules by which a message is decided on.
func (r *Router) now() Rules {
	rules := r.rules
	if name := r.renamed.Load(); name != nil {
		rules.Name = *name
	}
	return rules
}

// OnAnswer has f called with each answer of the owner to a question of the host,
// once it is durable. It is set before the first message.
func (r *Router) OnAnswer(f func(ctx context.Context, in chat.Inbound)) { r.answer = f }

// Deliver decides about one message and stores it. When it returns without an
// error the message is durable and the channel may acknowledge it.
func (r *Router) Deliver(ctx context.Context, in chat.Inbound) (Verdict, error) {
	in.Text, in.Truncated = cut(in.Text, r.rules.MessageSize)
	v := r.now().Decide(in)
	got, err := r.store.Accept(ctx, in, v, r.rules.Keep, r.rules.Queued)
	if err != nil {
		return Verdict{}, fmt.Errorf("storing a message from %s: %w", in.From, err)
	}
	switch {
	case !got.Fresh:
		v.Action, v.Reason = Ignore, "already here"
	case got.Full:
		v.Action, v.Reason = Ignore, fmt.Sprintf("%d messages of this group are waiting already", r.rules.Queued)
	case v.Action == Run:
		r.wake(v.Group)
	case v.Action == Answer:
		r.answer(ctx, in)
	}
	return v, nil
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

// Rules are the routing part of the configuration, ready to be asked. They
// never change while the daemon runs.
type Rules struct {
	Name        string // the assistant's
	MessageSize int    // bytes of text that are kept
	Keep        int    // messages kept as context for each group
	Queued      int    // messages of one group that may wait
	groups      map[chat.Address]chat.Group
	senders     map[chat.Group]map[string]bool
	always      map[chat.Group]bool
}

// Console is the channel of the owner's own terminals. Each group has a chat
// there under its own name.
const Console chat.ChannelID = "console"

// NewRules reads the rules from a validated configuration.
func NewRules(c *config.Config) (Rules, error) {
	r := Rules{
		Name: c.Assistant.Name, MessageSize: int(c.Limits.MessageSize),
		Keep: c.Limits.ContextMessages, Queued: c.Limits.QueuedMessages,
		groups:  map[chat.Address]chat.Group{{Channel: Console, Chat: chat.ChatID(chat.Main)}: chat.Main},
		senders: map[chat.Group]map[string]bool{},
		always:  map[chat.Group]bool{chat.Main: true},
	}
	for name, g := range c.Groups {
		group, err := chat.ParseGroup(name)
		if err != nil {
			return Rules{}, err
		}
		r.groups[chat.Address{Channel: Console, Chat: chat.ChatID(name)}] = group
		for _, s := range g.Chats {
			a, err := chat.ParseAddress(s)
			if err != nil {
				return Rules{}, fmt.Errorf("groups.%s.chats: %w", name, err)
			}
			if other, taken := r.groups[a]; taken && other != group {
				return Rules{}, fmt.Errorf("groups.%s.chats: %s belongs to group %s already", name, a, other)
			}
			r.groups[a] = group
		}
		r.senders[group] = map[string]bool{}
		for _, s := range g.Senders {
			r.senders[group][s] = true
		}
		r.always[group] = g.Trigger == "always" || g.Trigger == "" && group == chat.Main
	}
	return r, nil
}

// Decide is the verdict about one message. Pure.
func (r Rules) Decide(in chat.Inbound) Verdict {
	if in.Sender.Self {
		return Verdict{Action: Ignore, Reason: "we sent it ourselves"}
	}
	group, ok := r.groups[in.From]
	if !ok {
		return Verdict{Action: Ignore, Reason: "the chat " + in.From.String() + " belongs to no group"}
	}
	if !r.maySpeak(group, in) {
		return Verdict{group, Refuse, fmt.Sprintf("sender %s:%s is not in groups.%s.senders", in.From.Channel, in.Sender.ID, group)}
	}
	if _, is := approval.ParseReply(in.Text); is {
		if in.Sender.Owner {
			return Verdict{group, Answer, Answered}
		}
		return Verdict{group, Refuse, "only the owner answers questions of the host"}
	}
	switch {
	case strings.TrimSpace(in.Text) == "" && len(in.Quotes) == 0:
		return Verdict{group, Ignore, "it has no text"}
	case in.Sender.Owner && in.From.Channel == Console:
		return Verdict{group, Run, "the owner wrote it in the terminal"}
	case r.always[group]:
		return Verdict{group, Run, "every message of this group is for the agent"}
	case in.Mentioned:
		return Verdict{group, Run, "the channel marked a mention"}
	case Addressed(in.Text, r.Name):
		return Verdict{group, Run, "it begins with @" + r.Name}
	}
	return Verdict{group, Context, "it calls nobody"}
}

// maySpeak: the owner everywhere, others where they are listed, and in main
// nobody but the owner.
func (r Rules) maySpeak(g chat.Group, in chat.Inbound) bool {
	if in.Sender.Owner {
		return true
	}
	return g != chat.Main && r.senders[g][string(in.From.Channel)+":"+string(in.Sender.ID)]
}
