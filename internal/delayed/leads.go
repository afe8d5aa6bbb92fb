package delayed

import (
	"bufio"
	"cmp"
	"io"
	"path"
	"slices"
	"strings"

	"nanoclaw/internal/beneath"
)

// lead is a link or a settings file at a place: what it names, within the folder,
// runs as well. It is worked out by ourselves, part by part; the kernel follows
// no link for us.
type lead struct {
	from   string
	text   string // of a link
	config bool   // a settings file of git, to be read
	via    []string
	what   string
}

// follow works the leads out.
func (s *scan) follow() {
	for len(s.ask) > 0 && s.out.Short == "" {
		l := s.ask[0]
		s.ask = s.ask[1:]
		if !l.config {
			s.target(l, path.Dir(l.from), l.text)
			continue
		}
		for _, named := range s.gitNames(l.from) {
			// Git takes a path from the work tree, or from the settings file.
			s.target(l, workTree(l.from), named)
			s.target(l, path.Dir(l.from), named)
		}
	}
}

// workTree is the folder in which git would run with a settings file.
func workTree(config string) string {
	dir := path.Dir(config)
	if strings.EqualFold(path.Base(dir), ".git") {
		return path.Dir(dir)
	}
	return dir
}

// maxLinks is how many links may follow each other, as in the kernel.
const maxLinks = 40

// target holds what text names, as seen from dir, if that is in the folder.
func (s *scan) target(l lead, dir, text string) {
	rest, ok := s.beneath(dir, text)
	if !ok {
		return
	}
	done, links := "", 0
	away := "" // where a path is that has left the folder; it may come back
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch {
		case away != "" || part == ".." && done == "":
			if away = path.Join(cmp.Or(away, s.real), part); away == s.real {
				away = ""
			}
			continue
		case part == "..":
			if done = path.Dir(done); done == "." {
				done = ""
			}
			continue
		}
		done = path.Join(done, part)
		st, err := beneath.Stat(s.root, done)
		if err != nil {
			return // nothing is there yet; what comes to be there is new
		}
		id := identity(&st)
		if !id.link() {
			continue
		}
		parent, err := beneath.Parent(s.root, done)
		if err != nil {
			return
		}
		text := readLink(parent, path.Base(done), id)
		parent.Close()
		if links++; links > maxLinks {
			return
		}
		s.place(Place{Path: done, What: l.what, Deed: Hold, ID: id, Link: text, Via: l.via})
		l.via = append(slices.Clone(l.via), done)
		var inside bool
		var more []string
		if more, inside = s.beneath(path.Dir(done), text); !inside {
			return
		}
		rest, done = append(more, rest...), ""
	}
	if away == "" {
		s.reach(l, done)
	}
}

// beneath gives the parts of a path that text is, seen from dir, relative to the
// folder. It is false for what lies elsewhere.
func (s *scan) beneath(dir, text string) ([]string, bool) {
	if text == "" || strings.ContainsRune(text, 0) {
		return nil, false
	}
	if path.IsAbs(text) {
		rest, ok := strings.CutPrefix(text, strings.TrimSuffix(s.real, "/")+"/")
		if !ok {
			return nil, false
		}
		return parts(rest), true
	}
	return append(parts(dir), parts(text)...), true
}

// parts cuts a path and keeps "..", which may stand behind a link.
func parts(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(s string) bool { return s == "" || s == "." })
}

// reach makes a place of what a lead leads to.
func (s *scan) reach(l lead, rel string) {
	if rel == "" || rel == l.from || strings.HasPrefix(l.from, rel+"/") {
		if !l.config { // a word in settings may be anything
			s.short("%s is a link to a folder around itself, and with it everything there would be read-only", Plain(l.from))
		}
		return
	}
	if s.within(rel) {
		return // held with what is around it
	}
	st, err := beneath.Stat(s.root, rel)
	if err != nil {
		return
	}
	s.place(Place{Path: rel, What: l.what, Deed: Hold, ID: identity(&st), Via: l.via})
}

// maxSettings is how much of a settings file is read, in bytes.
const maxSettings = 1 << 20

// gitNames gives the words of git settings that may name files which git runs or
// obeys: hooks elsewhere, further settings, programs. A file is read only if it
// was there before any agent, or is about to be moved.
func (s *scan) gitNames(rel string) []string {
	f, err := beneath.File(s.root, rel)
	if err != nil {
		return nil
	}
	defer f.Close()
	return namesIn(io.LimitReader(f, maxSettings))
}

// obeyed are the keys whose values name programs (git-config(1)); of those only
// words with a slash can be files here.
var obeyed = []string{
	"fsmonitor", "sshcommand", "editor", "pager", "askpass", "textconv", "command", "clean", "smudge", "process", "driver",
	"cmd", "program", "helper", "external", "proxycommand",
}

// namesIn reads settings of git roughly: more words than git would take do no
// harm, since only those count that are files.
func namesIn(r io.Reader) []string {
	var out []string
	section := ""
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxSettings)
	for lines.Scan() && len(out) < 1000 {
		line := strings.TrimSpace(lines.Text())
		if head, ok := strings.CutPrefix(line, "["); ok {
			section, line, _ = strings.Cut(head, "]") // a key may stand on the same line
			section = strings.ToLower(section)
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.Trim(strings.TrimSpace(value), `"`)
		switch {
		case key == "path" && strings.HasPrefix(section, "include"), key == "hookspath", key == "attributesfile":
			out = append(out, value)
		case strings.HasPrefix(section, "alias"), slices.Contains(obeyed, key):
			for _, word := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" \t\"'!;&|()`$", r) }) {
				if strings.Contains(word, "/") {
					out = append(out, word)
				}
			}
		}
	}
	return out
}
