// Package plan tells a person what a changed configuration means before it holds:
// which values are others, for which groups, which rights grow and which shrink.
//
// It promises that nothing is left out: every value that differs is a change in the
// list (package config knows which of them touch security), and the rights of a
// group are those of two whole grants, one by each configuration, compared (package
// grant). Secrets are told to be others and not shown.
//
// It is pure. Noticing that the file changed, holding runs and accepting the change
// is for others.
package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
)

// Plan is what a change means.
type Plan struct {
	// Changes are the values that are others, those that touch security first.
	Changes []config.Change `json:"changes"`
	// Groups are those whose rights, or whose people, are others.
	Groups []Group `json:"groups,omitempty"`
	// Security says that only a restart by the owner accepts the change.
	Security bool `json:"security"`
}

// Group tells what becomes of one group.
type Group struct {
	Name chat.Group `json:"name"`
	grant.Rights
}

// None says that nothing changed.
func (p Plan) None() bool { return len(p.Changes) == 0 }

// Make compares two configurations as config.FromCanonical gives them, each on the
// machine as it was or is for it; what that lacks now does not matter.
func Make(was, is *config.Config, before, now grant.Machine) Plan {
	p := Plan{Changes: config.Changes(was, is)}
	for _, c := range p.Changes {
		p.Security = p.Security || c.Security
	}
	names := map[string]bool{string(chat.Main): true}
	for _, c := range []*config.Config{was, is} {
		for name := range c.Groups {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		g := Group{chat.Group(name), rights(request(was, before, name), request(is, now, name))}
		g.people(was, is)
		if !g.None() {
			p.Groups = append(p.Groups, g)
		}
	}
	return p
}

// request asks for all that a group could have: as the owner's terminal would, on a
// machine that lacks nothing.
func request(c *config.Config, m grant.Machine, name string) grant.Request {
	m.HasModel, m.Providers = true, slices.Collect(maps.Keys(c.Providers))
	if m.Claude == "" {
		m.Claude = "claude"
	}
	return grant.Request{
		Config: c, Group: chat.Group(name), Machine: m,
		Trigger: grant.Trigger{Kind: "message", Owner: true, Terminal: true},
	}
}

// rights compares what a group could have.
func rights(was, is grant.Request) grant.Rights {
	a, stoppedA, errA := grant.Potential(was)
	b, stoppedB, errB := grant.Potential(is)
	var d grant.Rights
	if errA == nil && errB == nil && !isUnknown(stoppedA) && !isUnknown(stoppedB) {
		d = grant.Compare(a, b)
	}
	before, after := stands(stoppedA, errA), stands(stoppedB, errB)
	switch {
	case before == after:
	case after == "" && isUnknown(stoppedA):
		d.Grows = append([]string{"it is new, and runs"}, granted(b)...)
	case after == "":
		d.Grows = append([]string{"it runs, which it did not: " + before}, d.Grows...)
		if errA != nil {
			d.Grows = append(d.Grows, granted(b)...)
		}
	case before == "":
		d.Shrinks = append([]string{"it does not run any more: " + after}, d.Shrinks...)
	default:
		d.Changes = append(d.Changes, "it does not run: "+after)
	}
	return d
}

func isUnknown(no *grant.Refusal) bool { return no != nil && no.Rule == "group.unknown" }

// granted are the lines of a grant that is new as a whole, without what every
// session has.
func granted(g grant.Grant) []string {
	plain := grant.Grant{Agent: g.Agent, Mode: g.Mode, Limits: g.Limits, Env: g.Env, Endpoints: g.Endpoints, Tools: g.Tools}
	for _, m := range g.Mounts {
		if !m.Foreign {
			plain.Mounts = append(plain.Mounts, m)
		}
	}
	return grant.Compare(plain, g).Grows
}

// stands is what keeps a group from running, in words.
func stands(no *grant.Refusal, err error) string {
	switch {
	case no != nil:
		return no.Text
	case err != nil:
		text, _, _ := strings.Cut(err.Error(), "\n")
		return text
	}
	return ""
}

// people adds what no grant holds and yet is a right in this group: who may speak,
// from where, and when that calls the agent.
func (g *Group) people(before, after *config.Config) {
	was, is := before.Groups[string(g.Name)], after.Groups[string(g.Name)]
	for _, l := range []struct {
		word     string
		was, now []string
	}{{"sender", was.Senders, is.Senders}, {"chat", was.Chats, is.Chats}, {"role of", roles(before, g.Name), roles(after, g.Name)}} {
		for _, s := range l.now {
			if !slices.Contains(l.was, s) {
				g.Grows = append(g.Grows, l.word+" "+s)
			}
		}
		for _, s := range l.was {
			if !slices.Contains(l.now, s) {
				g.Shrinks = append(g.Shrinks, l.word+" "+s)
			}
		}
	}
	const always = "always"
	if was.Trigger == is.Trigger {
		return
	}
	text := fmt.Sprintf("what calls it: %s → %s", cmp.Or(was.Trigger, "the default"), cmp.Or(is.Trigger, "the default"))
	if was.Trigger == always {
		g.Shrinks = append(g.Shrinks, text)
	} else {
		g.Grows = append(g.Grows, text)
	}
}

// roles are who has which role in a group.
func roles(c *config.Config, g chat.Group) []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(c.People)) {
		if p := c.People[id]; slices.Contains(p.Groups, string(g)) || len(p.Groups) == 0 {
			out = append(out, id+" as "+cmp.Or(p.Role, "member"))
		}
	}
	return out
}

// Bounds of a plan in words: of a list, and of one line.
const (
	maxLines = 40
	maxLine  = 500
)

// String tells the plan in words, a line for each thing. What does not fit is
// counted; as a value it is all there.
func (p Plan) String() string {
	if p.None() {
		return "Nothing changed.\n"
	}
	var b strings.Builder
	section := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		fmt.Fprintln(&b, title)
		for i, l := range lines {
			if i == maxLines {
				fmt.Fprintf(&b, "  and %d more: nanoclaw config plan --json\n", len(lines)-i)
				break
			}
			fmt.Fprintln(&b, "  "+oneLine(l))
		}
	}
	lines := func(security bool) (out []string) {
		for _, c := range p.Changes {
			if c.Security == security {
				out = append(out, c.String()+about(c))
			}
		}
		return out
	}
	section("Changes that touch security:", lines(true))
	section("Other changes:", lines(false))
	for _, g := range p.Groups {
		section(fmt.Sprintf("Rights of %s that grow:", g.Name), g.Grows)
		section(fmt.Sprintf("Rights of %s that shrink:", g.Name), g.Shrinks)
		section(fmt.Sprintf("Else for %s:", g.Name), g.Changes)
	}
	return b.String()
}

// about says for whom a change counts and what it does.
func about(c config.Change) string {
	var words []string
	if len(c.Field) > 0 && c.Field[0] != "groups" {
		words = append(words, "all groups")
		if c.Groups != nil {
			words[0] = strings.Join(c.Groups, ", ")
		}
	}
	if c.Sense != config.Turns {
		words = append(words, "rights "+map[config.Sense]string{config.Grows: "grow", config.Shrinks: "shrink"}[c.Sense])
	}
	if words == nil {
		return ""
	}
	return " (" + strings.Join(words, "; ") + ")"
}

// oneLine keeps what stands in a file from looking like another line of the plan.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return '\uFFFD'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxLine {
		return string(r[:maxLine]) + "…"
	}
	return s
}
