package router

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"nanoclaw/internal/authority"
)

// Verb is what a command of the host does.
type Verb string

// The verbs.
const (
	Help   Verb = "help"
	Status Verb = "status"
	Stop   Verb = "stop"
	Pause  Verb = "pause"
	Resume Verb = "resume"
	// Clear begins a new conversation. It is carried out as a run, so that it has
	// its place between the messages before and after it.
	Clear Verb = "new"
	Mode  Verb = "mode"
	Tasks Verb = "tasks"
	Cost  Verb = "cost"
	Why   Verb = "why"
	// Approve and Deny with a code that can be one are answers, and no commands: see
	// approval.ParseReply.
	Approve Verb = "approve"
	Deny    Verb = "deny"
	// Register is for a chat that belongs to no group, and means nothing elsewhere.
	Register Verb = "register"
)

// Usage is what people are told of a command, and what it does to the chat's own group.
type Usage struct {
	Verb  Verb
	After string // what may follow it
	Does  string
	Act   authority.Act
	// Also are other words for it.
	Also []string
}

// usages are the commands, in the order in which they are told: /help and the table in
// docs/people.md are made of this. It is read and never written.
var usages = []Usage{
	{Help, "", "lists what you may say to the host", authority.HelpShow, nil},
	{Status, "[GROUP or all]", "tells what goes on, what waits, what is paused", authority.Status, nil},
	{Stop, "[RUN, GROUP or all]", "ends what goes on, with everything inside; what waits is held until /resume", authority.Stop, nil},
	{Pause, "[GROUP or all]", "lets no run begin; messages wait", authority.Pause, nil},
	{Resume, "[GROUP or all]", "lets runs begin again", authority.Resume, nil},
	{Clear, "", "begins a new conversation: the agent forgets the one so far", authority.NewConversation, []string{"clear"}},
	{Mode, "[GROUP or all]", "tells the mode of the group, and what the other would be", authority.ModeShow, nil},
	{Tasks, "[GROUP or all]", "lists scheduled tasks", authority.TaskList, nil},
	{Cost, "[GROUP or all]", "tells what the models cost today, and what is left", authority.CostShow, nil},
	{Why, "[RUN]", "explains a run, or else the last one: who asked, what decided, how it ended", authority.Explain, nil},
	{Approve, "[CODE]", "says yes to a question of the host; alone, it lists what is open", authority.Questions, nil},
	{Deny, "[CODE]", "says no to one", authority.Questions, nil},
	{Register, "NAME", "in a chat of no group: asks to make it the group NAME", authority.GroupRegister, nil},
}

// Usages are the commands that somebody may give here: those that authority lets them,
// or holds until the owner confirms it.
func Usages(who authority.Actor) []Usage {
	return slices.DeleteFunc(slices.Clone(usages), func(u Usage) bool {
		return authority.Decide(u.Act, who).Outcome == authority.Deny
	})
}

// String is the command with what may follow it.
func (u Usage) String() string {
	var words []string
	for _, w := range append([]string{string(u.Verb)}, u.Also...) {
		words = append(words, strings.TrimSpace("/"+w+" "+u.After))
	}
	return strings.Join(words, ", ")
}

// HelpText tells somebody of the commands that they may give here.
func HelpText(who authority.Actor) string {
	var b strings.Builder
	b.WriteString("This is for the host itself, and never reaches the agent:")
	for _, u := range Usages(who) {
		fmt.Fprintf(&b, "\n%s: %s", u, u.Does)
	}
	return b.String()
}

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
	u, ok := usageOf(strings.ToLower(verb))
	return Command{u.Verb, strings.Join(words[1:], " ")}, ok
}

// usageOf finds the command of a word.
func usageOf(word string) (Usage, bool) {
	i := slices.IndexFunc(usages, func(u Usage) bool { return string(u.Verb) == word || slices.Contains(u.Also, word) })
	if i < 0 {
		return Usage{}, false
	}
	return usages[i], true
}

// Act is what a command does to the chat's own group.
func (c Command) Act() authority.Act {
	u, _ := usageOf(string(c.Verb))
	return u.Act
}
