package confine

import (
	"errors"
	"fmt"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// BuildRoot gives the calling process, alone in new user, mount and PID
// namespaces, a root of its own that holds what spec names and nothing else,
// and forgets the old one. The root, generated files and links are read-only;
// /tmp and /dev/shm are writable and share spec.TmpBytes with them. The
// descriptors of all mounts are closed.
//
// The working directory is "/" afterwards and the umask 022.
func BuildRoot(spec wire.Spec) error {
	return buildRoot(spec, func() error { return unix.PivotRoot(".", ".") })
}

// buildRoot is BuildRoot with a pivot_root(2) that tests replace.
func buildRoot(spec wire.Spec, pivot func() error) error {
	b := &rootBuilder{spec: spec, pivot: pivot}
	defer b.close()
	unix.Umask(0)
	defer unix.Umask(0o022)
	for _, step := range []func() error{
		b.private, b.sources, b.root, b.skeleton, b.devices, b.proc,
		b.files, b.links, b.attach, b.seal, b.enter,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// rootBuilder holds what the steps of BuildRoot share. Until enter, absolute
// paths mean the old root and relative paths the new one, since the working
// directory is there.
type rootBuilder struct {
	spec  wire.Spec
	pivot func() error
	trees []int  // detached mounts, one for each of spec.Mounts
	fd    int    // the new root
	own   uint64 // st_dev of the new root
}

func (b *rootBuilder) close() {
	for _, fd := range b.trees {
		unix.Close(fd)
	}
	if b.fd > 0 {
		unix.Close(b.fd)
	}
}

// private stops mounts from travelling between this namespace and the host's.
func (b *rootBuilder) private() error {
	return wrap("make mounts private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
}

// sources turns every mount of the spec into a detached tree with its final
// attributes, before anything can hide its source.
func (b *rootBuilder) sources() error {
	for _, m := range b.spec.Mounts {
		fd, err := source(m)
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
		b.trees = append(b.trees, fd)
		if !m.Detached {
			unix.Close(m.FD)
		}
	}
	return nil
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
func (b *rootBuilder) root() error {
	fd, err := tmpfs(b.spec.TmpBytes)
	if err != nil {
		return fmt.Errorf("make the root: %w", err)
	}
	b.fd = fd
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	b.own = st.Dev
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
func (b *rootBuilder) skeleton() error {
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
func (b *rootBuilder) files() error {
	for _, f := range b.spec.Files {
		parent, name, err := b.parent(f.Path)
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
func (b *rootBuilder) links() error {
	for _, l := range b.spec.Links {
		parent, name, err := b.parent(l.Path)
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

// attach moves every tree to its target, in the order of the spec.
func (b *rootBuilder) attach() error {
	for i, m := range b.spec.Mounts {
		at, err := b.target(m)
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
		err = unix.MoveMount(b.trees[i], "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		unix.Close(at)
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
	}
	return nil
}

// seal makes the root itself read-only. The mounts on it keep their own
// attributes, except that none honours set-uid bits.
func (b *rootBuilder) seal() error {
	if err := setAttr("", unix.MOUNT_ATTR_NOSUID, unix.AT_RECURSIVE); err != nil {
		return err
	}
	return setAttr("", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, 0)
}

// enter makes the new root the process's root and lets go of the old one.
func (b *rootBuilder) enter() error {
	switch err := b.pivot(); {
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
	if st.Dev != b.own {
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
