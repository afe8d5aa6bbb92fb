package delayed

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Held is a part of a folder that a session gets as a mount of its own: a place,
// read-only, or a folder above one, writable, which cannot be renamed or removed
// as long as something is mounted on it.
type Held struct {
	Path string // relative
	// What is the sort of place, "" for a folder above one.
	What string
	ID   Identity
}

// Holds gives what is to be mounted, outer before inner. Links, FIFOs, sockets
// and devices cannot be held; Compare finds them replaced. A name that mounts
// cannot carry is an error: without it the place would not be held.
func (s Scanned) Holds() ([]Held, error) {
	var out []Held
	for p, id := range s.Above {
		out = append(out, Held{Path: p, ID: id})
	}
	for _, p := range s.Places {
		if p.Deed == Hold && (p.ID.Dir() || p.ID.Regular()) {
			out = append(out, Held{Path: p.Path, What: p.What, ID: p.ID})
		}
	}
	slices.SortFunc(out, func(a, b Held) int {
		return cmp.Or(cmp.Compare(strings.Count(a.Path, "/"), strings.Count(b.Path, "/")), cmp.Compare(a.Path, b.Path))
	})
	for _, h := range out {
		if !utf8.ValidString(h.Path) || strings.ContainsFunc(h.Path, unicode.IsControl) {
			return nil, fmt.Errorf("%s cannot be held read-only, because of the characters in its name: rename it", Plain(h.Path))
		}
	}
	return slices.CompactFunc(out, func(a, b Held) bool { return a.Path == b.Path }), nil
}
