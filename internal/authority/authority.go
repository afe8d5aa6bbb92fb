package authority

import (
	"fmt"
	"slices"
	"strings"

	"nanoclaw/internal/chat"
)

// Surface is where somebody asks for an act.
type Surface string

// The surfaces.
const (
	// Chat is a message in a channel's chat.
	Chat Surface = "chat"
	// HostTool is a call of an agent, over the wire of its session.
	HostTool Surface = "hosttool"
	// CLI is the owner's terminal: the control socket, whose peer has the owner's
	// uid, and the configuration's own file. The terminal's chat is one too.
	CLI Surface = "cli"
	// Web is the owner's browser, signed in.
	Web Surface = "web"
)

// Surfaces lists them all.
func Surfaces() []Surface { return []Surface{Chat, HostTool, CLI, Web} }

// Role is what a person is to a group. It belongs to a sender's identity, never
// to a chat.
type Role string

// The roles. Who has none may not even speak.
const (
	Nobody Role = ""
	Member Role = "member" // may speak
	Admin  Role = "admin"  // of named groups: also stops, pauses, resumes and looks
	Owner  Role = "owner"  // of all
)

// Actor is who asks, as its surface has proven.
type Actor struct {
	Surface Surface
	// Role is what the person is in Group. It counts for nothing on HostTool.
	Role Role
	// Group is where the act is asked for: the group of the chat, or of the wire.
	// In the terminal it may be empty.
	Group chat.Group
	// From is the chat, empty outside of chats.
	From chat.Address
	// Sender is the person's identity, as CHANNEL:SENDER, for the record.
	Sender string
}

// Terminal is the owner at the control socket, or with the files in hand.
func Terminal() Actor { return Actor{Surface: CLI, Role: Owner, Sender: "console:owner"} }

// Agent is the agent of a group, as its wire proves.
func Agent(g chat.Group) Actor { return Actor{Surface: HostTool, Group: g} }

// Outcome is what Decide says of an act.
type Outcome string

// The outcomes.
const (
	Allow Outcome = "allow"
	Hold  Outcome = "hold" // the owner is asked first
	Deny  Outcome = "deny"
)

// Verdict is the answer, with its reason in words for whoever asked.
type Verdict struct {
	Outcome Outcome
	Reason  string
}

// Allowed says that the act may be done now.
func (v Verdict) Allowed() bool { return v.Outcome == Allow }

// Decide says whether an actor may do an act. Pure.
func Decide(a Act, who Actor) Verdict {
	i := slices.IndexFunc(table, func(r row) bool { return r.act == a })
	if i < 0 {
		return Verdict{Deny, fmt.Sprintf("nobody may do what has no rule (%q)", string(a))}
	}
	r := table[i]
	switch {
	case who.Surface == CLI && who.Role == Owner:
		return r.verdict(r.cli)
	case who.Surface == Web && who.Role == Owner:
		return r.verdict(r.web)
	case who.Surface == Chat && who.Role == Owner:
		return r.verdict(r.owner)
	case who.Surface == Chat && who.Role == Admin && who.Group != "" && who.Group != chat.Main:
		return r.verdict(r.admin)
	case who.Surface == Chat && who.Role == Member && who.Group != "" && who.Group != chat.Main:
		return r.verdict(r.member)
	case who.Surface == HostTool && who.Group == chat.Main:
		return r.verdict(r.main)
	case who.Surface == HostTool && who.Group != "":
		return r.verdict(r.group)
	}
	return Verdict{Deny, "whoever asks has no role here, and may not " + r.words}
}

// Toward gives the act for a target group: itself if the actor's own group is
// meant, or else the same done to another group.
func (a Act) Toward(who Actor, target chat.Group) Act {
	if target != "" && target == who.Group {
		return a
	}
	return a + other
}

// ToAll gives the act done to every group at once.
func (a Act) ToAll() Act { return a + all }

// The endings of acts upon other groups and upon all.
const (
	other = ".other"
	all   = ".all"
)

// Words says what the act is: "may not …".
func (a Act) Words() string {
	if i := slices.IndexFunc(table, func(r row) bool { return r.act == a }); i >= 0 {
		return table[i].words
	}
	return ""
}

// Acts lists every act of the table.
func Acts() []Act {
	out := make([]Act, len(table))
	for i, r := range table {
		out[i] = r.act
	}
	return out
}

// verdict puts a cell of a row in words.
func (r row) verdict(c cell) Verdict {
	e := cells[c]
	return Verdict{e.outcome, strings.ReplaceAll(e.reason, "…", r.words)}
}
