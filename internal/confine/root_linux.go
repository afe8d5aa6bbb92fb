package confine

import (
	"errors"
	"fmt"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// Root is a root that is being built around the calling process, which must be
// alone in new user, mount and PID namespaces. The steps are NewRoot, Mount as
// often as needed, and Enter. Between them time may pass, and nothing of the
// agent may run.
type Root struct {
	spec  wire.Spec
	pivot func() error
	fd    int    // the new root
	own   uint64 // st_dev of the new root
}

// NewRoot makes a root that holds what spec names and nothing else. /tmp and
// /dev/shm share spec.TmpBytes with generated files and links. The descriptors
// of all mounts are closed.
func NewRoot(spec wire.Spec) (*Root, error) {
	r := &Root{spec: spec, pivot: func() error { return unix.PivotRoot(".", ".") }}
	unix.Umask(0)
	defer unix.Umask(0o022)
	// Before anything can hide the sources.
	if err := r.private(); err != nil {
		return nil, err
	}
	trees, err := sources(spec.Mounts)
	defer closeAll(trees)
	for _, step := range []func() error{
		r.root, r.skeleton, r.devices, r.proc, r.files, r.links,
		func() error { return r.attach(spec.Mounts, trees) },
	} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// Mount adds mounts, in their order, on top of what is there. Their descriptors
// are closed.
func (r *Root) Mount(mounts []wire.Mount) error {
	unix.Umask(0)
	defer unix.Umask(0o022)
	trees, err := sources(mounts)
	defer closeAll(trees)
	if err != nil {
		return err
	}
	return r.attach(mounts, trees)
}

// Enter makes the root read-only, generated files and links included, but for
// /tmp, /dev/shm and the mounts that are to be written; makes it the process's
// root, and forgets the old one. The working directory is "/" afterwards and the
// umask 022. The Root is used up.
func (r *Root) Enter() error {
	defer r.close()
	if err := r.seal(); err != nil {
		return err
	}
	return r.enter()
}

func (r *Root) close() {
	if r.fd > 0 {
		unix.Close(r.fd)
		r.fd = 0
	}
}

// private stops mounts from travelling between this namespace and the host's.
func (r *Root) private() error {
	return wrap("make mounts private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
}

// sources turns every mount into a detached tree with its final attributes. On
// an error it gives what it has.
func sources(mounts []wire.Mount) (trees []int, err error) {
	for _, m := range mounts {
		fd, err := source(m)
		if err != nil {
			return trees, fmt.Errorf("mount %s: %w", m.Target, err)
		}
		trees = append(trees, fd)
		if !m.Detached {
			unix.Close(m.FD)
		}
	}
	return trees, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// source gives a detached mount of m.
//
// An unprivileged host can pin an inode but cannot clone its mount for us, so
// the path is looked up a second time, here, and the result must be the pinned
// inode: whoever swapped the path in between is found out.
func source(m wire.Mount) (int, error) {
	if m.Detached {
		return m.FD, verify(m.FD, m)
	}
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	at, err := unix.Openat2(unix.AT_FDCWD, m.Source, &how)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", m.Source, err)
	}
	defer unix.Close(at)
	tree, err := unix.OpenTree(at, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("clone the mount of %s: %w", m.Source, err)
	}
	if err := errors.Join(samePinned(tree, m), restrict(tree, m)); err != nil {
		unix.Close(tree)
		return -1, err
	}
	return tree, nil
}

// samePinned fails unless tree's root is the inode that the host pinned.
func samePinned(tree int, m wire.Mount) error {
	var got, want unix.Stat_t
	if err := unix.Fstat(tree, &got); err != nil {
		return err
	}
	if err := unix.Fstat(m.FD, &want); err != nil {
		return fmt.Errorf("descriptor %d: %w", m.FD, err)
	}
	if got.Dev != want.Dev || got.Ino != want.Ino {
		return fmt.Errorf("%s changed while starting", m.Source)
	}
	return nil
}

// restrict sets the attributes of a whole tree; a plain remount would leave
// the mounts beneath it writable (mount_setattr(2)).
func restrict(tree int, m wire.Mount) error {
	attr := unix.MountAttr{Attr_set: Attributes(m)}
	return wrap("set mount attributes", unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr))
}

// Attributes gives the mount attributes that m asks for, as MOUNT_ATTR_ bits.
func Attributes(m wire.Mount) uint64 {
	attr := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	if !m.Write {
		attr |= unix.MOUNT_ATTR_RDONLY
	}
	if !m.Exec {
		attr |= unix.MOUNT_ATTR_NOEXEC
	}
	return attr
}

// verify fails unless the mount at fd has the attributes that m asks for. The
// host set them; a mistake there must not be found out by the agent first.
func verify(fd int, m wire.Mount) error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(fd, &s); err != nil {
		return fmt.Errorf("descriptor %d: %w", m.FD, err)
	}
	want := int64(unix.ST_NOSUID | unix.ST_NODEV)
	if !m.Write {
		want |= unix.ST_RDONLY
	}
	if !m.Exec {
		want |= unix.ST_NOEXEC
	}
	if int64(s.Flags)&want != want {
		return fmt.Errorf("the mount was handed over with flags %#x, wanted %#x", s.Flags, want)
	}
	return nil
}

// root mounts a tmpfs over "/" and steps into it. The process's root stays the
// old one, so absolute paths still mean the host's.
func (r *Root) root() error {
	fd, err := tmpfs(r.spec.TmpBytes)
	if err != nil {
		return fmt.Errorf("make the root: %w", err)
	}
	r.fd = fd
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	r.own = st.Dev
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	return wrap("enter the root", unix.Fchdir(fd))
}

// tmpfs gives a detached mount of a new tmpfs of at most size bytes (0: the
// kernel's own default, half of the memory).
func tmpfs(size int64) (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "mode", "755"); err != nil {
		return -1, err
	}
	if size > 0 {
		if err := unix.FsconfigSetString(fs, "size", strconv.FormatInt(size, 10)); err != nil {
			return -1, err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
}

// skeleton makes the folders that are always there.
func (r *Root) skeleton() error {
	for _, d := range []struct {
		path string
		mode uint32
	}{
		{"dev", 0o755}, {"dev/pts", 0o755}, {"dev/shm", 0o1777}, {"proc", 0o555},
		{"tmp", 0o1777}, {"run", 0o755}, {"etc", 0o755},
	} {
		if err := unix.Mkdir(d.path, d.mode); err != nil {
			return fmt.Errorf("make /%s: %w", d.path, err)
		}
	}
	// Mounts of their own on the same tmpfs: they stay writable when the root
	// becomes read-only, and one size bounds them all.
	for _, d := range []string{"tmp", "dev/shm"} {
		if err := unix.Mount(d, d, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount /%s: %w", d, err)
		}
	}
	return setAttr("dev/shm", unix.MOUNT_ATTR_NOEXEC, 0)
}

// files writes the generated files.
func (r *Root) files() error {
	for _, f := range r.spec.Files {
		parent, name, err := r.parent(f.Path)
		if err != nil {
			return fmt.Errorf("make %s: %w", f.Path, err)
		}
		err = writeFile(parent, name, f.Data)
		unix.Close(parent)
		if err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
	}
	return nil
}

func writeFile(dir int, name string, data []byte) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// links makes the symbolic links.
func (r *Root) links() error {
	for _, l := range r.spec.Links {
		parent, name, err := r.parent(l.Path)
		if err != nil {
			return fmt.Errorf("link %s: %w", l.Path, err)
		}
		err = unix.Symlinkat(l.Target, parent, name)
		unix.Close(parent)
		if err != nil {
			return fmt.Errorf("link %s: %w", l.Path, err)
		}
	}
	return nil
}

// attach moves every tree to its target, in the order of the mounts.
func (r *Root) attach(mounts []wire.Mount, trees []int) error {
	for i, m := range mounts {
		at, err := r.target(m)
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
		err = unix.MoveMount(trees[i], "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		unix.Close(at)
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
	}
	return nil
}

// seal makes the root itself read-only. The mounts on it keep their own
// attributes, except that none honours set-uid bits.
func (r *Root) seal() error {
	if err := setAttr("", unix.MOUNT_ATTR_NOSUID, unix.AT_RECURSIVE); err != nil {
		return err
	}
	return setAttr("", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, 0)
}

// enter makes the new root the process's root and lets go of the old one.
func (r *Root) enter() error {
	switch err := r.pivot(); {
	case err == nil:
		// The old root now lies on top of ".", with every mount of the host.
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return fmt.Errorf("leave the old root: %w", err)
		}
	case errors.Is(err, unix.EINVAL):
		// pivot_root(2) refuses where "/" is the kernel's first root file system.
		// Our root already covers it, so that changing into it is enough: the
		// old one has no name any more.
		if err := unix.Chroot("."); err != nil {
			return fmt.Errorf("change the root: %w", err)
		}
	default:
		return fmt.Errorf("pivot the root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat("/", &st); err != nil {
		return err
	}
	if st.Dev != r.own {
		return errors.New("the root is still the host's; this is a mistake of ours")
	}
	return nil
}

// setAttr sets attributes of the mount at a path below the working directory.
func setAttr(p string, attr uint64, flags uint) error {
	if p == "" {
		p = "."
	}
	err := unix.MountSetattr(unix.AT_FDCWD, p, flags, &unix.MountAttr{Attr_set: attr})
	return wrap("set attributes of "+path.Join("/", p), err)
}

// wrap names what failed.
func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
