package router

import (
	"fmt"
	"strings"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// Rules are the routing part of the configuration and what the owner decided
// about people, ready to be asked. They never change: where a decision of the
// owner changes something, the router is given others.
type Rules struct {
	Name        string // the assistant's
	MessageSize int    // bytes of text that are kept
	Keep        int    // messages kept as context for each group
	Queued      int    // messages of one group that may wait

	groups map[chat.Address]chat.Group
	people authority.People
	always map[chat.Group]bool
}

// Console is the channel of the owner's own terminals. Each group has a chat
// there under its own name.
const Console chat.ChannelID = "console"

// Decision is what the owner decided about a sender in a group, beside the
// configuration.
type Decision struct {
	Group  chat.Group
	Sender string // CHANNEL:SENDER
	Deny   bool
	// Chat says that it is a program with a chat of its own of the same name.
	Chat bool
}

// NewRules makes the rules of a validated configuration and of what the owner
// decided since.
func NewRules(c *config.Config, decided []Decision) (Rules, error) {
	r := Rules{
		Name: c.Assistant.Name, MessageSize: int(c.Limits.MessageSize),
		Keep: c.Limits.ContextMessages, Queued: c.Limits.QueuedMessages,
		groups: map[chat.Address]chat.Group{{Channel: Console, Chat: chat.ChatID(chat.Main)}: chat.Main},
		always: map[chat.Group]bool{chat.Main: true},
	}
	for name, g := range c.Groups {
		group, err := chat.ParseGroup(name)
		if err != nil {
			return Rules{}, err
		}
		if err := r.addChats(group, g.Chats); err != nil {
			return Rules{}, err
		}
		for _, s := range g.Senders {
			r.people.Give(s, authority.Member, group)
		}
		r.always[group] = g.Trigger == "always" || g.Trigger == "" && group == chat.Main
	}
	for name, h := range c.Channels.Webhook.Hooks {
		if err := r.addProgram(chat.Address{Channel: chat.Webhook, Chat: chat.ChatID(name)}, chat.Group(h.Group)); err != nil {
			return Rules{}, err
		}
	}
	for id, p := range c.People {
		role := authority.Role(p.Role)
		if role == authority.Nobody {
			role = authority.Member
		}
		if role == authority.Owner {
			r.people.Give(id, role, "")
		}
		for _, g := range p.Groups {
			r.people.Give(id, role, chat.Group(g))
		}
	}
	for _, d := range decided {
		if d.Deny {
			r.people.Deny(d.Sender, d.Group)
			continue
		}
		if d.Chat {
			a, err := chat.ParseAddress(d.Sender)
			if err == nil && r.Knows(d.Group) { // a group may have gone since
				err = r.addProgram(a, d.Group)
			}
			if err != nil {
				return Rules{}, err
			}
			continue
		}
		r.people.Give(d.Sender, authority.Member, d.Group)
	}
	return r, nil
}

// addProgram gives a group the chat of a program, in which that alone speaks.
func (r *Rules) addProgram(a chat.Address, g chat.Group) error {
	if other, taken := r.groups[a]; taken && other != g {
		return fmt.Errorf("%s is for group %s, and belongs to %s already", a, g, other)
	}
	r.groups[a] = g
	r.people.Give(a.String(), authority.Member, g)
	return nil
}

// addChats gives a group its terminal and its other chats.
func (r *Rules) addChats(group chat.Group, chats []string) error {
	r.groups[chat.Address{Channel: Console, Chat: chat.ChatID(group)}] = group
	for _, s := range chats {
		a, err := chat.ParseAddress(s)
		if err != nil {
			return fmt.Errorf("groups.%s.chats: %w", group, err)
		}
		if other, taken := r.groups[a]; taken && other != group {
			return fmt.Errorf("groups.%s.chats: %s belongs to group %s already", group, a, other)
		}
		r.groups[a] = group
	}
	return nil
}

// Decide is the verdict about one message. Pure.
func (r Rules) Decide(in chat.Inbound) Verdict {
	if in.Sender.Self {
		return Verdict{Action: Ignore, Reason: "we sent it ourselves"}
	}
	group, ok := r.groups[in.From.Base()]
	if !ok {
		return r.foreign(in)
	}
	who := r.Actor(in, group)
	v := r.decide(in, who)
	v.Group, v.Who = group, who
	return v
}

// foreign is the verdict about a message of a chat that belongs to no group: nothing,
// but for the owner who asks to make it one.
func (r Rules) foreign(in chat.Inbound) Verdict {
	who := r.Actor(in, "")
	if c, is := ParseCommand(in.Text, r.Name); is && c.Verb == Register && who.Role == authority.Owner {
		if v := command(c, who); v.Action == Do {
			v.Who = who
			return v
		}
	}
	return Verdict{Action: Ignore, Reason: "the chat " + in.From.String() + " belongs to no group"}
}

// Actor is who wrote a message, with their role in a group: the owner if the
// channel's own connection proves it, or else what the identity that it proves
// was given.
func (r Rules) Actor(in chat.Inbound, g chat.Group) authority.Actor {
	id := authority.Identity(in.From.Channel, in.Sender.ID)
	who := authority.Actor{Surface: authority.Chat, Role: r.people.RoleIn(id, g), Group: g, From: in.From, Sender: id}
	if in.Sender.Owner && !in.From.Channel.Programs() {
		who.Role = authority.Owner
	}
	if in.Terminal() {
		who.Surface = authority.CLI
	}
	return who
}

// decide is Decide for a message of a registered chat.
func (r Rules) decide(in chat.Inbound, who authority.Actor) Verdict {
	pairing, pairs := approval.ParsePairing(in.Text)
	if v := authority.Decide(authority.Speak, who); !v.Allowed() {
		return r.stranger(who, pairing)
	}
	if pairs {
		return Verdict{Action: Ignore, Reason: "it is a pairing code, and whoever wrote it may speak here already"}
	}
	if _, is := approval.ParseReply(in.Text); is {
		if v := authority.Decide(authority.Approve, who); !v.Allowed() {
			return Verdict{Action: Refuse, Reason: v.Reason, Words: true}
		}
		return Verdict{Action: Answer, Reason: Answered}
	}
	if c, is := ParseCommand(in.Text, r.Name); is {
		return command(c, who)
	}
	switch {
	case strings.TrimSpace(in.Text) == "" && len(in.Quotes) == 0 && len(in.Files) == 0:
		return Verdict{Action: Ignore, Reason: "it has no text"}
	case who.Surface == authority.CLI:
		return Verdict{Action: Run, Reason: "the owner wrote it in the terminal"}
	case r.always[who.Group]:
		return Verdict{Action: Run, Reason: "every message of this group is for the agent"}
	case in.Mentioned:
		return Verdict{Action: Run, Reason: "the channel marked a mention"}
	case Addressed(in.Text, r.Name):
		return Verdict{Action: Run, Reason: "it begins with @" + r.Name}
	}
	return Verdict{Action: Context, Reason: "it calls nobody"}
}

// stranger is the verdict about whoever may not speak. Main is the owner's own
// chat, and a no of the owner's is one: nobody is asked about either.
func (r Rules) stranger(who authority.Actor, pairing string) Verdict {
	switch {
	case who.Group == chat.Main || who.From.Channel == Console:
		return Verdict{Action: Refuse, Reason: "only the owner speaks here, and " + who.Sender + " is not the owner"}
	case r.people.Denied(who.Sender, who.Group):
		return Verdict{Action: Refuse, Reason: "the owner decided that " + who.Sender + " does not speak in " + string(who.Group)}
	}
	return Verdict{
		Action: Refuse, Reason: fmt.Sprintf("sender %s is not in groups.%s.senders, and the owner has not let them in", who.Sender, who.Group),
		Unknown: true, Pairing: pairing,
	}
}

// clearWord is how a run begins a new conversation.
const clearWord = "/clear"

// command is the verdict about a command for the host. What it does to other
// groups is decided where it is known which those are, and so is what follows where
// the table holds it.
func command(c Command, who authority.Actor) Verdict {
	if v := authority.Decide(c.Act(), who); v.Outcome == authority.Deny {
		return Verdict{Action: Refuse, Reason: v.Reason, Command: c, Words: true}
	}
	if c.Verb == Clear && c.Target == "" {
		return Verdict{Action: Run, Reason: "it begins a new conversation", Command: c}
	}
	return Verdict{Action: Do, Reason: Commanded, Command: c}
}

// RoleIn is what a sender is to a group.
func (r Rules) RoleIn(from chat.Address, s chat.Sender, g chat.Group) authority.Role {
	return r.Actor(chat.Inbound{From: from, Sender: s}, g).Role
}

// Knows says that a name is a group's.
func (r Rules) Knows(g chat.Group) bool {
	_, ok := r.always[g]
	return ok
}

// GroupOf is the group that a chat belongs to, "" for none.
func (r Rules) GroupOf(a chat.Address) chat.Group { return r.groups[a.Base()] }
