// Package runlog writes one file for each run, for the person who wants to know
// what was started and how it ended: host-TIME.log or container-TIME.log, with the
// same header in both modes.
//
// It promises that the files lie where no agent can write or read, that they hold
// names of variables and never their values, that no prompt and no answer is in
// them unless the owner asks for that, and that they stay within bounds of age,
// number and size. What they say is told by the audit log too, which is signed;
// these files are for reading, and nothing depends on them.
//
// It leaves to others what a run is, and what is masked in texts.
package runlog

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"nanoclaw/internal/chat"
)

// Header is what a file tells of a run. Until it ended, Ended is zero.
type Header struct {
	Run     chat.RunID
	Group   chat.Group
	Trigger string // why it was started, and by whom
	Mode    string // "host" or "container"
	Reason  string // why in this mode
	Agent   string
	Engine  string
	// Layers of the boundary in force, and those that the machine lacks.
	Layers, Missing []string
	// Container is the name of the container, "" without one; Mounts are the lines of
	// the grant, for sessions that have no container.
	Container string
	Mounts    []string
	InitPID   int
	// Profile is the hash of the boundary as its engine renders the grant.
	Profile string
	Session chat.SessionID
	Warm    bool     // the session served a run before
	Env     []string // names of variables
	Started time.Time

	Ended time.Time
	Exit  string // the state in which it ended
	Error string
	// Truncated says that the answer was cut.
	Truncated bool
	ToolCalls int

	// Prompt and Answer are there if the owner asked for them.
	Prompt, Answer string
}

// Bounds of one text, and of one line, in a file, in bytes.
const (
	maxText = 256 << 10
	maxLine = 2 << 10
)

// String is the file.
func (h Header) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name+":", plain(fmt.Sprintf(format, args...), maxLine))
	}
	list := func(items []string) string { return cmp.Or(strings.Join(items, ", "), "none") }
	line("run", "%s", h.Run)
	line("group", "%s", h.Group)
	line("trigger", "%s", h.Trigger)
	line("mode", "%s (%s)", h.Mode, h.Reason)
	line("agent", "%s", h.Agent)
	line("engine", "%s", h.Engine)
	line("layers", "%s", list(h.Layers))
	line("missing", "%s", list(h.Missing))
	if h.Container != "" {
		line("container", "%s", h.Container)
	}
	for _, m := range h.Mounts {
		line("mount", "%s", m)
	}
	line("init pid", "%d", h.InitPID)
	line("profile", "%s", h.Profile)
	line("session", "%s%s", h.Session, word(h.Warm, " (warm)"))
	line("environment", "%s", list(h.Env))
	line("started", "%s", stamp(h.Started))
	if h.Ended.IsZero() {
		line("exit", "not known: it goes on, or nanoclaw ended before it did")
	} else {
		line("ended", "%s", stamp(h.Ended))
		line("duration", "%v", h.Ended.Sub(h.Started).Round(time.Millisecond))
		line("exit", "%s", h.Exit)
		line("tool calls", "%d", h.ToolCalls)
		line("truncated", "%s", cmp.Or(word(h.Truncated, "yes"), "no"))
	}
	for _, t := range []struct{ name, text string }{{"error", h.Error}, {"prompt", h.Prompt}, {"answer", h.Answer}} {
		if t.text != "" {
			fmt.Fprintf(&b, "\n%s:\n", t.name)
			for l := range strings.Lines(cut(t.text, maxText)) {
				b.WriteString("  " + plain(strings.TrimSuffix(l, "\n"), maxText) + "\n")
			}
		}
	}
	return b.String()
}

func word(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// cut bounds a text, at the end of a character.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + " [the rest is cut]"
}

// plain is one line that a terminal shows as it is: some of it is from inside.
func plain(s string, most int) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return ' '
		}
		if r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError) {
			return '?'
		}
		return r
	}, cut(s, most))
}

// Name is a run's file. It has the form that version 1 used.
func (h Header) Name() string {
	return h.Mode + "-" + strings.NewReplacer(":", "-", ".", "-").Replace(stamp(h.Started)) + ".log"
}

// Limits of one folder. What is 0 is no limit.
type Limits struct {
	Keep  time.Duration // the oldest
	Files int
	Size  int64 // of all together, in bytes
}

// Folder writes the files of one group. It knows what lies there from the first time
// it looked, so that it does not look for each run; nobody else adds files. It is for
// one at a time.
type Folder struct {
	dir    string
	known  bool
	files  int
	size   int64
	oldest time.Time // no file was written last before
}

// NewFolder is for the files in dir, which is made where it is missing; nobody else may
// be able to write there.
func NewFolder(dir string) *Folder { return &Folder{dir: dir} }

// Write writes the file of a run, in place of what was there of it, and removes the
// oldest ones where the limits are passed: a little more than must be, so that not each
// run has to look for them.
func (f *Folder) Write(h Header, l Limits) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	text, file := []byte(h.String()), filepath.Join(f.dir, h.Name())
	f.files, f.size = f.files+1, f.size+int64(len(text))
	if was, err := os.Lstat(file); err == nil {
		f.files, f.size = f.files-1, f.size-was.Size()
	}
	// A reader has the one or the other, and after a crash neither is half.
	half, err := os.CreateTemp(f.dir, ".new-*")
	if err == nil {
		_, err = half.Write(text)
		if err = errors.Join(err, half.Close()); err == nil {
			err = os.Rename(half.Name(), file)
		}
		if err != nil {
			os.Remove(half.Name())
		}
	}
	if err != nil {
		f.known = false
		return err
	}
	now := time.Now()
	if f.known && !l.passed(f.files, f.size, f.oldest, now) {
		return nil
	}
	return f.trim(l, now)
}

// passed says that what lies in a folder is beyond the limits.
func (l Limits) passed(files int, size int64, oldest, now time.Time) bool {
	return l.Files > 0 && files > l.Files || l.Size > 0 && size > l.Size || l.Keep > 0 && now.Sub(oldest) > l.Keep
}

// trim removes what is beyond the limits, with a sixteenth of them for those to come,
// and what a crash left half written. The newest file stays.
func (f *Folder) trim(l Limits, now time.Time) error {
	all, err := list(f.dir)
	if err != nil {
		return err
	}
	*f = Folder{dir: f.dir, known: true, oldest: now}
	var sum int64 // of the files so far
	for _, e := range all {
		sum += e.Size
	}
	if l.passed(len(all), sum, now, now) {
		l.Files, l.Size = l.Files-l.Files/16, l.Size-l.Size/16
	}
	sum = 0
	for i, e := range all {
		if sum += e.Size; i > 0 && l.passed(i+1, sum, e.At, now) {
			if bad := os.Remove(filepath.Join(f.dir, e.Name)); bad != nil {
				err, f.known = errors.Join(err, bad), false
			}
			continue
		}
		f.files, f.size = f.files+1, f.size+e.Size
		if e.At.Before(f.oldest) {
			f.oldest = e.At
		}
	}
	return err
}

// Entry is one file of a folder.
type Entry struct {
	Name string
	Size int64
	At   time.Time // when it was written last
}

// list gives the files of a folder, the newest first, and drops what is half.
func list(dir string) ([]Entry, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, n := range names {
		fi, err := n.Info()
		if err != nil || !fi.Mode().IsRegular() {
			continue // it was removed meanwhile, or is none of ours
		}
		switch name := n.Name(); {
		case strings.HasPrefix(name, ".new-") && time.Since(fi.ModTime()) > time.Hour:
			os.Remove(filepath.Join(dir, name))
		case strings.HasSuffix(name, ".log"):
			out = append(out, Entry{name, fi.Size(), fi.ModTime()})
		}
	}
	slices.SortFunc(out, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(began(b.Name), began(a.Name)), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// began is the part of a name that says when the run began.
func began(name string) string {
	_, at, _ := strings.Cut(name, "-")
	return at
}

// Brief is what a list shows of a file.
type Brief struct {
	Entry
	Run chat.RunID
	// Fields are the lines of the header, by name; of several alike the last.
	Fields map[string]string
}

// List gives the newest files of a folder with their headers, at most so many.
func List(dir string, most int) ([]Brief, error) {
	all, err := list(dir)
	if err != nil {
		return nil, err
	}
	var out []Brief
	for _, e := range all[:min(most, len(all))] {
		if b, err := brief(dir, e); err == nil {
			out = append(out, b)
		}
	}
	return out, nil
}

// Find gives the file of a run. fs.ErrNotExist says that there is none.
func Find(dir string, run chat.RunID) (name, text string, err error) {
	all, err := list(dir)
	if err != nil {
		return "", "", err
	}
	for _, e := range all {
		if strings.TrimSpace(strings.TrimPrefix(first(dir, e.Name), "run:")) != string(run) {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name))
		if err != nil {
			return "", "", err
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, 8*maxText))
		return e.Name, string(data), err
	}
	return "", "", fs.ErrNotExist
}

// Forget removes the files of a folder that hold what people or agents wrote.
func Forget(dir string) error {
	all, err := list(dir)
	for _, e := range all {
		file := filepath.Join(dir, e.Name)
		text, bad := os.ReadFile(file)
		if bad == nil && (strings.Contains(string(text), "\nprompt:\n") || strings.Contains(string(text), "\nanswer:\n")) {
			bad = os.Remove(file)
		}
		err = errors.Join(err, bad)
	}
	return err
}

// first is the first line of a file.
func first(dir, name string) string {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	defer f.Close()
	line, _ := bufio.NewReaderSize(io.LimitReader(f, 200), 200).ReadString('\n')
	return strings.TrimSuffix(line, "\n")
}

// brief reads a header: the lines up to an empty one.
func brief(dir string, e Entry) (Brief, error) {
	f, err := os.Open(filepath.Join(dir, e.Name))
	if err != nil {
		return Brief{}, err
	}
	defer f.Close()
	b := Brief{Entry: e, Fields: map[string]string{}}
	for s := bufio.NewScanner(f); s.Scan() && s.Text() != ""; {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok {
			b.Fields[name] = strings.TrimSpace(value)
		}
	}
	b.Run = chat.RunID(b.Fields["run"])
	return b, nil
}
