package boundary

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/wire"
)

// The agent of a group with a uid of its own has to be able to write its own
// folders and the owner's that it was given:
//
//   - Its own become its own, once: see adopt.
//   - The owner's stay the owner's, and are mounted so that the group's uid acts
//     as the owner there and nowhere else (idmapped mounts, mount_setattr(2)).

// tree makes a finished detached mount of m for the init.
func (n *Native) tree(m source, w wire.Mount, id identity, lent lenders) (*os.File, error) {
	fd, err := unix.OpenTree(int(m.pin.Fd()), "",
		unix.AT_EMPTY_PATH|unix.AT_RECURSIVE|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("clone the mount of %s: %w", m.canonical, err)
	}
	tree := os.NewFile(uintptr(fd), m.canonical)
	if m.Foreign && id.change && int(m.uid) != id.uid {
		err = n.actAsOwner(tree, m, w, id, lent)
	} else {
		err = setAttributes(tree, confine.Attributes(w), 0)
	}
	if err != nil {
		tree.Close()
		return nil, err
	}
	return tree, nil
}

func setAttributes(tree *os.File, attributes uint64, userns uintptr) error {
	// Private: what the host mounts beneath it later would come without attributes.
	attr := unix.MountAttr{Attr_set: attributes, Propagation: unix.MS_PRIVATE, Userns_fd: uint64(userns)}
	err := unix.MountSetattr(int(tree.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr)
	if err != nil {
		return fmt.Errorf("set the attributes of the mount: %w", err)
	}
	return nil
}

// errNoMapping says that a file system cannot show files under another owner.
var errNoMapping = errors.New("the file system cannot lend its owner's rights (idmapped mounts)")

// actAsOwner sets the attributes of a tree of the owner so that the group's uid
// acts as the owner of the folder. Where the file system cannot, a read-only
// mount is left as it is, and shows what everybody may read.
func (n *Native) actAsOwner(tree *os.File, m source, w wire.Mount, id identity, lent lenders) error {
	owner := [2]uint32{m.uid, m.gid}
	ns, err := lent[owner], error(nil)
	if ns == nil {
		if ns, err = n.mapping(m.uid, m.gid, id); err != nil {
			return err
		}
		lent[owner] = ns
	}
	err = setAttributes(tree, confine.Attributes(w)|unix.MOUNT_ATTR_IDMAP, ns.Fd())
	if err != nil {
		if !m.Write {
			return setAttributes(tree, confine.Attributes(w), 0)
		}
		return fmt.Errorf("%w: %s: %w", errNoMapping, m.canonical, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(tree.Fd()), &st); err != nil {
		return err
	}
	if int(st.Uid) != id.uid && m.stat.Uid == m.uid {
		return fmt.Errorf("%w: %s still shows uid %d", errNoMapping, m.canonical, st.Uid)
	}
	return nil
}

// lenders are the mappings of one start, by the owner's uid and gid: folders of
// one owner share them, and so do the parts of a folder that are held.
type lenders map[[2]uint32]*os.File

func (l lenders) close() {
	for _, ns := range l {
		ns.Close()
	}
}

// mapping makes a user namespace in which the owner's ids stand for the
// group's. A namespace needs a process to be made: it is one that is stopped
// before its first instruction, and killed.
func (n *Native) mapping(uid, gid uint32, id identity) (ns *os.File, err error) {
	attr := &syscall.ProcAttr{
		Dir: "/", Env: []string{}, Files: []uintptr{n.program.Fd()},
		Sys: &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: int(uid), HostID: id.uid, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: int(gid), HostID: id.gid, Size: 1}},
			Ptrace:      true,
			Pdeathsig:   syscall.SIGKILL,
		},
	}
	n.cloner.do(func() {
		var pid int
		if pid, err = syscall.ForkExec("/proc/self/fd/0", []string{"nanoclaw-init"}, attr); err != nil {
			return
		}
		ns, err = os.Open("/proc/" + strconv.Itoa(pid) + "/ns/user")
		unix.Kill(pid, unix.SIGKILL)
		for {
			var status unix.WaitStatus
			if _, e := unix.Wait4(pid, &status, 0, nil); e != unix.EINTR && (e != nil || !status.Stopped()) {
				return
			}
		}
	})
	runtime.KeepAlive(n.program)
	if err != nil {
		return nil, fmt.Errorf("make a mapping of owners: %w", err)
	}
	return ns, nil
}

// adopt gives a folder of the group, made by us, to the group's uid: once,
// before its agent has ever run, and so before anything in it could mislead us.
// The folder itself comes last, so that an adoption that was cut short is
// done again. A folder that already is the group's is left alone.
func adopt(m source, id identity) error {
	switch {
	case int(m.stat.Uid) == id.uid:
		return nil
	case int(m.stat.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to uid %d, which is neither the group's (%d) nor ours", m.canonical, m.stat.Uid, id.uid)
	}
	if m.File {
		return unix.Fchownat(int(m.pin.Fd()), "", id.uid, id.gid, unix.AT_EMPTY_PATH)
	}
	return adoptDir(int(m.pin.Fd()), ".", m.stat.Dev, id)
}

// adoptDir gives away a folder after what is in it. Other file systems beneath
// it are left alone.
func adoptDir(parent int, name string, dev uint64, id identity) error {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("adopt %s: %w", name, err)
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, child := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, child, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("adopt %s: %w", child, err)
		}
		kind := st.Mode & unix.S_IFMT
		switch {
		case st.Dev != dev || int(st.Uid) != os.Geteuid():
		case kind == unix.S_IFDIR:
			err = adoptDir(fd, child, dev, id)
		case kind == unix.S_IFREG && st.Nlink > 1:
			err = fmt.Errorf("adopt %s: it has a second name, which may lie elsewhere; make it a file of its own", child)
		default:
			err = unix.Fchownat(fd, child, id.uid, id.gid, unix.AT_SYMLINK_NOFOLLOW)
		}
		if err != nil {
			return err
		}
	}
	return unix.Fchown(fd, id.uid, id.gid)
}
