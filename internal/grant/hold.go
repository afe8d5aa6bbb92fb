package grant

import (
	"path"
	"strings"
)

// Part is a part of a writable folder of the owner that is to be held.
type Part struct {
	Path string // relative to the folder
	File bool
	// What says what it is, such as "git hooks"; "" for a folder above one.
	What     string
	Dev, Ino uint64
}

// Lent are the folders of the owner that the agent may write: the ones where
// files could be left that run code later.
func (g Grant) Lent() []Mount {
	var out []Mount
	for _, m := range g.Mounts {
		if m.Write && m.Foreign && !m.Held {
			out = append(out, m)
		}
	}
	return out
}

// Brief is a grant without the parts that are held, of which it says how many
// there are: one folder may have hundreds.
type Brief struct {
	Grant
	Held map[string]int `json:"held,omitempty"` // by the folder they are in, as the agent sees it
}

// Brief gives the grant in brief.
func (g Grant) Brief() Brief {
	b := Brief{Grant: g, Held: make(map[string]int)}
	b.Mounts = nil
	lent := g.Lent()
	for _, m := range g.Mounts {
		if !m.Held {
			b.Mounts = append(b.Mounts, m)
			continue
		}
		for _, l := range lent {
			if strings.HasPrefix(m.Target, l.Target+"/") {
				b.Held[l.Target]++
			}
		}
	}
	return b
}

// Hold gives the grant with parts of one of its folders held, and with the
// folder being the one that was looked at.
func (g Grant) Hold(target string, dev, ino uint64, parts []Part) Grant {
	mounts := append([]Mount(nil), g.Mounts...)
	for i, m := range mounts {
		if m.Target != target {
			continue
		}
		mounts[i].Dev, mounts[i].Ino = dev, ino
		for _, p := range parts {
			held := Mount{
				Target: path.Join(m.Target, p.Path), Source: path.Join(m.Source, p.Path), Write: p.What == "", Exec: m.Exec, File: p.File,
				Foreign: true, Held: true, Dev: p.Dev, Ino: p.Ino,
				Reason: p.What + ": runs code on this machine later, so it is read-only",
			}
			if held.Write {
				held.Reason = "it holds such files, and stays where it is"
			}
			mounts = append(mounts, held)
		}
	}
	g.Mounts = mounts
	return g
}
