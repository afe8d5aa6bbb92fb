package boundary

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	under "nanoclaw/internal/beneath"
	"nanoclaw/internal/confine"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// plan is a session before its start: what its boundary shall be, with every
// mount looked up.
type plan struct {
	id   identity
	spec wire.Spec // its mounts come with give
	kept []source  // in the order in which they are attached
	all  []source  // holds the pins

	files []*os.File // what the init inherits
}

func (p *plan) close() {
	closeAll(p.files)
	for _, m := range p.all {
		m.pin.Close()
	}
}

// firstFD is the number of the first inherited descriptor in the init.
const firstFD = 3

// plan resolves every mount of the grant, and renders the rest of the spec.
// parts are read-only mounts of an engine's own, which no rule of Landlock will
// name.
func (n *Native) plan(spec Spec, id identity, parts ...grant.Mount) (*plan, error) {
	if err := cores(reachable(rlimitCore, 1), corePattern); err != nil {
		return nil, err
	}
	all, err := n.resolveAll(spec.Grant.Mounts)
	for _, m := range parts {
		var s source
		if err == nil {
			if s, err = resolve(m, nil); err == nil {
				all = append(all, s)
			}
		}
	}
	p := &plan{id: id, all: all}
	if err != nil {
		p.close()
		return nil, err
	}
	kept, links := arrange(all)
	p.spec, p.kept = render(spec, kept, links), kept
	return p, nil
}

// give makes the descriptors for mounts. The numbers in the result are their
// places in files, from first on.
func (n *Native) give(mounts []source, id identity, first int) (list []wire.Mount, files []*os.File, err error) {
	lent := lenders{}
	defer lent.close()
	for _, m := range mounts {
		w, f, err := n.hand(m, id, lent)
		if err != nil {
			closeAll(files)
			return nil, nil, &StartError{Step: "mount " + m.Target, Err: err, Hint: hintFor(err)}
		}
		w.FD = first + len(files)
		list, files = append(list, w), append(files, f)
	}
	return list, files, nil
}

// giveAll makes the descriptors that the init inherits, for all mounts.
func (n *Native) giveAll(p *plan) (err error) {
	p.spec.Mounts, p.files, err = n.give(p.kept, p.id, firstFD)
	return err
}

// source is a mount of the grant and what it turned out to be.
type source struct {
	grant.Mount
	pin       *os.File // O_PATH
	canonical string   // where pin is, as the kernel says
	stat      unix.Stat_t
	uid, gid  uint32 // the owner as whom a group acts in a folder of the owner
}

// resolveAll looks up every source, once, and adds our own. On an error it
// gives what it has.
func (n *Native) resolveAll(mounts []grant.Mount) ([]source, error) {
	var out []source
	for _, m := range mounts {
		if m.Image {
			return out, &StartError{Step: "mount " + m.Target, Err: errors.New("the grant is for a container, whose image has it")}
		}
		s, err := resolve(m, out)
		if errors.Is(err, os.ErrNotExist) && m.Optional {
			continue
		}
		if err == nil && n.opts.Check != nil {
			if err = n.opts.Check(m, s.canonical); err != nil {
				s.pin.Close()
			}
		}
		if err != nil {
			return out, &StartError{Step: "mount " + m.Target, Err: err, Hint: hintFor(err)}
		}
		out = append(out, s)
	}
	if n.path == "" {
		return out, nil
	}
	s, err := resolve(grant.Mount{Target: confine.InitPath, Source: n.path, Exec: true, File: true}, nil)
	if err != nil {
		return out, &StartError{Step: "program", Err: err}
	}
	return append(out, s), nil
}

// resolve opens the source of a mount. From here on the descriptor counts, and
// the path only as what the descriptor says of itself. before are the sources of
// the mounts before it.
func resolve(m grant.Mount, before []source) (source, error) {
	s := source{Mount: m}
	var err error
	if m.Held {
		err = s.within(before)
	} else {
		var fd int
		if fd, err = unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			err = &os.PathError{Op: "open", Path: m.Source, Err: err}
		} else {
			s.pin = os.NewFile(uintptr(fd), m.Source)
		}
	}
	if err != nil {
		return source{}, err
	}
	s.canonical, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", s.pin.Fd()))
	if err == nil {
		err = unix.Fstat(int(s.pin.Fd()), &s.stat)
	}
	if !m.Held {
		s.uid, s.gid = s.stat.Uid, s.stat.Gid
	}
	if err == nil {
		err = s.judge()
	}
	if err != nil {
		s.pin.Close()
		return source{}, err
	}
	return s, nil
}

// within opens a held part of a folder, from the descriptor of the folder: an
// agent may be writing in there, with another session.
func (s *source) within(before []source) error {
	var folder *source
	for i, b := range before {
		if b.Foreign && !b.Held && beneath(s.Target, b.Target) && (folder == nil || len(b.Target) > len(folder.Target)) {
			folder = &before[i]
		}
	}
	if folder == nil {
		return fmt.Errorf("%s is held, and no folder of the grant holds it; this is a mistake of ours", s.Target)
	}
	s.uid, s.gid = folder.uid, folder.gid
	var err error
	s.pin, err = under.Pin(folder.pin, strings.TrimPrefix(s.Target, folder.Target+"/"))
	if err != nil {
		return fmt.Errorf("%s changed while starting: %v", s.Source, err)
	}
	return nil
}

// judge refuses what is not a folder or a file. A device reaches hardware, a
// socket or FIFO another process, whatever the mount's attributes say.
func (s *source) judge() error {
	if !strings.HasPrefix(s.canonical, "/") || strings.HasSuffix(s.canonical, " (deleted)") || s.canonical == "/" {
		return fmt.Errorf("%s leads to %q, which cannot be mounted", s.Source, s.canonical)
	}
	if s.Ino != 0 && (s.stat.Dev != s.Dev || s.stat.Ino != s.Ino) {
		return fmt.Errorf("%s changed while starting", s.Source)
	}
	want, word := uint32(unix.S_IFDIR), "folder"
	if s.File {
		want, word = unix.S_IFREG, "file"
	}
	if s.stat.Mode&unix.S_IFMT != want {
		return fmt.Errorf("%s is not a %s", s.Source, word)
	}
	return nil
}

// arrange puts mounts into the order in which they are attached, outer before
// inner, and leaves out the ones that another shows already: of system folders
// with merged /usr, /bin is a link into /usr.
func arrange(mounts []source) (kept []source, links []wire.Link) {
	for _, m := range mounts {
		switch {
		case m.system() && m.canonical != m.Target && shown(mounts, m, m.canonical):
			if !shown(mounts, m, m.Target) {
				links = append(links, wire.Link{Path: m.Target, Target: m.canonical})
			}
		case m.system() && m.canonical == m.Target && shown(mounts, m, m.Target):
		default:
			kept = append(kept, m)
			continue
		}
	}
	slices.SortStableFunc(kept, func(a, b source) int {
		return strings.Count(a.Target, "/") - strings.Count(b.Target, "/")
	})
	return kept, links
}

// system says whether m is a read-only folder or file at its own place.
func (s *source) system() bool { return s.Source == s.Target && !s.Write && !s.Foreign }

// shown says whether another system mount shows p, with at least m's rights.
func shown(mounts []source, m source, p string) bool {
	for _, o := range mounts {
		if o.system() && o.canonical == o.Target && o.Target != m.Target && (o.Exec || !m.Exec) && beneath(p, o.Target) {
			return true
		}
	}
	return false
}

// hand makes what the init inherits for one mount: with privilege a finished
// mount, so that no path is looked up twice; without, the pinned inode, by which
// the init proves its own lookup.
func (n *Native) hand(m source, id identity, lent lenders) (wire.Mount, *os.File, error) {
	w := wire.Mount{Target: m.Target, Write: m.Write, Exec: m.Exec, File: m.File}
	if !n.has(unix.CAP_SYS_ADMIN) {
		w.Source = m.canonical
		fd, err := unix.FcntlInt(m.pin.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return w, nil, err
		}
		return w, os.NewFile(uintptr(fd), m.canonical), nil
	}
	if m.Write && !m.Foreign && id.change {
		if err := adopt(m, id); err != nil {
			return w, nil, err
		}
	}
	w.Detached = true
	tree, err := n.tree(m, w, id, lent)
	return w, tree, err
}

// hintFor gives a hint for errors of mounts.
func hintFor(err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "Make the folder, or take it out of the group's mounts."
	case errors.Is(err, unix.ENOSYS):
		return hintKernel
	case errors.Is(err, errNoMapping):
		return "Mount it read-only, or keep the folder on a file system with idmapped mounts, such as ext4, xfs or btrfs."
	}
	return ""
}
