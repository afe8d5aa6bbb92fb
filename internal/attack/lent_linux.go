package attack

import (
	"errors"
	"os"
	"path/filepath"

	"nanoclaw/internal/beneath"
	"nanoclaw/internal/delayed"
	"nanoclaw/internal/grant"
)

// lentFolder is the owner's project in one session: what runs code later in it is
// held, and moved away if it is new, as a daemon does it for every run.
type lentFolder struct {
	root   *os.File
	before delayed.Scanned
}

// lend looks at a folder before a session, and gives the grant with what is to be
// held in it.
func lend(g grant.Grant, target, path string) (grant.Grant, *lentFolder, error) {
	root, real, err := beneath.Root(path)
	if err != nil {
		return g, nil, err
	}
	l := &lentFolder{root: root}
	var held []delayed.Held
	if l.before, err = delayed.Scan(root, real, delayed.Before); err == nil {
		held, err = l.before.Holds()
	}
	if err == nil && l.before.Short != "" {
		err = errors.New(l.before.Short)
	}
	if err != nil {
		root.Close()
		return g, nil, err
	}
	var parts []grant.Part
	for _, h := range held {
		parts = append(parts, grant.Part{Path: h.Path, File: h.ID.Regular(), What: h.What, Dev: h.ID.Dev, Ino: h.ID.Ino})
	}
	return g.Hold(target, l.before.Folder.Dev, l.before.Folder.Ino, parts), l, nil
}

func (l *lentFolder) close() { l.root.Close() }

// clear compares a folder with what it was before the session, which is over,
// and moves away what is new and would run code later. It gives the paths of
// which the owner is only told.
func (l *lentFolder) clear(real, quarantine string) (told map[string]bool, err error) {
	now, err := delayed.Scan(l.root, real, delayed.After)
	if err == nil && now.Short != "" {
		err = errors.New(now.Short)
	}
	if err != nil {
		return nil, err
	}
	var move []delayed.Finding
	told = make(map[string]bool)
	for _, f := range delayed.Compare(l.before, now) {
		if f.Move {
			move = append(move, f)
		} else {
			told[f.Path] = true
		}
	}
	moved, err := delayed.Quarantine(quarantine, l.root, delayed.Source{Group: "attack", Session: "attack", Folder: real}, move)
	for _, m := range moved {
		err = errors.Join(err, m.Err)
	}
	return told, err
}

// judgeLeft says of each attack that left a file in the project what became of
// the file.
func (r *run) judgeLeft(told map[string]bool) {
	for _, results := range r.results {
		for i := range results {
			left := &results[i]
			if left.Path == "" || !left.Broke {
				continue
			}
			_, err := os.Lstat(filepath.Join(r.planted.path(projectDir), left.Path))
			switch {
			case errors.Is(err, os.ErrNotExist):
				left.after = "moved away afterwards"
			case told[left.Path]:
				left.after = "the owner is told afterwards"
			}
		}
	}
}
