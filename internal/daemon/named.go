package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/approval"
	"nanoclaw/internal/beneath"
	"nanoclaw/internal/grant"
)

// Bounds of what is looked at for one question.
const (
	maxWords  = 200      // of a command that could name a file
	maxNamed  = 16       // files that are there
	maxHashed = 32 << 20 // bytes of them all
)

// named tells what a call names of files, with the SHA-256 of what is in them
// now, and of a web address its host and path. seen is the grant with the paths
// that the agent has. The paths are the agent's, and so
// is what lies there: it is read beneath the folders of the grant (I11) and
// bounded. What runs inside can swap a file after this; the question says what
// was there when it was asked.
func named(g, seen grant.Grant, c agent.ToolCall) []approval.Part {
	var in struct {
		Command  string `json:"command"`
		File     string `json:"file_path"`
		Notebook string `json:"notebook_path"`
		URL      string `json:"url"`
	}
	if json.Unmarshal(c.Input, &in) != nil {
		return nil
	}
	l := look{mounts: seen.Mounts, dir: c.Dir, home: seenAs(g, seen, grant.Home), left: maxHashed}
	if !path.IsAbs(l.dir) {
		l.dir = seenAs(g, seen, grant.Workspace)
	}
	for _, p := range []string{in.File, in.Notebook} {
		if p != "" {
			l.file(p, true)
		}
	}
	for _, w := range commandWords(in.Command) {
		l.file(w, false)
	}
	if u, err := url.Parse(in.URL); err == nil && u.Host != "" {
		l.parts = append(l.parts, approval.Part{Name: "host and path", Value: u.Host + u.EscapedPath()})
	}
	return l.parts
}

// commandWords are the parts of a command that could name a file. A shell may make names
// of what stands there in ways that this does not see.
func commandWords(command string) []string {
	out := strings.FieldsFunc(command, func(r rune) bool { return strings.ContainsRune(" \t\r\n;|&()<>\"'`=${}", r) })
	slices.Sort(out)
	out = slices.Compact(out)
	out = slices.DeleteFunc(out, func(w string) bool { return strings.HasPrefix(w, "-") || len(w) > 4096 })
	return out[:min(len(out), maxWords)]
}

// look gathers the files that one call names.
type look struct {
	mounts []grant.Mount // with the paths that the agent has
	dir    string
	home   string
	parts  []approval.Part
	left   int64 // bytes that may still be read
	more   bool  // there were more files than are shown
}

// file adds a file that is there, or says of one that must be looked at why there
// is nothing to show.
func (l *look) file(name string, must bool) {
	if l.more {
		return
	}
	p, ok := strings.CutPrefix(name, "~/")
	switch {
	case ok:
		p = path.Join(l.home, p)
	case path.IsAbs(name):
		p = path.Clean(name)
	default:
		p = path.Join(l.dir, name)
	}
	sum, size, err := l.hash(p)
	value := fmt.Sprintf("%s\nsha256 %s, %d bytes, as it is now", p, sum, size)
	switch {
	case err == nil && sum == "":
		value = fmt.Sprintf("%s\n%d bytes, too large to be looked at", p, size)
	case err == nil:
	case !must:
		return
	case errors.Is(err, fs.ErrNotExist):
		value = p + "\nis not there yet"
	default:
		value = p + "\ncannot be looked at"
	}
	if l.more = len(l.parts) >= maxNamed; l.more {
		value = fmt.Sprintf("it names more files than these %d, which were not looked at", maxNamed)
	}
	l.parts = append(l.parts, approval.Part{Name: "file", Value: value})
}

// errNoMount says that a path is in no folder of the grant.
var errNoMount = errors.New("it is in no folder of the grant")

// hash reads the file at a path of the agent's. The sum is "" for one that is too
// large.
func (l *look) hash(p string) (sum string, size int64, err error) {
	m, rest, ok := l.mount(p)
	if !ok {
		return "", 0, errNoMount
	}
	root, _, err := beneath.Root(m.Source)
	if err != nil {
		return "", 0, err
	}
	defer root.Close()
	f, err := beneath.File(root, rest)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	if st.Size() > l.left {
		return "", st.Size(), nil
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, l.left+1))
	if l.left -= n; l.left < 0 || err != nil {
		return "", n, err
	}
	return hex.EncodeToString(h.Sum(nil)), n, nil
}

// mount finds the folder of the owner, or of the group, in which a path of the
// agent's lies: the innermost, as it is inside.
func (l *look) mount(p string) (best grant.Mount, rest string, ok bool) {
	for _, m := range l.mounts {
		in, under := strings.CutPrefix(p, strings.TrimSuffix(m.Target, "/")+"/")
		// What is held is looked up from the folder around it.
		if !under || m.Source == "" || m.Held || m.File || ok && len(m.Target) <= len(best.Target) {
			continue
		}
		best, rest, ok = m, filepath.FromSlash(in), true
	}
	return best, rest, ok
}

// seenAs is where one of the group's own folders is for the agent.
func seenAs(g, seen grant.Grant, what string) string {
	for i, m := range g.Mounts {
		if m.Target == what && i < len(seen.Mounts) {
			return seen.Mounts[i].Target
		}
	}
	return what
}
