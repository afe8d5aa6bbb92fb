package delayed

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
)

// Source is where findings come from.
type Source struct {
	Group   string    `json:"group"`
	Run     string    `json:"run,omitempty"`
	Session string    `json:"session"`
	Folder  string    `json:"folder"` // on this machine
	At      time.Time `json:"at"`
}

// Moved is what became of one finding.
type Moved struct {
	Finding
	// ID names it in the quarantine, see Kept.
	ID string
	// To is where it lies now, "" if it is not there.
	To string
	// Err says why it could not be moved, or not as a whole.
	Err error
}

// Quarantine moves findings into a new folder below dir, which is ours alone and
// outside of everything that an agent sees: each into a numbered folder of its
// own, under the name it had, next to a list of where all came from. Within a
// file system a move is one step (renameat2(2)); between two of them files are
// copied by descriptor and then removed. Links are moved as links, nothing is
// executed, opened as a device, or waited for.
//
// A root without power over the files of others does it with the rights of the
// folder's owner, which the agent had too.
//
// Nothing else may use the quarantine meanwhile.
func Quarantine(dir string, root *os.File, from Source, findings []Finding) ([]Moved, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	base := filepath.Join(dir, from.Session)
	if err := os.Mkdir(base, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &st); err != nil {
		return nil, err
	}
	var out []Moved
	number := 0
	for _, f := range findings {
		m := Moved{Finding: f}
		box, err := newBox(base, &number)
		if err == nil {
			m.ID = idOf(from.Session, number)
			m.To, err = box.take(root, f.Path, int(st.Uid), int(st.Gid))
		}
		m.Err = err
		out = append(out, m)
	}
	return out, list(base, from, out)
}

// listed is one file with what a session left in one folder.
type listed struct {
	Source
	Files []line `json:"files"`
}

// line is where one thing came from.
type line struct {
	Box    int    `json:"box"`
	From   string `json:"from"`
	Name   []byte `json:"name"` // From as it is, since names may be any bytes
	What   string `json:"what"`
	To     string `json:"to,omitempty"`
	Failed string `json:"failed,omitempty"`
}

// list writes down what came from where.
func list(base string, from Source, moved []Moved) error {
	data := listed{Source: from, Files: []line{}}
	for _, m := range moved {
		_, box, _ := parseID(m.ID)
		l := line{Box: box, From: Plain(m.Path), Name: []byte(m.Path), What: m.What, To: m.To}
		if m.Err != nil {
			l.Failed = m.Err.Error()
		}
		data.Files = append(data.Files, l)
	}
	text, err := json.MarshalIndent(data, "", "\t")
	if err != nil {
		return err
	}
	// Several folders of one session have a list each.
	for i := 1; ; i++ {
		name := filepath.Join(base, fmt.Sprintf("list-%d.json", i))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.Write(text)
		return errors.Join(err, f.Sync(), f.Close())
	}
}

// box is the folder in the quarantine for one finding.
type box struct {
	path string
	dir  *os.File
}

// newBox makes the next one. Those of other folders of the session are there
// already, and number goes past them once.
func newBox(base string, number *int) (box, error) {
	for {
		*number++
		p := filepath.Join(base, strconv.Itoa(*number))
		err := os.Mkdir(p, 0o700)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return box{}, err
		}
		dir, err := os.Open(p)
		return box{p, dir}, err
	}
}

// take moves what has a name into the box.
func (b box) take(root *os.File, rel string, uid, gid int) (string, error) {
	defer b.dir.Close()
	name := path.Base(rel)
	err := b.lent(uid, gid, func() error { return b.move(root, rel, name) })
	var st unix.Stat_t
	if unix.Fstatat(int(b.dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		os.Remove(b.path)
		return "", err
	}
	return filepath.Join(b.path, name), err
}

// lent runs f with the rights of a user, to whom the box belongs meanwhile: who
// may write in it and in their own folder then. It belongs to us again before
// anything looks at it.
func (b box) lent(uid, gid int, f func() error) error {
	if uid != os.Geteuid() {
		if err := b.dir.Chown(uid, gid); err != nil {
			return err
		}
		defer b.dir.Chown(os.Geteuid(), os.Getegid())
	}
	return as(uid, gid, f)
}

// move runs with the rights of the folder's owner.
func (b box) move(root *os.File, rel, name string) error {
	parent, err := beneath.Parent(root, rel)
	if err != nil {
		return gone(err)
	}
	defer parent.Close()
	err = rename(parent, name, b.dir, name)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		// The folder around it, or it itself, was closed to its owner.
		lend(root, path.Dir(rel))
		lend(root, rel)
		err = rename(parent, name, b.dir, name)
	}
	if !errors.Is(err, unix.EXDEV) {
		return gone(err)
	}
	lend(root, path.Dir(rel))
	c := copier{left: maxCopy, entries: maxCopied}
	return errors.Join(c.copy(parent, name, b.dir), c.lost(), remove(parent, name, 0))
}

// gone makes a file that is not there any more no failure: that is what was
// wanted.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
