package seatbelt

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"nanoclaw/internal/sbpl"
)

// maxRegex bounds one regular expression, in bytes as it is written: Seatbelt
// refuses long ones.
const maxRegex = 900

// written is how long an expression is in the text.
func written(expr string) int { return len(expr) + strings.Count(expr, `\`) + strings.Count(expr, `"`) }

// protect denies changes at protected names in the owner's writable folders, and
// at what is pinned. A thing is not only changed in its place: its folder can be
// moved away and another put there. So the names that lead to it can be neither
// removed nor made either, also where they do not exist yet.
//
// The file system takes upper and lower case for the same, and some letters
// beyond ASCII for ones in it; the expressions know both.
func (w *writer) protect(all []area, p Params) error {
	var roots []string
	for _, a := range all {
		if a.foreign && a.write && !a.file {
			roots = append(roots, a.path)
		}
	}
	names, ways, err := protectedNames(p.Protected)
	if err != nil {
		return err
	}
	for _, some := range together(roots) {
		if len(names) == 0 {
			break
		}
		w.note("Names in %s that make the owner's programs run something.", strings.Join(some, " and "))
		begin := beginning(some)
		if err := w.deny("file-write*", begin, names, "(/.*)?$"); err != nil {
			return err
		}
		// What leads to one may itself be a file: a .git that points elsewhere.
		if err := w.deny("file-write-unlink file-write-create file-write-data", begin, ways, "$"); err != nil {
			return err
		}
		w.rule("deny", "file-write*", w.of("regex", begin+".*("+strings.Join(alike, "|")+")"))
	}
	return w.pin(all, p.Pinned)
}

// together sorts folders into lots for which one expression is written.
func together(roots []string) (lots [][]string) {
	const most = maxRegex / 3
	size := most
	for _, r := range roots {
		if size += written(sbpl.QuoteRegex(r)) + 1; size > most {
			lots, size = append(lots, nil), written(sbpl.QuoteRegex(r))+1
		}
		lots[len(lots)-1] = append(lots[len(lots)-1], r)
	}
	return lots
}

// beginning gives the beginning of an expression for what lies in some folders.
func beginning(roots []string) string {
	quoted := make([]string, len(roots))
	for i, r := range roots {
		quoted[i] = sbpl.QuoteRegex(r)
	}
	return "^(" + strings.Join(quoted, "|") + ")/"
}

// deny writes rules with expressions of bounded length that match each of the
// alternatives, at any depth below what begins so.
func (w *writer) deny(ops, begin string, alternatives []string, end string) error {
	begin += "(.*/)?("
	var filters []string
	for len(alternatives) > 0 {
		n, size := 0, written(begin+end)+1
		for n < len(alternatives) && size+written(alternatives[n])+1 <= maxRegex {
			size += written(alternatives[n]) + 1
			n++
		}
		if n == 0 {
			return fmt.Errorf("a path is too long for a rule about names in it: %s", begin)
		}
		filters = append(filters, w.of("regex", begin+strings.Join(alternatives[:n], "|")+")"+end))
		alternatives = alternatives[n:]
	}
	if filters != nil {
		w.rule("deny", ops, filters...)
	}
	return nil
}

// protectedNames gives the expressions of the names themselves, and of what leads
// to them.
func protectedNames(list []string) (names, ways []string, err error) {
	for _, name := range list {
		if name == "" || path.IsAbs(name) || name != path.Clean(name) || strings.HasPrefix(name, "..") || name == "." {
			return nil, nil, fmt.Errorf("%q is no name that can be protected", name)
		}
		var parts []string
		for part := range strings.SplitSeq(name, "/") {
			parts = append(parts, fold(part))
		}
		names = append(names, strings.Join(parts, "/"))
		for i := 1; i < len(parts); i++ {
			ways = append(ways, strings.Join(parts[:i], "/"))
		}
	}
	slices.Sort(ways)
	return names, slices.Compact(ways), nil
}

// fold gives the expression of one name, for letters of either case. "*" is any
// part of a name.
func fold(name string) string {
	var b strings.Builder
	for _, c := range name {
		switch upper, lower := unicode.ToUpper(c), unicode.ToLower(c); {
		case c == '*':
			b.WriteString("[^/]*")
		case upper != lower:
			b.WriteString("[" + string(upper) + string(lower) + "]")
		default:
			b.WriteString(sbpl.QuoteRegex(string(c)))
		}
	}
	return b.String()
}

// alike are characters that a file system of macOS takes for a letter of ASCII (a
// long s, the sign for Kelvin), or for nothing at all (HFS+: joiners and marks of
// direction). A name with one of them could be a protected one in disguise.
var alike = []string{
	"\u017f", "\u212a",
	"\u200c", "\u200d", "\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e",
	"\u206a", "\u206b", "\u206c", "\u206d", "\u206e", "\u206f", "\ufeff",
}

// pin keeps files and folders as and where they are.
func (w *writer) pin(all []area, pinned []string) error {
	if len(pinned) == 0 {
		return nil
	}
	var ways []string
	for _, p := range pinned {
		if !path.IsAbs(p) || p != path.Clean(p) || p == "/" {
			return fmt.Errorf("%q is no path that can be pinned", p)
		}
		for _, dir := range above(p) {
			if slices.ContainsFunc(all, func(a area) bool { return a.write && beneath(dir, a.path) }) {
				ways = append(ways, dir)
			}
		}
	}
	slices.Sort(ways)
	w.note("What is there already and makes the owner's programs run something.")
	w.rule("deny", "file-write*", w.each("subpath", pinned)...)
	if ways = slices.Compact(ways); len(ways) > 0 {
		w.rule("deny", "file-write-unlink file-write-create", w.each("literal", ways)...)
	}
	return nil
}
