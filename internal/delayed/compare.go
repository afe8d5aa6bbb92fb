package delayed

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Finding is a place that a session left changed, or new.
type Finding struct {
	Place
	// Move says that it is to be moved away; otherwise it is only told.
	Move bool
	// Note says more than "new".
	Note string
}

// Compare says what became of a folder between two scans.
//
// What was there before is never moved: an agent could otherwise have us take
// away the owner's files by making them look like a place. So a place that is one
// only through a link, a setting or a shape counts only where that was there
// before, unchanged.
func Compare(before, after Scanned) []Finding {
	c := comparison{was: map[string]Place{}, is: map[string]Place{}}
	for _, p := range before.Places {
		c.was[p.Path] = p
		c.files = append(c.files, p.ID)
	}
	for _, p := range after.Places {
		c.is[p.Path] = p
	}
	var out []Finding
	for _, p := range after.Places {
		if f, ok := c.judge(p); ok {
			out = append(out, f)
		}
	}
	return out
}

type comparison struct {
	was, is map[string]Place
	files   []Identity // of all places before
}

func (c comparison) judge(p Place) (Finding, bool) {
	old, known := c.was[p.Path]
	switch {
	case !c.founded(p):
		return Finding{}, false
	case p.Deed == Tell:
		return c.tell(p, old, known)
	case !known && slices.Contains(c.files, p.ID):
		return Finding{}, false // the owner renamed a folder around it
	case !known:
		return Finding{Place: p, Move: true}, true
	case p.Deed == Mark, p.ID == old.ID:
		return Finding{}, false
	case p.ID.link() || old.ID.link():
		// A link cannot be held by a mount.
		note := "it replaced what was there"
		if old.Link != "" {
			note = "it replaced a link to " + Plain(old.Link)
		}
		return Finding{Place: p, Move: true, Note: note}, !p.ID.Same(old.ID) || p.Link != old.Link
	case !p.ID.Same(old.ID):
		return Finding{Place: p, Note: "it was replaced on this machine while it was held, and could be changed from then on: look at it"}, true
	case p.ID.Regular() && old.ID.Links > 1:
		return Finding{Place: p, Note: "it changed, maybe through another of its names: look at it"}, true
	}
	return Finding{}, false
}

// tell is about places that are left as they are.
func (c comparison) tell(p, old Place, known bool) (Finding, bool) {
	switch {
	case !known:
		return Finding{Place: p, Note: "new"}, true
	case p.ID.Same(old.ID) && p.ID.Dir(), p.ID == old.ID:
		return Finding{}, false
	}
	return Finding{Place: p, Note: "changed"}, true
}

// founded says whether p is a place by its own name, or by things that were there
// before and are as they were.
func (c comparison) founded(p Place) bool {
	for _, v := range p.Via {
		old, known := c.was[v]
		now := c.is[v]
		if !known || !old.ID.Same(now.ID) || !now.ID.Dir() && now.ID != old.ID {
			return false
		}
	}
	if p.Of == "" || p.Deed == Mark {
		return true
	}
	for path := range c.was {
		if strings.EqualFold(path, p.Of+"/head") || p.Of == "." && strings.EqualFold(path, "head") {
			return true
		}
	}
	return false
}

// Changed compares two scans with Contents and says what is new or changed, as
// lines for people. Nothing of it is to be moved.
func Changed(before, after Scanned) []string {
	was := map[string]Identity{}
	for _, p := range before.Places {
		was[p.Path] = p.ID
	}
	var out []string
	for _, p := range after.Places {
		id, known := was[p.Path]
		if p.ID.Dir() || p.Deed == Mark || known && id == p.ID {
			continue
		}
		out = append(out, fmt.Sprintf("%s (%s)", Plain(p.Path), p.What))
	}
	return out
}

// String is the finding as a line for people.
func (f Finding) String() string {
	s := fmt.Sprintf("%s (%s)", Plain(f.Path), f.What)
	if f.Note != "" {
		s += ": " + f.Note
	}
	return s
}

// maxName is how much of a name is shown, in bytes.
const maxName = 160

// Plain makes a name fit for a line of a chat or a terminal. A name may be any
// bytes: it could repaint a terminal, or look like another one.
func Plain(name string) string {
	if len(name) > maxName {
		name = name[:maxName/2] + "…" + name[len(name)-maxName/2:]
	}
	odd := strings.ContainsFunc(name, func(r rune) bool {
		return r == unicode.ReplacementChar || r == '"' || r == '\\' || !unicode.IsPrint(r)
	})
	if odd || name == "" {
		return strconv.QuoteToASCII(name)
	}
	return name
}

// maxShown is how many lines a list for people has.
const maxShown = 15

// List gives the first lines, and how many more there are.
func List(lines []string) []string {
	if len(lines) <= maxShown {
		return lines
	}
	return append(slices.Clone(lines[:maxShown]), fmt.Sprintf("and %d more", len(lines)-maxShown))
}
