package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// keyCanary is the description of a key that the host may have planted in its
// own session keyring.
const keyCanary = "nanoclaw-canary"

// files tries to read and write outside the grant.
func (p *prober) files() {
	for _, c := range p.task.Canaries {
		for _, path := range []string{c.Path, "/proc/1/root" + c.Path, "/proc/1/cwd" + c.Path, "/proc/self/root/../.." + c.Path} {
			p.try("read the canary "+path, func() (string, error) { return readCanary(path, c) })
		}
	}
	for _, dir := range append([]string{"/", "/usr", "/etc", "/proc/sys/kernel"}, p.task.WriteTo...) {
		p.try("write into "+dir, func() (string, error) { return create(dir) })
	}
	for _, f := range []string{"environ", "mem", "maps", "fd/0", "fd/1"} {
		p.try("read /proc/1/"+f+" of the init", func() (string, error) { return readSome("/proc/1/" + f) })
		if init := os.Getppid(); init != 1 { // process 1 is then a program of the engine
			p.try("read "+f+" of the init", func() (string, error) { return readSome(fmt.Sprintf("/proc/%d/%s", init, f)) })
		}
	}
	p.try("write to the init's program", func() (string, error) {
		f, err := os.OpenFile(fmt.Sprintf("/proc/%d/exe", os.Getppid()), os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		return "opened for writing", err
	})
	p.try("write to our own program", func() (string, error) {
		f, err := os.OpenFile("/proc/self/exe", os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		return "opened for writing", err
	})
	p.try("use an inherited descriptor", func() (string, error) {
		if len(p.fds) == 0 {
			return "", errRefused("there is none")
		}
		return fmt.Sprint(p.fds), nil
	})
	if p.landlock {
		p.try("read what only Landlock closes", func() (string, error) { return readSome("/.landlock-canary") })
	}
}

// network tries to reach anything that is not our own loopback.
func (p *prober) network() {
	for _, addr := range p.task.Dial {
		p.try("connect to "+addr, func() (string, error) {
			conn, err := net.DialTimeout("tcp", addr, 2*time.Second)
			if err != nil {
				return "", err
			}
			conn.Close()
			return "connected", nil
		})
	}
	p.try("find a way to the internet for UDP", func() (string, error) {
		conn, err := net.Dial("udp4", "192.0.2.1:53") // a documentation address; nothing is sent
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return "a route from " + conn.LocalAddr().String(), nil
	})
	p.try("find a network interface", func() (string, error) {
		list, err := net.Interfaces()
		if err != nil {
			return "", err
		}
		for _, i := range list {
			if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
				return i.Name, nil
			}
		}
		return "", errRefused("only loopback")
	})
	for _, s := range []struct {
		name         string
		family, kind int
	}{
		{"a Unix socket", unix.AF_UNIX, unix.SOCK_STREAM},
		{"a vsock", unix.AF_VSOCK, unix.SOCK_STREAM},
		{"a packet socket", unix.AF_PACKET, unix.SOCK_RAW},
		{"a raw socket", unix.AF_INET, unix.SOCK_RAW},
	} {
		p.try("make "+s.name, func() (string, error) {
			fd, err := unix.Socket(s.family, s.kind|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				unix.Close(fd)
			}
			return "made", err
		})
	}
}

// processes tries to see and touch processes of the host and the init.
func (p *prober) processes() {
	p.try("see other processes", otherProcesses)
	if pid := p.task.HostPID; pid > 1 && pid != os.Getpid() {
		p.try("signal the host", func() (string, error) { return "it exists", unix.Kill(pid, 0) })
	}
	init := os.Getppid()
	if init != 1 { // process 1 takes no signal that it does not ask for, pid_namespaces(7)
		p.try("signal the init", func() (string, error) { return "it can be", unix.Kill(init, 0) })
		p.try("signal the engine's process 1", func() (string, error) { return "it can be", unix.Kill(1, 0) })
	}
	if os.Getenv(apartVar) != "" {
		p.try(wire.ThreadsWithin, func() (string, error) { return unconfined(init) })
	}
	p.try("trace the init", func() (string, error) {
		// SEIZE does not stop the tracee, so that a success does no harm.
		_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(init), 0, 0, 0, 0)
		if errno != 0 {
			return "", errno
		}
		return "traced", nil
	})
	p.try("read the init's memory", func() (string, error) {
		var b [1]byte
		local := []unix.Iovec{{Base: &b[0], Len: 1}}
		remote := []unix.RemoteIovec{{Base: 0x400000, Len: 1}}
		_, err := unix.ProcessVMReadv(init, local, remote, 0)
		return "read", err
	})
	for _, name := range p.task.Env {
		p.try("find the variable "+name, func() (string, error) {
			if _, ok := os.LookupEnv(name); ok {
				return "it is in our environment", nil
			}
			return "", errRefused("not there")
		})
	}
	p.try("see shared memory of others", func() (string, error) {
		b, err := os.ReadFile("/proc/sysvipc/shm")
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(b), "\n") - 1; n > 0 {
			return fmt.Sprint(n, " segments"), nil
		}
		return "", errRefused("none")
	})
}

// otherProcesses looks for processes beside ourselves, the init, and process 1
// where that is another.
func otherProcesses() (string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != 1 && pid != os.Getpid() && pid != os.Getppid() {
			name, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
			return fmt.Sprintf("process %d, %s", pid, name), nil
		}
	}
	return "", errRefused("none")
}

// kernel tries what changes the boundary or the machine.
func (p *prober) kernel() {
	call := func(nr, a, b, c uintptr) func() (string, error) {
		return func() (string, error) {
			if _, _, errno := unix.Syscall(nr, a, b, c); errno != 0 {
				return "", errno
			}
			return "allowed", nil
		}
	}
	p.try("mount a file system", func() (string, error) {
		return "mounted", unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "")
	})
	p.try("make a read-only folder writable", func() (string, error) {
		return "remounted", unix.Mount("", "/usr", "", unix.MS_REMOUNT|unix.MS_BIND, "")
	})
	p.try("make a user namespace", call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER, 0, 0))
	p.try("make a device node", func() (string, error) {
		path := "/tmp/nanoclaw-probe-node"
		err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
		if err == nil {
			os.Remove(path)
		}
		return "made", err
	})
	p.try("ask for the session's kernel keyring", call(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, ^uintptr(2), 0))
	p.try("find the key "+keyCanary+" of the host", func() (string, error) {
		const session = -3 // KEY_SPEC_SESSION_KEYRING
		id, err := unix.KeyctlSearch(session, "user", keyCanary, 0)
		return fmt.Sprint("key ", id), err
	})
	p.try("set up io_uring", func() (string, error) {
		params := make([]byte, 120)
		fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params[0])), 0)
		if errno != 0 {
			return "", errno
		}
		unix.Close(int(fd))
		return "made", nil
	})
	p.try("set the host's name", func() (string, error) { return "set", unix.Sethostname([]byte("probe")) })
	p.try("hold a capability", func() (string, error) { return capability("CapInh", "CapPrm", "CapEff", "CapAmb") })
	p.try("find a capability in the bounding set", func() (string, error) { return capability("CapBnd") })
	p.try("be allowed new privileges", func() (string, error) {
		if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || set == 1 {
			return "", errors.Join(errRefused("no_new_privs is set"), err)
		}
		return "no_new_privs is not set", nil
	})
	p.try("dump core", func() (string, error) {
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil || limit.Max <= 1 {
			return "", errors.Join(errRefused("the limit is too small for any"), err)
		}
		return "the limit lets them be", nil
	})
}

// capability looks for a capability in some sets.
func capability(sets ...string) (string, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if slices.Contains(sets, name) && strings.Trim(value, "0\t ") != "" {
			return line, nil
		}
	}
	return "", errRefused("none")
}

// unconfined looks for a thread of a process that could do more than we, by what the
// kernel inside says of it.
func unconfined(pid int) (string, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 { // what cannot be seen is not taken for confined
		return "none that can be looked at", nil
	}
	for _, t := range tasks {
		status, err := os.ReadFile(t)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it ended
		}
		if err != nil {
			return t + ": " + err.Error(), nil
		}
		want := map[string]string{"NoNewPrivs": "1", "Seccomp": "2", "CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none}
		for line := range strings.Lines(string(status)) {
			if name, value, _ := strings.Cut(line, ":"); want[name] == strings.TrimSpace(value) {
				delete(want, name)
			}
		}
		for name := range want {
			return t + ": " + name, nil
		}
	}
	return "", errRefused(strconv.Itoa(len(tasks)) + " threads, all confined")
}

// none is an empty set of capabilities.
const none = "0000000000000000"
