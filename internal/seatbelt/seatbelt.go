// Package seatbelt renders a grant for macOS: the profile that sandbox-exec(1)
// applies, and the paths, ports and variables that an agent has there.
//
// macOS has no mount namespaces, so an agent meets the real paths of the machine
// and is told them; no network namespaces, so a session's endpoints are ports of
// the machine's own loopback and demand a secret; and no filter of system calls
// that a program may set up. What stands between an agent and the machine is the
// profile alone: everything is denied, reads too, but for what the grant names
// and what every program of macOS needs to start.
//
// # What it promises
//
// Profile is pure, and made of the grant and the Params alone. It reads its own
// text back with package sbpl before it gives it away: a profile that says less
// or more than was meant is an error. Whatever stands in a path or a reason, no
// text can leave the string or the comment it is in.
//
// None of it was ever run on a Mac; docs/threat-model.md says what that means.
//
// # What it leaves to others
//
// Which paths are real, which exist, starting and ending processes: to package
// boundary. What the text means: to package sbpl.
package seatbelt

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/sbpl"
)

// Params are what a session has on this machine and no grant can know. All paths
// are real ones.
type Params struct {
	// Init is the program nanoclaw-init.
	Init string
	// Tmp is the session's own temporary folder, in place of /tmp.
	Tmp string
	// Views are the folders that were made of Views, by their targets.
	Views map[string]string
	// Ports are the endpoints' ports on loopback, by the endpoints' names.
	Ports map[string]int
	// Terminal is the terminal that was made for the session, such as
	// "/dev/ttys012". "" is none: then no terminal can be opened or made.
	Terminal string
	// Protected are names in writable folders of the owner at which nothing may be
	// changed or made, at any depth: paths of one or more names, in which "*"
	// stands for any part of one, such as ".git/hooks". Upper and lower case are
	// the same.
	Protected []string
	// Pinned are existing files and folders that stay as they are and where they
	// are.
	Pinned []string
}

// area is a part of the file system that a session may touch.
type area struct {
	path              string
	write, exec, file bool
	foreign           bool
	system            bool // there is no need to keep it from being moved
	reason            string
}

// Real gives a path as macOS has it: three folders of its root are links.
func Real(p string) string {
	for _, link := range links {
		if p == link || strings.HasPrefix(p, link+"/") {
			return "/private" + p
		}
	}
	return p
}

var links = []string{"/etc", "/tmp", "/var"}

// moreLinks can be followed too.
var moreLinks = []string{"/dev/stdin", "/dev/stdout", "/dev/stderr"}

// areas are the grant's mounts and the session's own files, outer before inner.
// Of two at one path the rights add up; an inner one narrows what an outer one
// gives.
func areas(g grant.Grant, p Params) ([]area, error) {
	all := []area{
		{path: p.Tmp, write: true, exec: true, reason: "the session's own temporary folder"},
		{path: p.Init, exec: true, file: true, system: true, reason: "nanoclaw-init, which starts the agent"},
	}
	for _, m := range g.Mounts {
		if m.Held {
			continue // a part of a folder, see held
		}
		all = append(all, area{path: Real(m.Source), write: m.Write, exec: m.Exec, file: m.File, foreign: m.Foreign, system: m.Optional, reason: m.Reason})
	}
	views, err := Views(g)
	if err != nil {
		return nil, err
	}
	for _, v := range views {
		all = append(all, area{path: p.Views[v.Target], system: true, reason: "stands for " + v.Target + ", with links to what is in it"})
	}
	var out []area
	for _, a := range all {
		if !path.IsAbs(a.path) || a.path != path.Clean(a.path) || a.path == "/" {
			return nil, fmt.Errorf("%q is no path that can be granted", a.path)
		}
		i := slices.IndexFunc(out, func(o area) bool { return o.path == a.path })
		if i < 0 {
			out = append(out, a)
			continue
		}
		o := &out[i]
		o.write, o.exec, o.foreign, o.system = o.write || a.write, o.exec || a.exec, o.foreign || a.foreign, o.system && a.system
		o.file = o.file && a.file
	}
	slices.SortStableFunc(out, func(a, b area) int {
		return cmp.Or(strings.Count(a.path, "/")-strings.Count(b.path, "/"), cmp.Compare(a.path, b.path))
	})
	return out, nil
}

// held are the parts of the owner's folders that a grant holds read-only. What is
// above them is pinned with them.
func held(g grant.Grant) []string {
	var out []string
	for _, m := range g.Mounts {
		if m.Held && !m.Write {
			out = append(out, Real(m.Source))
		}
	}
	return out
}

// beneath says whether p is dir or lies in it.
func beneath(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// above are the folders on the way to a path, from "/" on.
func above(p string) []string {
	var out []string
	for p != "/" {
		p = path.Dir(p)
		out = append(out, p)
	}
	slices.Reverse(out)
	return out
}

// Profile gives the profile for a grant whose mounts' sources are real paths. It
// holds no secret.
func Profile(g grant.Grant, p Params) (string, error) {
	p.Pinned = append(slices.Clone(p.Pinned), held(g)...)
	all, err := areas(g, p)
	if err != nil {
		return "", err
	}
	w := &writer{}
	w.head(g)
	w.processes()
	w.system()
	w.files(all)
	w.devices(p.Terminal)
	w.network(g, p)
	w.never(all, p)
	if err := w.protect(all, p); err != nil {
		return "", err
	}
	if w.err != nil {
		return "", w.err
	}
	return w.String(), w.check(all)
}

// check reads the text back and asks it about every area, and beside each. It is
// not the test of what was meant, only of what was written.
func (w *writer) check(all []area) error {
	p, err := sbpl.Parse(w.String(), nil)
	if err != nil {
		return fmt.Errorf("the profile cannot be read back: %w", err)
	}
	if n := p.Forms(); n != w.forms {
		return fmt.Errorf("the profile has %d forms and not the %d that were written", n, w.forms)
	}
	covered := func(x string) bool {
		return slices.ContainsFunc(all, func(a area) bool { return beneath(x, a.path) }) ||
			slices.ContainsFunc(runtimeFolders, func(dir string) bool { return beneath(x, dir) })
	}
	for i, a := range all {
		inner := a.path
		if !a.file {
			inner += "/x"
		}
		if slices.ContainsFunc(all[i+1:], func(o area) bool { return beneath(inner, o.path) }) {
			continue
		}
		beside := a.path + "x"
		switch {
		case !p.Allows(sbpl.Query{Op: "file-read-data", Path: inner}),
			p.Allows(sbpl.Query{Op: "file-write-data", Path: inner}) != a.write,
			p.Allows(sbpl.Query{Op: "process-exec", Path: inner}) != a.exec:
			return fmt.Errorf("the profile does not say of %s what the grant does", a.path)
		case !covered(beside) && p.Allows(sbpl.Query{Op: "file-read-data", Path: beside}):
			return fmt.Errorf("the profile opens %s, which nobody asked for", beside)
		}
	}
	return nil
}
