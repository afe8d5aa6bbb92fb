package grant

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// Rights tell two grants apart: what the second one gives beside the first, what
// it takes away, and what is neither. What cannot be told to be less counts as more.
type Rights struct {
	Grows   []string `json:"grows,omitempty"`
	Shrinks []string `json:"shrinks,omitempty"`
	Changes []string `json:"changes,omitempty"`
}

// None says that the grants are alike.
func (r Rights) None() bool { return len(r.Grows)+len(r.Shrinks)+len(r.Changes) == 0 }

// Potential is what Decide would give if nothing stood against the group's running
// now: for telling what a configuration means to a group that cannot run. The
// refusal, if there is one, is what stands against it.
func Potential(r Request) (Grant, *Refusal, error) {
	group, ok := r.Config.Groups[string(r.Group)]
	if !ok && r.Group != chat.Main {
		return Grant{}, &Refusal{Rule: "group.unknown", Text: "there is no such group"}, nil
	}
	mode, reason := resolveMode(r, group)
	no, _ := r.checkMode(mode, group).(*Refusal)
	g, err := r.give(group, mode, reason)
	return g, no, err
}

// Compare says what grant b gives and takes beside a. Reasons are not compared.
func Compare(a, b Grant) Rights {
	var d Rights
	d.scalars(a, b)
	was, is := d.system(a.Mounts, b.Mounts)
	keyed(&d, was, is, func(m Mount) string { return m.Target }, Mount.line, compareMounts)
	keyed(&d, a.Egress, b.Egress, Host.key, Host.line, compareHosts)
	keyed(&d, b.Denied, a.Denied, Denied.line, Denied.line, nil) // what is denied no more is a right
	keyed(&d, a.Endpoints, b.Endpoints, func(e Endpoint) string { return e.Name }, Endpoint.line, nil)
	keyed(&d, a.Tools, b.Tools, func(t Tool) string { return t.Name }, Tool.line, nil)
	d.model(a.Model, b.Model)
	keyed(&d, active(a.Servers), active(b.Servers), func(s Server) string { return s.Name }, Server.line, compareServers)
	loose := func(r ToolRule) bool { return r.Level == "allow" }
	line := func(r ToolRule) string { return "rule " + r.Level + " " + r.Rule }
	keyed(&d, filter(a.Rules, loose, true), filter(b.Rules, loose, true), line, line, nil)
	keyed(&d, filter(b.Rules, loose, false), filter(a.Rules, loose, false), line, line, nil)
	d.budget("egress of a session", a.Budget, b.Budget)
	d.limits(a.Limits, b.Limits)
	d.neutral(a, b)
	if d.None() && !alike(a, b) {
		d.Grows = append(d.Grows, Diff(a, b)...)
	}
	return d
}

// system tells in one line of the mounts that are the image's in one grant and this
// machine's in the other, and leaves the rest.
func (d *Rights) system(a, b []Mount) (restA, restB []Mount) {
	old := make(map[string]Mount)
	for _, m := range a {
		old[m.Target] = m
	}
	moved := make(map[string]bool)
	var names []string
	toMachine := false
	for _, m := range b {
		was, ok := old[m.Target]
		if !ok || was.Image == m.Image || was.access() != m.access() || was.File != m.File ||
			was.Foreign || m.Foreign || was.Held || m.Held || cmp.Or(was.Source, m.Target) != cmp.Or(m.Source, m.Target) {
			continue
		}
		moved[m.Target] = true
		names, toMachine = append(names, m.Target), was.Image
	}
	if len(names) == 0 {
		return a, b
	}
	text := strings.Join(names, ", ")
	if toMachine {
		d.Grows = append(d.Grows, "the system is this machine's and not the image's: "+text)
	} else {
		d.Shrinks = append(d.Shrinks, "the system is the image's and not this machine's: "+text)
	}
	rest := func(all []Mount) []Mount {
		return slices.DeleteFunc(slices.Clone(all), func(m Mount) bool { return moved[m.Target] })
	}
	return rest(a), rest(b)
}

// alike compares all but the reasons of single lines.
func alike(a, b Grant) bool {
	a.ModeReason, b.ModeReason, a.AskReason, b.AskReason = "", "", "", ""
	return reflect.DeepEqual(a, b) || slices.Equal(plainLines(a), plainLines(b))
}

func plainLines(g Grant) []string {
	lines := g.Lines()
	for i, l := range lines {
		lines[i] = plain(l)
	}
	return lines
}

// plain is a line without its reason.
func plain(line string) string {
	text, _, _ := strings.Cut(line, "  # ")
	return text
}

func filter(rules []ToolRule, f func(ToolRule) bool, want bool) []ToolRule {
	return slices.DeleteFunc(slices.Clone(rules), func(r ToolRule) bool { return f(r) != want })
}

// keyed compares lists by the key of their elements. judge says what became of an
// element that is in both; nil: it counts as given if its line is another.
func keyed[T any](d *Rights, a, b []T, key, line func(T) string, judge func(a, b T) (grows, same bool)) {
	old := map[string]T{}
	for _, x := range a {
		old[key(x)] = x
	}
	kept := map[string]bool{}
	for _, y := range b {
		k := key(y)
		x, ok := old[k]
		kept[k] = true
		if !ok {
			d.Grows = append(d.Grows, plain(line(y)))
			continue
		}
		was, is := plain(line(x)), plain(line(y))
		grows, same := was != is, was == is
		if judge != nil {
			grows, same = judge(x, y)
		}
		text := was + " → " + is
		switch {
		case same:
		case grows:
			d.Grows = append(d.Grows, text)
		default:
			d.Shrinks = append(d.Shrinks, text)
		}
	}
	for _, x := range a {
		if !kept[key(x)] {
			d.Shrinks = append(d.Shrinks, plain(line(x)))
		}
	}
}

// compareMounts: another source, writing, running and being what it was not are
// rights. What an image has in place of this machine is none: it is the mode's.
func compareMounts(a, b Mount) (grows, same bool) {
	grows = a.Source != b.Source && !b.Image || !a.Write && b.Write || !a.Exec && b.Exec || a.File != b.File || a.Held && !b.Held || a.Foreign != b.Foreign
	return grows, !grows && a.Image == b.Image && a.Write == b.Write && a.Exec == b.Exec && a.Held == b.Held
}

// compareHosts: the usual terms are the narrowest but for rules and budgets.
func compareHosts(a, b Host) (grows, same bool) {
	less := func(a, b bool) bool { return !a && b }
	grows = a.Address != b.Address || less(a.Private, b.Private) || less(a.Raw, b.Raw) || less(a.ECH, b.ECH) || less(a.WebSocket, b.WebSocket) ||
		a.Inspect && !b.Inspect || wider(a.Rules, b.Rules) || looser(a.Budget, b.Budget)
	return grows, reflect.DeepEqual(a.Terms, b.Terms)
}

// active leaves out servers that the session has not.
func active(all []Server) []Server {
	return slices.DeleteFunc(slices.Clone(all), func(s Server) bool { return !s.Active() })
}

// compareServers: of a server that stays, fewer tools alone are less.
func compareServers(a, b Server) (grows, same bool) {
	a.Reason, b.Reason, a.Fix, b.Fix, a.Way.Reason, b.Way.Reason = "", "", "", "", "", ""
	if reflect.DeepEqual(a, b) {
		return false, true
	}
	narrowed := b
	narrowed.Tools = a.Tools
	return wider(a.Tools, b.Tools) || !reflect.DeepEqual(a, narrowed), false
}

// wider compares lists of the only ones, where an empty one is all.
func wider(a, b []string) bool {
	if len(a) == 0 {
		return false
	}
	return len(b) == 0 || slices.ContainsFunc(b, func(s string) bool { return !slices.Contains(a, s) })
}

// looser compares budgets, where zero is no limit.
func looser(a, b Budget) bool {
	return above(a.Upload, b.Upload) || above(a.Download, b.Download) || above(int64(a.Connections), int64(b.Connections))
}

// above says that b bounds less than a, with zero being no bound.
func above(a, b int64) bool { return a != b && (b == 0 || a != 0 && b > a) }

func (d *Rights) budget(what string, a, b Budget) {
	switch text := fmt.Sprintf("%s: %s → %s", what, budgetWords(a), budgetWords(b)); {
	case a == b:
	case looser(a, b):
		d.Grows = append(d.Grows, text)
	default:
		d.Shrinks = append(d.Shrinks, text)
	}
}

func budgetWords(b Budget) string {
	if b == (Budget{}) {
		return "no bound"
	}
	return b.words()
}

// scalars compares mode, agent and whether the owner is asked.
func (d *Rights) scalars(a, b Grant) {
	switch text := fmt.Sprintf("mode %s → %s", a.Mode, b.Mode); {
	case a.Mode == b.Mode:
	case b.Mode == ContainerMode:
		d.Shrinks = append(d.Shrinks, text)
	default:
		d.Grows = append(d.Grows, text)
	}
	if a.Image != b.Image && b.Image != "" {
		d.Grows = append(d.Grows, fmt.Sprintf("image %s → %s", cmp.Or(a.Image, "none"), b.Image))
	}
	if a.Agent != b.Agent {
		d.Grows = append(d.Grows, fmt.Sprintf("agent %s → %s", a.Agent, b.Agent))
	}
	switch {
	case a.Ask && !b.Ask:
		d.Grows = append(d.Grows, "the owner is not asked any more before tools are used")
	case !a.Ask && b.Ask:
		d.Shrinks = append(d.Shrinks, "the owner is asked before tools are used")
	}
}

// model compares whose model is asked, and what it may do.
func (d *Rights) model(a, b *Model) {
	was, is := Model{}, Model{}
	if a != nil {
		was = *a
	}
	if b != nil {
		is = *b
	}
	words := func(m *Model, p string) string {
		switch {
		case m == nil:
			return "none"
		case p == "":
			return "that of the configuration"
		}
		return "of provider " + p
	}
	switch text := fmt.Sprintf("model: %s → %s", words(a, was.Provider), words(b, is.Provider)); {
	case a != nil && b == nil:
		d.Shrinks = append(d.Shrinks, text)
	case (a == nil) != (b == nil) || was.Provider != is.Provider:
		d.Grows = append(d.Grows, text)
	}
	keyed(d, was.ServerTools, is.ServerTools, func(t Tool) string { return t.Name }, Tool.serverLine, nil)
}

// limits compares number by number. Those where zero is no limit are named.
func (d *Rights) limits(a, b Limits) {
	unbounded := map[string]bool{"CPUs": true, "CPUTime": true, "ToolCalls": true, "SameCalls": true, "SameCallsInARow": true}
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		f := va.Type().Field(i)
		if !va.Field(i).CanInt() {
			if !reflect.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
				d.Grows = append(d.Grows, fmt.Sprintf("limit %s: %v → %v", f.Name, va.Field(i), vb.Field(i)))
			}
			continue
		}
		x, y := va.Field(i).Int(), vb.Field(i).Int()
		text := fmt.Sprintf("limit of %s: %s → %s", strings.ReplaceAll(f.Tag.Get("json"), "_", " "), amount(f.Type, x, unbounded[f.Name]), amount(f.Type, y, unbounded[f.Name]))
		switch {
		case x == y:
		case f.Name == "IdleTime":
			d.Changes = append(d.Changes, text)
		case unbounded[f.Name] && above(x, y), !unbounded[f.Name] && y > x:
			d.Grows = append(d.Grows, text)
		default:
			d.Shrinks = append(d.Shrinks, text)
		}
	}
}

func amount(t reflect.Type, n int64, unbounded bool) string {
	switch {
	case n == 0 && unbounded:
		return "none"
	case t == reflect.TypeFor[time.Duration]():
		return time.Duration(n).String()
	case t.Kind() == reflect.Int64: // sizes; numbers of things are int
		return config.Size(n).String()
	}
	return fmt.Sprint(n)
}

// neutral compares what gives no rights: settings, and variables that follow from
// the rest.
func (d *Rights) neutral(a, b Grant) {
	var was, is []string
	lines := func(g Grant) (out []string) {
		for _, s := range g.Settings {
			out = append(out, plain(s.line()))
		}
		for _, s := range g.Servers {
			if !s.Active() {
				out = append(out, plain(s.line()))
			}
		}
		for _, v := range g.Env {
			out = append(out, plain(v.line()))
		}
		return out
	}
	was, is = lines(a), lines(b)
	for _, l := range was {
		if !slices.Contains(is, l) {
			d.Changes = append(d.Changes, "no more: "+l)
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			d.Changes = append(d.Changes, l)
		}
	}
}
