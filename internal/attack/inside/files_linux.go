package inside

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reads are the attempts of 4.1 of the catalogue: to see what was not granted.
func reads() []attempt {
	key := home(".ssh/id_ed25519")
	below := func(prefix string) func(*attacker) string {
		return func(a *attacker) string { return prefix + key(a) }
	}
	return []attempt{
		try("F-01", "read a private key", theft(key)),
		try("F-01", "read a cloud credential", theft(home(".aws/credentials"))),
		try("F-01", "read .netrc", theft(home(".netrc"))),
		try("F-01", "list the home folder", listHome),
		try("F-02", "the same through /proc/self/root", theft(below("/proc/self/root"))),
		try("F-02", "the same through /proc/thread-self/root", theft(below("/proc/thread-self/root"))),
		try("F-02", "the same with needless slashes and dots", theft(func(a *attacker) string {
			return "//" + strings.ReplaceAll(key(a), "/", "/.//")
		})),
		try("F-02", "the same upwards from the workspace", theft(func(a *attacker) string {
			return a.Workspace + strings.Repeat("/..", 20) + key(a)
		})),
		try("F-03", "through the root of process 1", theft(below("/proc/1/root"))),
		try("F-03", "through the root of our parent", theft(func(a *attacker) string {
			return "/proc/" + number(os.Getppid()) + "/root" + key(a)
		})),
		try("F-03", "through the working folder of our parent", theft(func(a *attacker) string {
			return "/proc/" + number(os.Getppid()) + "/cwd/" + strings.Repeat("../", 20) + key(a)
		})),
		try("F-04", "through a symbolic link to the folder", throughLink),
		try("F-05", "move the folder with keys into the workspace", moveOut),
		try("F-06", "read a certificate's key", theft(home("private/k.pem"))),
		try("F-07", "read a file that was made after the start", theft(func(a *attacker) string { return a.Late })),
		try("F-08", "read what an inherited descriptor leads to", inherited),
		try("F-09", "look into our environment", func(a *attacker) (string, error) {
			return a.search(strings.NewReader(strings.Join(os.Environ(), "\n")))
		}),
		try("F-09", "read /proc/self/environ", theft(func(*attacker) string { return "/proc/self/environ" })),
		try("F-09", "read /proc/1/environ", theft(func(*attacker) string { return "/proc/1/environ" })),
		try("F-10", "read the environment of a process of the host", theft(func(a *attacker) string {
			return "/proc/" + number(a.PID) + "/environ"
		})),
		try("F-10", "read its memory by /proc/PID/mem", memoryFile),
		try("F-10", "read its memory by process_vm_readv", memoryCall),
		try("F-11", "read /proc/kallsyms", anything("/proc/kallsyms")),
		try("F-11", "read /proc/keys", anything("/proc/keys")),
		without(rootOnly, "F-11", "read /proc/kcore", anything("/proc/kcore")),
		without(rootOnly, "F-11", "read /proc/timer_list", anything("/proc/timer_list")),
		without(rootOnly, "F-11", "read /proc/kmsg", anything("/proc/kmsg")),
		without(rootOnly, "F-11", "read /dev/mem", anything("/dev/mem")),
		without(rootOnly, "F-11", "read /dev/kmsg", anything("/dev/kmsg")),
		without(rootOnly, "F-11", "list /sys/kernel/debug", anything("/sys/kernel/debug")),
		without(harm, "F-12", "make a node of a disk", func(a *attacker) (string, error) {
			return node(filepath.Join(a.Workspace, "disk"), unix.S_IFBLK|0o600, unix.Mkdev(259, 0))
		}),
		without(harm, "F-12", "open a disk in /dev", openDisk),
		try("F-13", "name a file by its handle", func(a *attacker) (string, error) {
			_, _, err := unix.NameToHandleAt(unix.AT_FDCWD, a.Workspace, 0)
			return "named", err
		}),
		without(rootOnly, "F-13", "open the file system's root by its handle", openHandle),
		try("F-14", "make a user namespace to unmount in", func(a *attacker) (string, error) { return a.cloned(unix.CLONE_NEWUSER | unix.CLONE_NEWNS) }),
		try("F-14", "unmount what hides something", unmountMask),
		try("F-14", "clone the tree of mounts", func(*attacker) (string, error) {
			return made(unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE))
		}),
		try("F-15", "change the root folder", func(*attacker) (string, error) { return "changed", unix.Chroot("/") }),
		try("F-15", "pivot the root", func(*attacker) (string, error) {
			return reached(unix.SYS_PIVOT_ROOT, word("/proc/self/nowhere"), word("/proc/self/nowhere"))
		}),
		try("F-16", "unshare -Urm true", func(*attacker) (string, error) { return run(exec.Command("unshare", "-Urm", "true")) }),
		without("not every machine has bwrap", "F-16", "bwrap in which all is seen", func(*attacker) (string, error) {
			return run(exec.Command("bwrap", "--ro-bind", "/", "/", "true"))
		}),
		without("where a core goes is a setting of the machine", "F-17", "leave a core after a crash", dumpCore),
		try("F-17", "change the limit on cores, for which a handler may be started", changeLimit),
		try("F-18", "find the sockets of the host's services", findSockets),
		try("F-19", "read a file in the host's folder for temporary files", theft(func(a *attacker) string { return a.Tmp })),
	}
}

func listHome(a *attacker) (string, error) {
	list, err := os.ReadDir(a.Home)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(len(list), " names"), nil
}

func throughLink(a *attacker) (string, error) {
	link := filepath.Join(a.Workspace, "link-to-keys")
	if err := os.Symlink(filepath.Join(a.Home, ".ssh"), link); err != nil {
		return "", err
	}
	return a.steal(filepath.Join(link, "id_ed25519"))
}

func moveOut(a *attacker) (string, error) {
	from, to := filepath.Join(a.Home, ".ssh"), filepath.Join(a.Workspace, "stolen")
	if err := os.Rename(from, to); err != nil {
		return "", err
	}
	defer os.Rename(to, from)
	return a.steal(filepath.Join(to, "id_ed25519"))
}

// inherited reads through every descriptor that we were started with, and
// around those that lead to folders.
func inherited(a *attacker) (string, error) {
	for _, fd := range a.fds {
		name := fmt.Sprint("/proc/self/fd/", fd)
		b := make([]byte, 4096)
		n, _ := unix.Pread(fd, b, 0)
		if strings.Contains(string(b[:max(n, 0)]), a.Secret) {
			return fmt.Sprint("descriptor ", fd, " is a file of the host"), nil
		}
		if _, err := a.steal(name + "/.ssh/id_ed25519"); err == nil {
			return fmt.Sprint("descriptor ", fd, " is a folder of the host"), nil
		}
	}
	return "", refused(fmt.Sprintf("descriptors %v lead nowhere", a.fds))
}

func memoryFile(a *attacker) (string, error) {
	f, err := os.Open("/proc/" + number(a.PID) + "/mem")
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, len(a.Secret))
	if _, err := f.ReadAt(b, int64(a.Addr)); err != nil {
		return "", err
	}
	return a.search(strings.NewReader(string(b)))
}

func memoryCall(a *attacker) (string, error) {
	b := make([]byte, len(a.Secret))
	local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
	remote := []unix.RemoteIovec{{Base: uintptr(a.Addr), Len: len(b)}}
	if _, err := unix.ProcessVMReadv(a.PID, local, remote, 0); err != nil {
		return "", err
	}
	return a.search(strings.NewReader(string(b)))
}

// anything reads a byte of a file, or a name in a folder.
func anything(path string) func(*attacker) (string, error) {
	return func(*attacker) (string, error) {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return "", err
		}
		defer f.Close()
		if names, err := f.Readdirnames(1); err == nil && len(names) > 0 {
			return "it holds " + names[0], nil
		}
		if n, err := f.Read(make([]byte, 1)); n == 0 {
			return "", errors.Join(refused("it holds nothing"), err)
		}
		return "it holds something", nil
	}
}

// node makes a device node and takes it away again.
func node(path string, mode uint32, dev uint64) (string, error) {
	if err := unix.Mknod(path, mode, int(dev)); err != nil {
		return "", err
	}
	os.Remove(path)
	return "made " + path, nil
}

func openDisk(*attacker) (string, error) {
	disks, _ := filepath.Glob("/dev/[shv]d?")
	more, _ := filepath.Glob("/dev/nvme*n1")
	for _, d := range append(append(disks, more...), "/dev/block") {
		if f, err := os.Open(d); err == nil {
			f.Close()
			return d, nil
		}
	}
	return "", refused("there is none")
}

// openHandle opens inode 2, the root of most file systems (CVE-2014-3519 and the
// like), by a handle that was made up.
func openHandle(a *attacker) (string, error) {
	at, err := unix.Open(a.Workspace, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(at)
	handle := unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0})
	return made(unix.OpenByHandleAt(at, handle, unix.O_RDONLY|unix.O_CLOEXEC))
}

// cloned starts a child in new namespaces.
func (a *attacker) cloned(flags uintptr) (string, error) {
	cmd := a.self(nothingArg)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	return run(cmd)
}

func unmountMask(a *attacker) (string, error) {
	if err := unix.Unmount(a.Mask, unix.MNT_DETACH); err != nil {
		return "", err
	}
	return "unmounted " + a.Mask, nil
}

// dumpCore crashes in a child, with as much of a limit as can be had.
func dumpCore(a *attacker) (string, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return "", err
	}
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: limit.Max, Max: limit.Max})
	cmd := exec.Command("/bin/sh", "-c", "kill -SEGV $$")
	cmd.Dir = a.Workspace
	cmd.Run()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.CoreDump() {
		return "the kernel says that it dumped", nil
	}
	return "", refused(fmt.Sprintf("no core: %v", cmd.ProcessState))
}

// changeLimit sets a limit of 0. A handler of crashes is started for that too, and
// is not for a limit of 1 (core(5), fs/coredump.c).
func changeLimit(a *attacker) (string, error) {
	var was, is unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &was); err != nil {
		return "", err
	}
	err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	if e := unix.Getrlimit(unix.RLIMIT_CORE, &is); e != nil {
		return "", e
	}
	if (was.Cur == 1 || was.Cur == 0 && a.NoCores) && is == was {
		return "", refused(fmt.Sprintf("it is still %d (%v)", is.Cur, err))
	}
	return fmt.Sprint("it is ", is.Cur), nil
}

func findSockets(a *attacker) (string, error) {
	standard := []string{
		"/run/systemd/journal/socket", "/dev/log", "/var/run/docker.sock", "/run/docker.sock", "/run/dbus/system_bus_socket",
		"/run/user", "/tmp/.X11-unix", "/run/containerd/containerd.sock",
	}
	for _, path := range append(standard, a.Sockets...) {
		if _, err := os.Lstat(path); err == nil {
			return path, nil
		}
	}
	return "", refused("none of them is there")
}

// writes are the attempts of 4.2: to change what was not granted.
func writes() []attempt {
	sealed := func(name string) func(*attacker) string {
		return func(a *attacker) string { return filepath.Join(a.Sealed, name) }
	}
	into := func(dir string) func(*attacker) (string, error) {
		return func(*attacker) (string, error) { return create(filepath.Join(dir, "nanoclaw-attack")) }
	}
	return []attempt{
		try("F-20", "write into a home folder", func(a *attacker) (string, error) { return create(filepath.Join(a.Home, "x")) }),
		without(rootOnly, "F-20", "write into /etc", into("/etc")),
		without(rootOnly, "F-20", "write into /usr/local/bin", into("/usr/local/bin")),
		without(rootOnly, "F-20", "write into /", into("/")),
		try("F-21", "append to a start-up file through a link", linkWrite),
		try("F-23", "write through a hard link that was there before", func(a *attacker) (string, error) {
			return "written", appendTo(filepath.Join(a.Project, "linked"), "# attacked\n")
		}),
		try("F-24", "make a hard link to a file of the host", func(a *attacker) (string, error) {
			return "linked", os.Link(filepath.Join(a.Home, ".netrc"), filepath.Join(a.Workspace, "hard"))
		}),
		try("F-24", "make a hard link to a read-only file", func(a *attacker) (string, error) {
			return "linked", os.Link(sealed("file")(a), filepath.Join(a.Workspace, "hard2"))
		}),
		try("F-26", "truncate a read-only file", func(a *attacker) (string, error) {
			return "truncated", os.Truncate(sealed("victim")(a), 0)
		}),
		try("F-26", "change the mode of a read-only file", func(a *attacker) (string, error) { return "changed", os.Chmod(sealed("victim")(a), 0o777) }),
		try("F-26", "change the times of a read-only file", func(a *attacker) (string, error) {
			return "changed", unix.UtimesNanoAt(unix.AT_FDCWD, sealed("victim")(a), []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0)
		}),
		without("not every file system has attributes", "F-26", "set an attribute of a read-only file", func(a *attacker) (string, error) {
			return "set", unix.Setxattr(sealed("victim")(a), "user.attack", []byte("x"), 0)
		}),
		try("F-26", "remove a read-only file", func(a *attacker) (string, error) { return "removed", os.Remove(sealed("victim")(a)) }),
		try("F-26", "write a file into a read-only folder", func(a *attacker) (string, error) { return create(sealed("new")(a)) }),
		try("F-27", "rename a file out of the workspace", func(a *attacker) (string, error) {
			return a.renameInto(sealed("moved")(a), 0)
		}),
		try("F-27", "exchange a file with a read-only one", func(a *attacker) (string, error) {
			return a.renameInto(sealed("file")(a), unix.RENAME_EXCHANGE)
		}),
		try("F-28", "remount a read-only folder", func(a *attacker) (string, error) {
			return "remounted", unix.Mount("", a.Mount, "", unix.MS_REMOUNT|unix.MS_BIND, "")
		}),
		try("F-28", "clear the attribute of the mount", func(a *attacker) (string, error) {
			return "cleared", unix.MountSetattr(unix.AT_FDCWD, a.Mount, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
		}),
		try("F-29", "reopen a read-only file for writing", reopen),
		try("F-29", "write to memory by /proc/self/mem", func(*attacker) (string, error) { return openTo("/proc/self/mem") }),
		without(harm, "F-30", "make a file larger than files may be", func(a *attacker) (string, error) {
			return a.allocate(filepath.Join(a.Workspace, "huge"), a.FileSize+1<<20)
		}),
		without(harm, "F-30", "fill /tmp beyond its size", fillTmp),
		without(harm, "F-30", "fill the workspace, and remove the files' names", fillWorkspace),
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func linkWrite(a *attacker) (string, error) {
	link := filepath.Join(a.Workspace, "innocent")
	if err := os.Symlink(filepath.Join(a.Home, ".bashrc"), link); err != nil {
		return "", err
	}
	return "written", appendTo(link, "attacked\n")
}

func (a *attacker) renameInto(to string, flags uint) (string, error) {
	from := filepath.Join(a.Workspace, "mine")
	if err := os.WriteFile(from, []byte("mine\n"), 0o644); err != nil {
		return "", err
	}
	return "renamed", unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
}

// reopen turns a descriptor for reading into one for writing by its name in
// /proc.
func reopen(a *attacker) (string, error) {
	f, err := os.Open(filepath.Join(a.Sealed, "file"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	return openTo(fmt.Sprint("/proc/self/fd/", f.Fd()))
}

// allocate takes room for a file, all of it at once.
func (a *attacker) allocate(path string, size int64) (string, error) {
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer os.Remove(path)
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		return "", err
	}
	return fmt.Sprint(size, " bytes are there"), nil
}

// fillTmp takes twice what /tmp may hold, in files as large as a file may be.
func fillTmp(a *attacker) (string, error) {
	size := min(a.FileSize, a.TmpSize)
	for taken := int64(0); taken < 2*a.TmpSize; taken += size {
		path := fmt.Sprint("/tmp/fill-", taken)
		f, err := os.Create(path)
		if err != nil {
			return "", err
		}
		defer os.Remove(path)
		defer f.Close()
		if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
			return "", fmt.Errorf("after %d bytes: %w", taken, err)
		}
	}
	return "it holds more than it may", nil
}

// fillWorkspace holds twice what the workspace may until it is killed for it, or
// has held it for so long that nobody minds.
func fillWorkspace(a *attacker) (string, error) {
	for taken := int64(0); taken < 2*a.Disk; taken += a.FileSize {
		path := filepath.Join(a.Workspace, fmt.Sprint("fill-", taken))
		f, err := os.Create(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		if err := os.Remove(path); err != nil {
			return "", err
		}
		if _, err := f.Write(make([]byte, a.FileSize)); err != nil {
			return "", fmt.Errorf("after %d bytes: %w", taken, err)
		}
	}
	time.Sleep(held)
	return "it holds more than it may", nil
}

// bytesAt is the memory of a string, for a witness.
func bytesAt(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }
