package delayed

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
)

// Identity is what tells one file from another, and from itself after a change.
type Identity struct {
	Dev   uint64 `json:"dev"`
	Ino   uint64 `json:"ino"`
	Type  uint32 `json:"type"` // the S_IFMT bits
	Links uint64 `json:"links,omitempty"`
	Size  int64  `json:"size"`
	Mtime int64  `json:"mtime"` // nanoseconds, as Ctime
	Ctime int64  `json:"ctime"`
}

func identity(st *unix.Stat_t) Identity {
	return Identity{
		Dev: uint64(st.Dev), Ino: st.Ino, Type: uint32(st.Mode) & unix.S_IFMT, Links: uint64(st.Nlink),
		Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

// Same says that a and b are one file, whatever became of it.
func (a Identity) Same(b Identity) bool { return a.Dev == b.Dev && a.Ino == b.Ino && a.Type == b.Type }

// Dir and Regular say what it is. A link is neither.
func (a Identity) Dir() bool     { return a.Type == unix.S_IFDIR }
func (a Identity) Regular() bool { return a.Type == unix.S_IFREG }
func (a Identity) link() bool    { return a.Type == unix.S_IFLNK }

// Place is something in the folder that the catalogue names, or that such a
// thing leads to.
type Place struct {
	// Path is relative to the folder. It may be any bytes.
	Path string   `json:"-"`
	What string   `json:"what"`
	Deed Deed     `json:"deed"`
	ID   Identity `json:"id"`
	// Link is the text of a symbolic link.
	Link string `json:"-"`
	// Via are the links and settings through which this place is one, in order;
	// none if its own name makes it one.
	Via []string `json:"-"`
	// Of is the repository that it belongs to, if only its shape makes that one.
	Of string `json:"-"`
}

// Scanned is what a scan found.
type Scanned struct {
	Folder Identity
	Places []Place
	// Above are the folders above places, by path: what has to be pinned.
	Above map[string]Identity
	Odd   Odd
	// Entries is how many names were looked at.
	Entries int
	// Short says why the scan is not complete, "" if it is.
	Short string
}

// Odd are files that an owner should know of before an agent may write here
// (bounded: the first few, and how many there are).
type Odd struct {
	// Linked are regular files that have another name outside of the folder:
	// through one the agent changes the other.
	Linked  []string
	Nlinked int
	// Special are sockets, FIFOs and devices.
	Special  []string
	Nspecial int
}

// maxOdd is how many oddities are named.
const maxOdd = 5

// Bounds bound a scan.
type Bounds struct {
	Entries int
	Places  int
	Time    time.Duration
	// Contents scans the inside of places too, for reports about what changed.
	Contents bool
	// Mend gives folders that we own, and cannot read, back to us (chmod u+rwx).
	// For folders in which nobody else lives any more.
	Mend bool
}

// The bounds of scans: before a session, after it, and of its own workspace. A
// tree of 100,000 files takes about half a second.
var (
	Before    = Bounds{Entries: 1 << 20, Places: 5_000, Time: 20 * time.Second}
	After     = Bounds{Entries: 1 << 21, Places: 20_000, Time: 60 * time.Second, Mend: true}
	Workspace = Bounds{Entries: 200_000, Places: 5_000, Time: 2 * time.Second, Contents: true}
)

// In says whether s was of this folder, and takes over the number of its device,
// which may be another since the machine started.
func (s *Scanned) In(root *os.File) bool {
	var st unix.Stat_t
	if unix.Fstat(int(root.Fd()), &st) != nil {
		return false
	}
	now, was := identity(&st), s.Folder.Dev
	s.Folder.Dev = now.Dev
	for i := range s.Places {
		if s.Places[i].ID.Dev == was {
			s.Places[i].ID.Dev = now.Dev
		}
	}
	return now.Same(s.Folder)
}

// ErrPlace is the error of a scan whose folder itself is a place, or lies in one.
var ErrPlace = errors.New("it is itself a place of files that run code later")

// scan is a scan at work. It goes from the top down, one level after the other.
type scan struct {
	Bounds
	root  *os.File
	real  string // where root lies, as the kernel says
	top   string // real, folded
	out   Scanned
	seen  map[string]bool // places
	queue []item
	links map[[2]uint64]*linked
	until time.Time
	ask   []lead // links and settings that lead to more
}

// item is a folder that is still to be read.
type item struct {
	rel    string
	folder string // absolute and folded
	state  state
	inside *Place // the place it lies in, for its contents
}

// linked is a file with several names.
type linked struct {
	paths []string // in the folder
	names uint64   // in all
	held  *Place   // the place that one of them is, or lies in
}

// Scan searches a folder. real is where it lies on this machine. An error means
// that it could not begin; that it could not finish says Short.
func Scan(root *os.File, real string, b Bounds) (Scanned, error) {
	what, deed, st := begin(real)
	if what != "" && deed == Hold {
		return Scanned{}, fmt.Errorf("%w: %s", ErrPlace, what)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &stat); err != nil {
		return Scanned{}, err
	}
	s := &scan{
		Bounds: b, root: root, real: real, top: strings.TrimSuffix(fold(real), "/"), seen: map[string]bool{},
		links: map[[2]uint64]*linked{}, until: time.Now().Add(b.Time),
		out: Scanned{Folder: identity(&stat), Above: map[string]Identity{}},
	}
	s.queue = []item{{rel: ".", folder: s.top, state: st}}
	for len(s.queue) > 0 && s.out.Short == "" {
		next := s.queue[0]
		s.queue = s.queue[1:]
		s.read(next)
		if len(s.queue) == 0 {
			s.follow() // it may find more folders to read
		}
	}
	s.others()
	s.above()
	s.odd()
	return s.out, nil
}

// short ends the scan before its time.
func (s *scan) short(format string, args ...any) {
	if s.out.Short == "" {
		s.out.Short = fmt.Sprintf(format, args...)
	}
}

// read reads one folder.
func (s *scan) read(it item) {
	dir, err := s.open(it.rel)
	if err != nil || dir == nil {
		if err != nil {
			s.short("%s cannot be searched: %v", Plain(it.rel), err)
		}
		return
	}
	defer dir.Close()
	var names []string
	for {
		more, err := dir.Readdirnames(1024)
		names = append(names, more...)
		s.out.Entries += len(more)
		switch {
		case s.out.Entries > s.Entries:
			s.short("it holds more than %d files and folders", s.Entries)
			return
		case time.Now().After(s.until):
			s.short("searching it took longer than %s", s.Time)
			return
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			s.short("%s cannot be searched: %v", Plain(it.rel), err)
			return
		}
	}
	s.judge(it, dir, names)
}

// open opens a folder; nil without an error for one that does not count: it went
// away, or is closed to us and to the agent alike.
func (s *scan) open(rel string) (*os.File, error) {
	dir, err := beneath.Folder(s.root, rel)
	switch {
	case err == nil:
		return dir, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return nil, nil // what is there now came after its name was read
	case errors.Is(err, unix.EXDEV):
		return nil, errors.New("another file system is mounted there; mount it for the agent by itself, or unmount it")
	case errors.Is(err, unix.ENAMETOOLONG):
		return nil, errors.New("it lies too deep")
	case errors.Is(err, unix.EACCES):
		st, err := beneath.Stat(s.root, rel)
		if err == nil && uint64(st.Uid) != uint64(os.Geteuid()) {
			return nil, nil
		}
		if err == nil && s.Mend && lend(s.root, rel) == nil {
			return beneath.Folder(s.root, rel)
		}
		return nil, errors.New("it cannot be read; chmod u+rwx it")
	}
	return nil, err
}

// judge looks at all names of a folder.
func (s *scan) judge(it item, dir *os.File, names []string) {
	of, was := "", it.state
	if it.state != gitDir && it.inside == nil && repository(names) {
		it.state, of = gitDir, it.rel
	}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			continue // gone
		}
		id, rel, folded := identity(&st), path.Join(it.rel, name), fold(name)
		s.count(rel, id, it.inside)
		if it.inside != nil {
			s.content(it, rel, id, dir, name)
			continue
		}
		what, deed, next := it.state.step(it.folder, folded, id.Dir())
		if of != "" && folded == "head" {
			what, deed = "git repository", Mark
		}
		if of != "" && what == "" && next == gitPart {
			// Anything may look like a repository: the rest of it counts as before.
			what, deed, next = was.step(it.folder, folded, id.Dir())
		}
		if what == "" {
			if id.Dir() {
				s.queue = append(s.queue, item{rel: rel, folder: it.folder + "/" + folded, state: next})
			}
			continue
		}
		s.place(Place{Path: rel, What: what, Deed: deed, ID: id, Link: readLink(dir, name, id), Of: of})
	}
}

// repository says whether git would take a folder with these names for a
// repository, whatever the folder is called.
func repository(names []string) bool {
	has := map[string]bool{}
	for _, n := range names {
		if len(n) <= len("commondir") {
			has[fold(n)] = true
		}
	}
	return has["head"] && (has["objects"] && has["refs"] || has["commondir"])
}

// place notes a place, and what it leads to.
func (s *scan) place(p Place) {
	if s.seen[p.Path] {
		return
	}
	if len(s.out.Places) >= s.Places {
		s.short("it holds more than %d places of files that run code later", s.Places)
		return
	}
	s.seen[p.Path] = true
	s.out.Places = append(s.out.Places, p)
	if p.Deed == Tell {
		return
	}
	switch {
	case p.ID.link():
		s.ask = append(s.ask, lead{from: p.Path, text: p.Link, via: append(p.Via, p.Path), what: p.What})
	case p.ID.Dir():
		s.queue = append(s.queue, item{rel: p.Path, inside: &p})
	case p.ID.Regular() && p.What == "git settings" && !strings.HasSuffix(fold(p.Path), ".gitmodules"):
		s.ask = append(s.ask, lead{from: p.Path, config: true, via: append(p.Via, p.Path), what: "what git settings name"})
	}
}

// content looks at what is in a place: links, which lead elsewhere, and with
// Contents each file.
func (s *scan) content(it item, rel string, id Identity, dir *os.File, name string) {
	if id.Dir() {
		s.queue = append(s.queue, item{rel: rel, inside: it.inside})
		return
	}
	p := Place{Path: rel, What: it.inside.What, Deed: it.inside.Deed, ID: id, Link: readLink(dir, name, id), Via: it.inside.Via}
	if s.Contents {
		s.place(p)
	} else if id.link() {
		via := append(p.Via[:len(p.Via):len(p.Via)], it.inside.Path)
		s.ask = append(s.ask, lead{from: rel, text: p.Link, via: via, what: p.What})
	}
}

// readLink gives the text of a link, "" for what is none.
func readLink(dir *os.File, name string, id Identity) string {
	if !id.link() {
		return ""
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), name, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// above notes the folders above what is held.
func (s *scan) above() {
	for _, p := range s.out.Places {
		if p.Deed != Hold || !p.ID.Dir() && !p.ID.Regular() {
			continue
		}
		for d := path.Dir(p.Path); d != "."; d = path.Dir(d) {
			if _, known := s.out.Above[d]; known {
				break
			}
			if st, err := beneath.Stat(s.root, d); err == nil {
				s.out.Above[d] = identity(&st)
			}
		}
	}
}

// others holds the other names of what is held: by one of them the agent would
// change it under all.
func (s *scan) others() {
	for _, p := range s.out.Places {
		if l := s.links[[2]uint64{p.ID.Dev, p.ID.Ino}]; l != nil && p.Deed == Hold {
			l.held = &p
		}
	}
	for _, l := range s.links {
		for _, name := range l.paths {
			if l.held == nil || l.held.Deed != Hold || s.within(name) {
				continue
			}
			if st, err := beneath.Stat(s.root, name); err == nil {
				s.place(Place{Path: name, What: l.held.What, Deed: Hold, ID: identity(&st), Via: append(slices.Clone(l.held.Via), l.held.Path)})
			}
		}
	}
}

// within says whether a name is a place that is held, or lies in one.
func (s *scan) within(rel string) bool {
	for d := rel; d != "."; d = path.Dir(d) {
		if s.seen[d] {
			return true
		}
	}
	return false
}

// count counts names of files that have several, and notes what is no file.
func (s *scan) count(rel string, id Identity, inside *Place) {
	switch {
	case id.Regular() && id.Links > 1:
		l := s.links[[2]uint64{id.Dev, id.Ino}]
		if l == nil {
			l = &linked{names: id.Links}
			s.links[[2]uint64{id.Dev, id.Ino}] = l
		}
		l.paths = append(l.paths, rel)
		if inside != nil {
			l.held = inside
		}
	case !id.Regular() && !id.Dir() && !id.link():
		s.out.Odd.Nspecial++
		if len(s.out.Odd.Special) < maxOdd {
			s.out.Odd.Special = append(s.out.Odd.Special, rel)
		}
	}
}

// odd sums the names up.
func (s *scan) odd() {
	for _, l := range s.links {
		if uint64(len(l.paths)) >= l.names {
			continue
		}
		s.out.Odd.Nlinked++
		if len(s.out.Odd.Linked) < maxOdd {
			s.out.Odd.Linked = append(s.out.Odd.Linked, l.paths[0])
		}
	}
}
