package grant

import (
	"fmt"
	"strconv"
	"strings"
)

// Lines gives the grant for people: one line for each thing that may be
// touched, with its reason after "#".
func (g Grant) Lines() []string {
	out := []string{
		fmt.Sprintf("group %s", g.Group),
		fmt.Sprintf("mode %s  # %s", g.Mode, g.ModeReason),
		fmt.Sprintf("agent %s", g.Agent),
	}
	for _, m := range g.Mounts {
		out = append(out, m.line())
	}
	for _, v := range g.Env {
		out = append(out, v.line())
	}
	for _, d := range g.Denied {
		out = append(out, d.line())
	}
	for _, h := range g.Egress {
		out = append(out, h.line())
	}
	if g.EgressAsk != "" {
		out = append(out, "egress ask the owner about other hosts  # "+g.EgressAsk)
	}
	if g.Budget != (Budget{}) {
		out = append(out, "egress "+g.Budget.words()+"  # of the whole session")
	}
	for _, e := range g.Endpoints {
		out = append(out, e.line())
	}
	out = append(out, g.Model.lines()...)
	for _, t := range g.Tools {
		out = append(out, t.line())
	}
	for _, s := range g.Servers {
		out = append(out, s.line())
	}
	for _, s := range g.Settings {
		out = append(out, s.line())
	}
	for _, r := range g.Rules {
		out = append(out, fmt.Sprintf("rule %s %s  # %s", r.Level, r.Rule, r.Reason))
	}
	if g.Ask {
		out = append(out, fmt.Sprintf("ask the owner before tools, for %s  # %s", g.Limits.AskTime, g.AskReason))
	}
	l := g.Limits
	out = append(out, fmt.Sprintf("limit %s, %s, %s in a row",
		atMost(l.ToolCalls, "tool calls"), atMost(l.SameCalls, "the same"), atMost(l.SameCallsInARow, "the same")))
	return append(out,
		fmt.Sprintf("limit run %s, idle %s, memory %d MB, %s, %d processes, %d open files, file %d MB, tmp %d MB, disk %d MB, output %d KB",
			l.RunTime, l.IdleTime, l.Memory>>20, l.processors(), l.Processes, l.OpenFiles, l.FileSize>>20, l.TmpSize>>20, l.Disk>>20, l.Output>>10))
}

func atMost(n int, what string) string {
	if n == 0 {
		return "any number of " + what
	}
	return fmt.Sprintf("%d %s", n, what)
}

// String is Lines, one below the other.
func (g Grant) String() string { return strings.Join(g.Lines(), "\n") + "\n" }

func (m Mount) line() string {
	return fmt.Sprintf("mount %s %s%s  # %s", m.access(), m.Target, from(m), m.Reason)
}

func (v Var) line() string { return fmt.Sprintf("env %s=%s  # %s", v.Name, v.Value, v.Reason) }

func (h Host) line() string {
	return fmt.Sprintf("egress %s:%d%s  # %s", h.Pattern, h.Port, h.words(), h.Reason)
}

func (d Denied) line() string {
	pattern := d.Pattern
	if d.Port != 0 {
		pattern = fmt.Sprintf("%s:%d", d.Pattern, d.Port)
	}
	return fmt.Sprintf("egress never %s  # %s", pattern, d.Reason)
}

func (e Endpoint) line() string {
	return fmt.Sprintf("endpoint 127.0.0.1:%d %s  # %s", e.Port, e.Name, e.Reason)
}

func (t Tool) line() string { return fmt.Sprintf("tool %s  # %s", t.Name, t.Reason) }

func (s Setting) line() string {
	value := s.Value
	if s.Name == PromptSetting { // it may have lines, and be long
		value = strconv.Quote(value)
	}
	return fmt.Sprintf("setting %s %s  # %s", s.Name, value, s.Reason)
}

// processors are the limits on processors in words.
func (l Limits) processors() string {
	which := "all processors"
	if l.CPUs > 0 {
		which = fmt.Sprintf("%d processors", l.CPUs)
	}
	if l.CPUTime == 0 {
		return which
	}
	return fmt.Sprintf("%s for %s", which, l.CPUTime)
}

// access is "rw", "rx" or "r".
func (m Mount) access() string {
	switch {
	case m.Write:
		return "rw"
	case m.Exec:
		return "rx"
	}
	return "r "
}

func from(m Mount) string {
	switch {
	case m.Image:
		return " of the image"
	case m.Source == m.Target:
		return ""
	}
	return " = " + m.Source
}

// Diff gives the lines that b has and a has not, with "+", and the other way
// round with "-".
func Diff(a, b Grant) []string {
	have := func(lines []string) map[string]bool {
		set := map[string]bool{}
		for _, l := range lines {
			set[l] = true
		}
		return set
	}
	old, now := a.Lines(), b.Lines()
	inOld, inNow := have(old), have(now)
	var out []string
	for _, l := range old {
		if !inNow[l] {
			out = append(out, "- "+l)
		}
	}
	for _, l := range now {
		if !inOld[l] {
			out = append(out, "+ "+l)
		}
	}
	return out
}
