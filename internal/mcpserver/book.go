package mcpserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// Book keeps what servers said of their tools, in a file of the host.
type Book struct {
	path string

	mu      sync.Mutex
	servers map[string]Page
}

// Page is what is known of one server: the definitions that are pinned, and those
// that it has now if they are others.
type Page struct {
	Definitions
	// Since is when it was first seen to be so, and By who accepted it: FirstUse, or
	// whom the owner's answer came from.
	Since time.Time `json:"since"`
	By    string    `json:"by,omitempty"`
	// Next is what the server says now, nil if that is what is pinned.
	Next *Definitions `json:"next,omitempty"`
}

// FirstUse is who accepted what a server said when it was looked at for the first
// time.
const FirstUse = "first use"

// Now is what the server said when it was last looked at.
func (p Page) Now() Definitions {
	if p.Next != nil {
		return *p.Next
	}
	return p.Definitions
}

// Accepted are the pinned definitions that still are what the server says.
func (p Page) Accepted() Accepted {
	now, a := p.Now(), Accepted{Tools: map[string]string{}}
	for name, hash := range p.Tools {
		if now.Tools[name] == hash {
			a.Tools[name] = hash
		}
	}
	if now.Instructions == p.Definitions.Instructions {
		a.Instructions = p.Definitions.Instructions
	}
	return a
}

// OpenBook reads a book, or begins one.
func OpenBook(path string) (*Book, error) {
	b := &Book{path: path, servers: map[string]Page{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &b.servers)
	}
	if err != nil {
		return nil, fmt.Errorf("what is known of MCP servers cannot be read: %w\nmove %s away: changes of tools since then will not be noticed", err, path)
	}
	return b, nil
}

// Change is what became different about a server's tools.
type Change struct {
	// First says that nothing was known of the server, News that what it says was
	// not seen before.
	First, News             bool
	Was, Is                 string // hashes
	Added, Removed, Changed []string
}

// None says that nothing is new.
func (c Change) None() bool { return c.Was == c.Is }

// Words tells a change, for the owner. Names of tools are the server's words.
func (c Change) Words() string {
	var parts []string
	for _, p := range []struct {
		what  string
		names []string
	}{{"new", c.Added}, {"gone", c.Removed}, {"described otherwise", c.Changed}} {
		if len(p.names) > 0 {
			parts = append(parts, p.what+": "+shorten(p.names))
		}
	}
	return strings.Join(parts, "; ")
}

func shorten(names []string) string {
	const most = 10
	var out []string
	for _, n := range names[:min(len(names), most)] {
		out = append(out, clip(n, 60))
	}
	if more := len(names) - most; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}

// Compare says what is other than what is pinned, without writing it down.
func (b *Book) Compare(server string, d Definitions) Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, known := b.servers[server]
	c := Change{First: !known, News: !known || old.Now().Hash != d.Hash, Was: old.Hash, Is: d.Hash}
	for _, name := range d.Names() {
		switch hash, had := old.Tools[name]; {
		case !had:
			c.Added = append(c.Added, name)
		case hash != d.Tools[name]:
			c.Changed = append(c.Changed, name)
		}
	}
	for _, name := range old.Names() {
		if _, has := d.Tools[name]; !has {
			c.Removed = append(c.Removed, name)
		}
	}
	if d.Instructions != old.Instructions && d.Instructions != "" {
		c.Changed = append(c.Changed, instructionsName)
	}
	return c
}

// Grows says that there is something that nobody accepted.
func (c Change) Grows() bool { return len(c.Added)+len(c.Changed) > 0 }

// Keep writes down what a server says now. What it says first is pinned; what is
// other than the pinned waits for Pin beside it.
func (b *Book) Keep(server string, d Definitions, now time.Time) error {
	return b.change(server, func(p *Page) bool {
		switch {
		case p.Hash == "":
			*p = Page{Definitions: d, Since: now.UTC(), By: FirstUse}
		case p.Hash == d.Hash:
			if p.Next == nil {
				return false
			}
			p.Next = nil
		case p.Next != nil && p.Next.Hash == d.Hash:
			return false
		default:
			p.Next = &d
		}
		return true
	})
}

// ErrOther says that a server's tools are not those that were accepted any more.
var ErrOther = errors.New("what the server says of its tools is something else by now")

// Pin accepts what a server says now, if it has that hash.
func (b *Book) Pin(server, hash, by string, now time.Time) error {
	other := false
	err := b.change(server, func(p *Page) bool {
		switch {
		case p.Next != nil && p.Next.Hash == hash:
			*p = Page{Definitions: *p.Next, Since: now.UTC(), By: by}
		case p.Next == nil && p.Hash == hash:
			if p.By == by {
				return false
			}
			p.By = by
		default:
			other = true
			return false
		}
		return true
	})
	if err == nil && other {
		return ErrOther
	}
	return err
}

// change changes a page and writes the book, unless f says that nothing is new.
func (b *Book) change(server string, f func(*Page) bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, had := b.servers[server]
	p := old
	if !f(&p) {
		return nil
	}
	b.servers[server] = p
	text, err := json.MarshalIndent(b.servers, "", " ")
	if err == nil {
		err = renameio.WriteFile(b.path, text, 0o600)
	}
	if err != nil { // what is not written down does not hold
		if b.servers[server] = old; !had {
			delete(b.servers, server)
		}
	}
	return err
}

// Shown is a difference of two definitions, for a person.
type Shown struct{ What, Was, Is string }

// Difference gives what was accepted and what would be, whole, in the order of the
// names. It fails if a text is not there, since it was too long to be kept. first
// compares with nothing.
func (p Page) Difference(first bool) ([]Shown, error) {
	now, was := p.Now(), p.Definitions
	if first {
		was = Definitions{}
	}
	var out []Shown
	show := func(name, is, had string) error {
		if is == had {
			return nil
		}
		s := Shown{What: name, Was: was.Texts[name], Is: now.Texts[name]}
		if (s.Is == "") != (is == "") || (s.Was == "") != (had == "") {
			return fmt.Errorf("what it says of %.60q is too long to be shown", name)
		}
		out = append(out, s)
		return nil
	}
	for _, name := range now.Names() {
		if err := show(name, now.Tools[name], was.Tools[name]); err != nil {
			return nil, err
		}
	}
	for _, name := range was.Names() {
		if now.Tools[name] == "" {
			out = append(out, Shown{What: name, Was: "it was there"})
		}
	}
	err := show(instructionsName, now.Instructions, was.Instructions)
	return out, err
}

// Page gives what is known of a server.
func (b *Book) Page(server string) (Page, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.servers[server]
	return p, ok
}

// Servers names those that are known.
func (b *Book) Servers() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for name := range b.servers {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
