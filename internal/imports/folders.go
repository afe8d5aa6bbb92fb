package imports

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
)

// Bounds of one folder of the old installation.
const (
	maxEntries = 100_000   // names
	maxDepth   = 32        // folders in each other
	maxCopied  = 256 << 20 // bytes of one file
	maxWhole   = 8 << 30   // bytes of all files of a group
	maxNamed   = 20        // of what is left, by its name
)

// groupsDir is where the old groups are, and sessionsDir where their Claude Code keeps
// its conversations.
const (
	groupsDir   = "groups"
	sessionsDir = "data/sessions"
)

// Folder is the folder of an old group.
type Folder struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Why says why none of it is taken over, "" if it is.
	Why string `json:"-"`
	// Left are the files that are not, the first of them by name.
	Left []Left `json:"-"`
	more int
}

// Talk is the transcript of a session.
type Talk struct {
	Bytes int64
	Why   string // why it cannot be taken over
}

// safeFolder is the rule of versions 1.2 for the name of a group's folder. Earlier ones
// had none.
var safeFolder = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// sessionID is the form of Claude Code's sessions.
var sessionID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// folders looks at the folders of all groups, and at their transcripts.
func (in *Installation) folders() {
	names := []string{"global"}
	for _, g := range in.Old.Groups {
		if safeFolder.MatchString(g.Folder) && !slices.Contains(names, g.Folder) {
			names = append(names, g.Folder)
		}
	}
	for _, name := range names {
		var f Folder
		err := in.walk(name, func(rel string, dir bool, st unix.Stat_t) error {
			if !dir {
				f.Files, f.Bytes = f.Files+1, f.Bytes+st.Size
			}
			return nil
		}, f.leave(&f))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.Why = cannot(err)
		}
		if f.more > 0 {
			f.Left = append(f.Left, Left{fmt.Sprintf("%d further files", f.more), "for such reasons"})
		}
		in.Old.Folders[name] = f
		if id := in.Old.Sessions[name]; id != "" {
			in.Old.Talks[name] = in.talk(name, id)
		}
	}
}

// leave collects what is left, the first of it by name.
func (Folder) leave(f *Folder) func(what, because string) {
	return func(what, because string) {
		if len(f.Left) == maxNamed {
			f.more++
			return
		}
		f.Left = append(f.Left, Left{what, because})
	}
}

// walk visits the folders and files of a group's old folder that can be taken over,
// parents first, and names the others.
func (in *Installation) walk(name string, visit func(rel string, dir bool, st unix.Stat_t) error, leave func(what, because string)) error {
	top, err := beneath.Folder(in.root, path.Join(groupsDir, name))
	if err != nil {
		return err
	}
	defer top.Close()
	w := &walker{in: in, top: top, under: path.Join(groupsDir, name), visit: visit, leave: leave}
	return w.folder(".", 0)
}

type walker struct {
	in     *Installation
	top    *os.File
	under  string // what top is called below the old folder
	n      int
	bytes  int64
	visit  func(rel string, dir bool, st unix.Stat_t) error
	leave  func(what, because string)
	filled bool // that there is too much was said
}

func (w *walker) folder(rel string, depth int) error {
	dir, err := beneath.Folder(w.top, rel)
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(maxEntries)
	dir.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if w.n++; w.n > maxEntries {
			w.full(fmt.Sprintf("there are more than %d names in it", maxEntries))
			return nil
		}
		at := path.Join(rel, name)
		if at == "logs" {
			w.leave(path.Join(w.under, at), "run logs hold whole prompts; those of new runs are shown by nanoclaw logs")
			continue
		}
		if err := w.entry(at, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) full(why string) {
	if !w.filled {
		w.leave("the rest of "+w.under, why)
	}
	w.filled = true
}

// entry looks at one name, which may be anything.
func (w *walker) entry(at string, depth int) error {
	st, err := beneath.Stat(w.top, at)
	if err != nil {
		w.leave(path.Join(w.under, at), cannot(err))
		return nil
	}
	switch why := w.refuse(at, st, depth); {
	case why != "":
		w.leave(path.Join(w.under, at), why)
		return nil
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		if err := w.visit(at, true, st); err != nil {
			return err
		}
		if err := w.folder(at, depth+1); err != nil {
			w.leave(path.Join(w.under, at), cannot(err))
		}
		return nil
	}
	if secret, err := w.in.holdsSecret(w.top, at); err != nil || secret {
		why := "it holds a secret of .env, which no agent gets"
		if err != nil {
			why = cannot(err)
		}
		w.leave(path.Join(w.under, at), why)
		return nil
	}
	w.bytes += st.Size
	return w.visit(at, false, st)
}

// refuse says why a name is not taken over, "" if it is.
func (w *walker) refuse(at string, st unix.Stat_t, depth int) string {
	switch base := path.Base(at); {
	case strings.ContainsFunc(base, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "its name has control characters"
	case strings.HasPrefix(base, tempName):
		return "its name is one that the import itself uses"
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if depth >= maxDepth {
			return fmt.Sprintf("it is deeper than %d folders", maxDepth)
		}
		return ""
	case unix.S_IFLNK:
		return "it is a link, and may lead anywhere"
	case unix.S_IFREG:
	default:
		return "it is neither a file nor a folder"
	}
	switch {
	case st.Nlink > 1:
		return "it has a second name (a hard link), and may be a file from elsewhere"
	case st.Size > maxCopied:
		return fmt.Sprintf("it is larger than %d MB", maxCopied>>20)
	case w.bytes+st.Size > maxWhole:
		return fmt.Sprintf("the files of one group are taken over up to %d GB", maxWhole>>30)
	}
	return ""
}

// holdsSecret looks for the secrets of .env in a file: agents of NanoClaw 1 had them in
// their environment, and may have written them down.
func (in *Installation) holdsSecret(top *os.File, rel string) (bool, error) {
	if len(in.Old.Env.secrets) == 0 {
		return false, nil
	}
	f, err := beneath.File(top, rel)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return findSecret(io.LimitReader(f, maxCopied), in.Old.Env.secrets)
}

// findSecret reads to the end, or to the first secret, wherever it is cut.
func findSecret(r io.Reader, secrets []string) (bool, error) {
	longest := 0
	for _, s := range secrets {
		longest = max(longest, len(s))
	}
	buf := make([]byte, 0, 64<<10+longest)
	for {
		n, err := r.Read(buf[len(buf) : len(buf)+min(cap(buf)-len(buf), 64<<10)])
		buf = buf[:len(buf)+n]
		text := string(buf)
		if slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(text, s) }) {
			return true, nil
		}
		if keep := min(len(buf), longest); keep < len(buf) {
			buf = buf[:copy(buf, buf[len(buf)-keep:])]
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// talkPath is where Claude Code wrote a session of the container's workspace down.
func talkPath(folder, id string) string {
	return path.Join(sessionsDir, folder, ".claude/projects/-workspace-group", id+".jsonl")
}

// talk looks at the transcript of a group's session.
func (in *Installation) talk(folder, id string) Talk {
	if !sessionID.MatchString(id) {
		return Talk{Why: "its id is none of Claude Code's"}
	}
	rel := talkPath(folder, id)
	st, err := beneath.Stat(in.root, rel)
	if errors.Is(err, fs.ErrNotExist) {
		return Talk{Why: "there is no " + rel + "; in the fork's host mode it was among your own, in ~/.claude"}
	}
	if err != nil {
		return Talk{Why: cannot(err)}
	}
	w := walker{in: in, top: in.root}
	if why := w.refuse(rel, st, 0); why != "" {
		return Talk{Why: why}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return Talk{Why: "it is no file"}
	}
	switch secret, err := in.holdsSecret(in.root, rel); {
	case err != nil:
		return Talk{Why: cannot(err)}
	case secret:
		return Talk{Why: "it holds a secret of .env, which no agent gets"}
	}
	return Talk{Bytes: st.Size}
}

// cannot puts words to an error of looking something up.
func cannot(err error) string {
	switch {
	case errors.Is(err, unix.ELOOP):
		return "it is a link, or lies behind one, and may lead anywhere"
	case errors.Is(err, unix.ENOTDIR):
		return "it is no folder, or a link in place of one"
	case errors.Is(err, unix.EXDEV):
		return "it lies on another file system, or leads out of the folder"
	case errors.Is(err, fs.ErrPermission):
		return "you may not read it"
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
