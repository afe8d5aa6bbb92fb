package router

import (
	"strings"

	"golang.org/x/text/unicode/norm"

	"nanoclaw/internal/authority"
)

// Verb is what a command of the host does.
type Verb string

// The verbs.
const (
	Stop   Verb = "stop"
	Pause  Verb = "pause"
	Resume Verb = "resume"
	Status Verb = "status"
	Tasks  Verb = "tasks"
	// Clear begins a new conversation. It is carried out as a run, so that it has
	// its place between the messages before and after it.
	Clear Verb = "clear"
)

// Command is what somebody tells the host itself, and not an agent.
type Command struct {
	Verb Verb
	// Target is what follows it: a run, a group, "all", "" for this chat's group, or
	// words that mean nothing.
	Target string
}

// All is the target that means all groups.
const All = "all"

// ParseCommand says whether a text is a command of the host: one that begins
// with a slash and a verb, behind a mention of the assistant's name, or of
// anybody's that is one word, if one likes. What follows the verb makes it no
// message for the agent.
func ParseCommand(text, name string) (c Command, ok bool) {
	text = norm.NFKC.String(text)
	if Addressed(text, name) {
		rest, _ := cutFold(strings.TrimSpace(text)[1:], strings.TrimSpace(norm.NFKC.String(name)))
		text = strings.TrimLeft(rest, " ,:;")
	}
	words := strings.Fields(text)
	if len(words) > 1 && strings.HasPrefix(words[0], "@") {
		words = words[1:]
	}
	if len(words) == 0 || !strings.HasPrefix(words[0], "/") {
		return Command{}, false
	}
	// Some networks add whom of several programs in a chat it is for: /stop@name.
	verb, _, _ := strings.Cut(words[0][1:], "@")
	switch v := Verb(strings.ToLower(verb)); v {
	case Stop, Pause, Resume, Status, Tasks:
		return Command{v, strings.Join(words[1:], " ")}, true
	case Clear, "new":
		return Command{Clear, strings.Join(words[1:], " ")}, true
	}
	return Command{}, false
}

// Act is what a command does to the chat's own group.
func (c Command) Act() authority.Act {
	switch c.Verb {
	case Stop:
		return authority.Stop
	case Pause:
		return authority.Pause
	case Resume:
		return authority.Resume
	case Clear:
		return authority.NewConversation
	}
	return authority.Status
}
