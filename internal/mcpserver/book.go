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

// Page is what is known of one server.
type Page struct {
	Definitions
	// Since is when it was first seen to be so.
	Since time.Time `json:"since"`
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
	// First says that nothing was known of the server.
	First                   bool
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

// Compare says what is new, without writing it down.
func (b *Book) Compare(server string, d Definitions) Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, known := b.servers[server]
	c := Change{First: !known, Was: old.Hash, Is: d.Hash}
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
	return c
}

// Keep writes down what a server says now.
func (b *Book) Keep(server string, d Definitions, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.servers[server].Hash == d.Hash {
		return nil
	}
	b.servers[server] = Page{d, now.UTC()}
	text, err := json.MarshalIndent(b.servers, "", " ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(b.path, text, 0o600)
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
