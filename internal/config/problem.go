package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxProblems is how many mistakes of one file are told at once. More would
// scroll the first one, usually the cause, off the screen.
const maxProblems = 20

// Problem is one mistake in a configuration file.
type Problem struct {
	// File as it was named to us.
	File string `json:"file,omitempty"`
	// Line and Column begin at 1; a column is one character. Both are 0 where no
	// file is involved.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Field is the path of the value. It is empty for mistakes of syntax.
	Field Path `json:"field,omitempty"`
	// Expected and Found say what should stand there and what does.
	Expected string `json:"expected"`
	Found    string `json:"found"`
	// Hint is what to do about it, or what was probably meant.
	Hint string `json:"hint,omitempty"`

	// atKey places the problem at the name of the field, not at its value.
	atKey bool
	// unresolved marks a variable without a value. Edit tolerates it: the
	// owner's shell need not have the variables of the daemon.
	unresolved bool
}

// Error gives one line: FILE:LINE:COLUMN: FIELD: expected X, found Y (hint).
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
		if p.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
		}
		b.WriteByte(' ')
	}
	if len(p.Field) > 0 {
		b.WriteString(p.Field.String() + ": ")
	}
	fmt.Fprintf(&b, "expected %s, found %s", p.Expected, p.Found)
	if p.Hint != "" {
		fmt.Fprintf(&b, " (%s)", p.Hint)
	}
	return b.String()
}

// Problems are all mistakes of one file, in the order of the file.
type Problems []Problem

// Error gives one line for each, and says how many more there are.
func (ps Problems) Error() string {
	var lines []string
	for i, p := range ps {
		if i == maxProblems {
			lines = append(lines, fmt.Sprintf("and more: only the first %d are shown", maxProblems))
			break
		}
		lines = append(lines, p.Error())
	}
	return strings.Join(lines, "\n")
}

// err gives nil for no problems, so that a caller's err != nil means what it
// says.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// Path is the way to a value in the file: strings for keys, ints for indexes.
type Path []any

// at makes a path from its elements.
func at(elements ...any) Path { return elements }

// plus gives a longer path and leaves p alone.
func (p Path) plus(elements ...any) Path {
	return append(slices.Clip(p), elements...)
}

// String writes groups.main.mounts[0].path. A key that is not a plain word is
// quoted, so that no key can pretend to be a path: groups["a.b"].mode.
func (p Path) String() string {
	var b strings.Builder
	for _, e := range p {
		switch e := e.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", e)
		case string:
			switch {
			case !plainKey(e):
				fmt.Fprintf(&b, "[%s]", quote(e))
			case b.Len() > 0:
				b.WriteString("." + e)
			default:
				b.WriteString(e)
			}
		}
	}
	return b.String()
}

// MarshalText is String, for --json.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// within says that p is q or lies below it.
func (p Path) within(q Path) bool {
	return len(p) >= len(q) && slices.Equal(p[:len(q)], q)
}

func plainKey(s string) bool {
	for _, r := range s {
		if r != '_' && r != '-' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// quote shows text from the file in a message: one line, no control characters
// that a terminal would obey, and not endless.
func quote(s string) string { return strconv.Quote(clip(s)) }

// clip shortens text for a message.
func clip(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	r := []rune(s[:min(len(s), most*utf8.UTFMax)])
	return string(r[:min(len(r), most)]) + "…"
}

// didYouMean is a hint with the known word nearest to a wrong one. With none
// near it lists them all.
func didYouMean(wrong string, known []string) string {
	best, dist := "", 1+len(wrong)/3
	if len(wrong) <= 64 {
		for _, k := range known {
			if d := distance(strings.ToLower(wrong), strings.ToLower(k)); d <= dist && (best == "" || d < dist) {
				best, dist = k, d
			}
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known here: " + strings.Join(known, ", ")
}

// distance counts the insertions, removals, changes and swaps of neighbours
// that turn a into b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	var before []int // the row before prev
	prev := make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range x {
		row := make([]int, len(y)+1)
		row[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			row[j+1] = min(prev[j+1]+1, row[j]+1, prev[j]+cost)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(y)]
}
