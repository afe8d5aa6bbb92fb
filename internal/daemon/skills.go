package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/chat"
)

// Skills are the owner's: a folder with a SKILL.md each, in "skills" beside the
// configuration for all groups, or in "groups/NAME/skills" there for one. They
// are copied into Claude Code's configuration folder, which agents see read-only.
// No agent sees the folder of the configuration itself (I6).

// Bounds of the skills of one group.
const (
	maxSkillFiles = 2000
	maxSkillBytes = 32 << 20
	maxSkillDepth = 10
)

// skill files, by their path in the folder of skills.
type skillFiles map[string]skillFile

type skillFile struct {
	text []byte
	mode os.FileMode
}

// prepareSkills brings the group's skills to what the owner has now. A session
// that is alive sees the change too.
func (d *Daemon) prepareSkills(g chat.Group) error {
	want := skillFiles{}
	size := 0
	for _, dir := range []string{d.opt.Paths.ConfigDir, filepath.Join(d.opt.Paths.ConfigDir, "groups", string(g))} {
		if err := want.gather(filepath.Join(dir, agent.ClaudeSkills), &size); err != nil {
			return fmt.Errorf("the skills in %s: %w", dir, err)
		}
	}
	return want.place(filepath.Join(d.machine.ClaudeConfigDir(g), agent.ClaudeSkills))
}

// gather reads the skills in a folder of the owner's. A skill may be a link to
// where the owner keeps it; within it links lead nowhere else. One of the same
// name that was gathered before is replaced.
func (s skillFiles) gather(dir string, size *int) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		root, err := os.OpenRoot(filepath.Join(dir, e.Name()))
		if err != nil {
			if fi, stat := os.Stat(filepath.Join(dir, e.Name())); stat == nil && !fi.IsDir() {
				continue // a file beside the skills, such as a README
			}
			return err
		}
		for name := range s {
			if strings.HasPrefix(name, e.Name()+"/") {
				delete(s, name)
			}
		}
		err = s.read(root, ".", e.Name(), size, 0)
		root.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// read reads one folder of a skill.
func (s skillFiles) read(root *os.Root, dir, as string, size *int, depth int) error {
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		at, to := path.Join(dir, e.Name()), path.Join(as, e.Name())
		fi, err := root.Stat(at)
		switch {
		case err != nil:
			return err
		case e.Name() == ".git":
		case fi.IsDir() && depth == maxSkillDepth:
			return fmt.Errorf("%s lies too deep", to)
		case fi.IsDir():
			err = s.read(root, at, to, size, depth+1)
		case fi.Mode().IsRegular():
			err = s.take(root, at, to, fi.Mode(), size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s skillFiles) take(root *os.Root, at, to string, mode os.FileMode, size *int) error {
	f, err := root.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(maxSkillBytes-*size+1)))
	if *size += len(text); err == nil && (*size > maxSkillBytes || len(s) >= maxSkillFiles) {
		err = fmt.Errorf("more than %d files or %d MB", maxSkillFiles, maxSkillBytes>>20)
	}
	s[to] = skillFile{text, 0o644 | mode&0o111}
	return err
}

// place makes a folder of ours hold these files and no others.
func (s skillFiles) place(dir string) error {
	folders := map[string]bool{".": true}
	for name := range s {
		for p := path.Dir(name); !folders[p]; p = path.Dir(p) {
			folders[p] = true
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if _, file := s[rel]; err != nil || file && e.Type().IsRegular() || folders[rel] && e.IsDir() {
			return err
		}
		if err := os.RemoveAll(p); err != nil || !e.IsDir() {
			return err
		}
		return fs.SkipDir
	})
	if err != nil {
		return err
	}
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := writeDiffering(to, s[name].text, s[name].mode); err != nil {
			return err
		}
	}
	return nil
}
