package attack

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Words says a state in the words of a table.
func (s State) words() string {
	switch s {
	case Open:
		return "not stopped"
	case Elsewhere:
		return "test"
	}
	return string(s)
}

// WriteTable writes what came of the lines, one row for each and one column for
// each report, and under it what the words mean: why a line is not stopped, and
// what did not come out as it should.
func WriteTable(w io.Writer, reports []Report) error {
	catalogue := Catalogue()
	reports = slices.Clone(reports)
	slices.SortStableFunc(reports, func(a, b Report) int {
		last := func(r Report) int { return strings.Count(r.Engine, Control) }
		return cmp.Or(last(a)-last(b), cmp.Compare(a.Engine, b.Engine))
	})
	width := 0
	for _, l := range catalogue {
		width = max(width, utf8.RuneCountInString(l.Tries))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-5s %-*s", "line", width, "attack")
	for _, r := range reports {
		fmt.Fprintf(&b, "  %-15s", r.Engine+"/"+r.User)
	}
	b.WriteString("\n")
	for _, l := range catalogue {
		row, any := fmt.Sprintf("%-5s %-*s", l.ID, width, l.Tries), false
		for _, r := range reports {
			word := "-"
			if i := slices.IndexFunc(r.Outcomes, func(o Outcome) bool { return o.Line == l.ID }); i >= 0 {
				word, any = r.Outcomes[i].State.words(), true
			}
			row += fmt.Sprintf("  %-15s", word)
		}
		if any {
			b.WriteString(strings.TrimRight(row, " ") + "\n")
		}
	}
	notes(&b, catalogue, reports)
	_, err := io.WriteString(w, b.String())
	return err
}

// left writes what the control arm did not try. The reasons are the same for all
// who run it.
func left(b *strings.Builder, reports []Report) {
	i := slices.IndexFunc(reports, func(r Report) bool { return r.Engine == Control })
	if i < 0 {
		return
	}
	b.WriteString("\nThe control arm has no boundary: there the attacks work. It leaves out, by name:\n")
	for _, o := range reports[i].Outcomes {
		if o.Detail != "" {
			fmt.Fprintf(b, "  %s: %s.\n", o.Line, o.Detail)
		}
	}
}

// notes writes what stands under a table.
func notes(b *strings.Builder, catalogue []Line, reports []Report) {
	open := make(map[string][]string) // reason to lines
	var order []string
	for _, r := range reports {
		for _, o := range r.Outcomes {
			if o.State != Open {
				continue
			}
			if open[o.Detail] == nil {
				order = append(order, o.Detail)
			}
			if !slices.Contains(open[o.Detail], o.Line) {
				open[o.Detail] = append(open[o.Detail], o.Line)
			}
		}
	}
	if len(order) > 0 {
		b.WriteString("\nNot stopped by any boundary, and tried to be sure:\n")
	}
	for _, why := range order {
		fmt.Fprintf(b, "  %s: %s.\n", strings.Join(open[why], ", "), why)
	}
	left(b, reports)
	b.WriteString("\n\"test\" is a line about code of the host, held by the tests that the catalogue names:\n")
	for _, l := range catalogue {
		if !l.tried() && len(l.After) == 0 {
			fmt.Fprintf(b, "  %s: %s.\n", l.ID, strings.Join(l.Shown, ", "))
		}
	}
	for _, r := range reports {
		bad := r.Bad()
		fmt.Fprintf(b, "\n%s/%s: %d lines, %d as they should be.\n", r.Engine, r.User, len(r.Outcomes), len(r.Outcomes)-len(bad))
		for _, m := range r.Missing {
			fmt.Fprintf(b, "  this machine lacks: %s\n", m)
		}
		for _, o := range bad {
			fmt.Fprintf(b, "  %s %s: %s\n", o.Line, o.State, o.Detail)
		}
	}
}
