package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"nanoclaw/internal/chat"
)

// ownClaude gives the folders in which the owner's own Claude Code keeps its
// conversations, settings and credentials: where the environment says, and in the
// home that the system knows, since HOME may be set to another.
func ownClaude(getenv func(string) string) []string {
	var out []string
	add := func(dir string) {
		if filepath.IsAbs(dir) && !slices.Contains(out, filepath.Clean(dir)) {
			out = append(out, filepath.Clean(dir))
		}
	}
	add(getenv("CLAUDE_CONFIG_DIR"))
	if home := getenv("HOME"); home != "" {
		add(filepath.Join(home, ".claude"))
	}
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil && u.HomeDir != "" {
		add(filepath.Join(u.HomeDir, ".claude"))
	}
	return out
}

// apart fails if an agent of a group could touch the folder of the owner's own
// Claude Code: if a folder of the group, or one that all share, is that folder,
// lies in it or holds it, by whatever links and mounts. It compares files and not
// names.
func (d *Daemon) apart(groups ...chat.Group) error {
	places := []string{d.opt.Paths.DataDir, d.machine.GlobalDir}
	for _, g := range groups {
		dir := d.machine.GroupDir(g)
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			continue // what is not there holds nothing, and will lie where GroupsDir does
		}
		places = append(places, filepath.Join(dir, "workspace"), filepath.Join(dir, "home"), d.machine.ClaudeStateDir(g), d.machine.ClaudeConfigDir(g))
		for _, name := range d.machine.ClaudeState {
			places = append(places, filepath.Join(d.machine.ClaudeStateDir(g), name))
		}
	}
	var theirs []os.FileInfo // of each of places, nil for what is not there
	for _, place := range places {
		fi, _ := os.Stat(place)
		theirs = append(theirs, fi)
	}
	seen := newSeen() // they share the folders above them
	mixed := func(place, own string) error {
		return fmt.Errorf("%s is, holds or lies in %s, the folder of your own Claude Code: conversations, settings and credentials of both would be mixed\nfix: remove the link between them, or choose another place with NANOCLAW_HOME", place, own)
	}
	for _, own := range d.machine.OwnClaude {
		// The data folder as a whole may hold it, where no agent gets.
		if i := sameAsAny(seen.above(own), theirs[1:]); i >= 0 {
			return mixed(places[1+i], own)
		}
		fi, err := os.Stat(own)
		if err != nil {
			continue // what is not there holds nothing
		}
		for _, place := range append(places, d.machine.GroupsDir) {
			if sameAsAny(seen.above(place), []os.FileInfo{fi}) >= 0 {
				return mixed(place, own)
			}
		}
	}
	return nil
}

// sameAsAny gives the first of files that is one of the others, -1 if none is.
func sameAsAny(others, files []os.FileInfo) int {
	return slices.IndexFunc(files, func(f os.FileInfo) bool {
		return f != nil && slices.ContainsFunc(others, func(o os.FileInfo) bool { return os.SameFile(o, f) })
	})
}

// seen is what was looked at, which is not looked at again.
type seen struct {
	files map[string]os.FileInfo // nil for what is not there
	real  map[string]string
}

func newSeen() seen { return seen{map[string]os.FileInfo{}, map[string]string{}} }

// above gives a file and all folders above it, as far as they exist. What does
// not exist yet lies where its nearest folder that exists does.
func (s seen) above(p string) (out []os.FileInfo) {
	for p = s.follow(p); ; p = filepath.Dir(p) {
		fi, known := s.files[p]
		if !known {
			fi, _ = os.Stat(p)
			s.files[p] = fi
		}
		if fi != nil {
			out = append(out, fi)
		}
		if p == filepath.Dir(p) {
			return out
		}
	}
}

// follow is real for an absolute path, by its folder's.
func (s seen) follow(p string) string {
	if r, known := s.real[p]; known {
		return r
	}
	r := p
	if dir := filepath.Dir(p); dir != p {
		r = filepath.Join(s.follow(dir), filepath.Base(p))
		if fi, err := os.Lstat(r); err == nil && fi.Mode()&os.ModeSymlink != 0 {
			r = real(r)
		}
	}
	s.real[p] = r
	return r
}

// real follows the links of a path as far as it exists.
func real(p string) string {
	for range 40 { // links, as many as the kernel follows
		if r, err := filepath.EvalSymlinks(p); err == nil {
			return r
		}
		to, err := os.Readlink(p)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(p), to)
		}
		p = to
	}
	dir := filepath.Dir(p)
	if dir == p {
		return p
	}
	return filepath.Join(real(dir), filepath.Base(p))
}
