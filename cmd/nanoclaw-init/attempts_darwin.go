package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What an agent would try on macOS. Names that every system has are the same as
// on Linux, since the host asks for them by name.

// files tries to read and write outside the grant.
func (p *prober) files() {
	for _, c := range p.task.Canaries {
		for _, path := range []string{c.Path, "/System/Volumes/Data" + c.Path, strings.ToUpper(c.Path)} {
			p.try("read the canary "+path, func() (string, error) { return readCanary(path, c) })
		}
	}
	for _, dir := range append([]string{"/", "/usr", "/private/etc", "/private/tmp", "/Users/Shared"}, p.task.WriteTo...) {
		p.try("write into "+dir, func() (string, error) { return create(dir) })
	}
	for _, f := range []string{"/private/etc/master.passwd", "/Library/Keychains/System.keychain", "/dev/ttys000", "/dev/bpf0", "/dev/disk0", "/dev/ptmx"} {
		p.try("read "+f, func() (string, error) { return readSome(f) })
	}
	p.try("write to the init's program", func() (string, error) {
		f, err := os.OpenFile(ownProgram(), os.O_WRONLY, 0)
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
	for _, c := range p.task.Canaries {
		p.try("give the canary a second name", func() (string, error) {
			second := filepath.Join(os.TempDir(), "nanoclaw-probe-link")
			err := os.Link(c.Path, second)
			if err == nil {
				os.Remove(second)
			}
			return "made " + second, err
		})
	}
}

// network tries to reach anything that is not an endpoint of the session.
func (p *prober) network() {
	dial := func(network, addr string) func() (string, error) {
		return func() (string, error) {
			conn, err := net.DialTimeout(network, addr, 2*time.Second)
			if err != nil {
				return "", err
			}
			conn.Close()
			return "connected", nil
		}
	}
	for _, addr := range p.task.Dial {
		p.try("connect to "+addr, dial("tcp", addr))
	}
	p.try("send a datagram to the internet", func() (string, error) {
		conn, err := net.Dial("udp4", "192.0.2.1:53") // a documentation address
		if err != nil {
			return "", err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("x"))
		return "sent", err
	})
	p.try("listen on loopback", func() (string, error) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer l.Close()
		return l.Addr().String(), nil
	})
	for _, path := range []string{"/private/var/run/mDNSResponder", "/private/var/run/syslog", "/private/var/run/docker.sock"} {
		p.try("connect to "+path, dial("unix", path))
	}
	p.try("make a raw socket", func() (string, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, 0)
		if err == nil {
			unix.Close(fd)
		}
		return "made", err
	})
}

// processes tries to see and touch processes of the host.
func (p *prober) processes() {
	if pid := p.task.HostPID; pid > 1 && pid != os.Getpid() {
		p.try("signal the host", func() (string, error) { return "it exists", unix.Kill(pid, 0) })
		p.try("read the host's environment", func() (string, error) {
			b, err := unix.SysctlRaw("kern.procargs2", pid)
			return fmt.Sprint(len(b), " bytes"), err
		})
	}
	p.try("see other processes", func() (string, error) {
		list, err := unix.SysctlKinfoProcSlice("kern.proc.all")
		if err != nil {
			return "", err
		}
		return fmt.Sprint(len(list), " processes"), nil
	})
	for _, name := range p.task.Env {
		p.try("find the variable "+name, func() (string, error) {
			if _, ok := os.LookupEnv(name); ok {
				return "it is in our environment", nil
			}
			return "", errRefused("not there")
		})
	}
}

// kernel tries what leaves the sandbox by another program or changes the machine.
func (p *prober) kernel() {
	for name, argv := range map[string][]string{
		"open a program through LaunchServices": {"/usr/bin/open", "-g", "-a", "Calculator"},
		"run a script through Apple Events":     {"/usr/bin/osascript", "-e", `tell application "Finder" to get name`},
		"read the pasteboard":                   {"/usr/bin/pbpaste"},
		"read the keychain":                     {"/usr/bin/security", "dump-keychain"},
		"run a set-uid program":                 {"/bin/ps", "-p", "1"},
		"apply a weaker profile":                {"/usr/bin/sandbox-exec", "-p", "(version 1)(allow default)", "/bin/ls", "/Users"},
	} {
		p.try(name, func() (string, error) { return runs(argv) })
	}
	p.try("make a set-uid file", func() (string, error) {
		f, err := os.CreateTemp("", "nanoclaw-probe-")
		if err != nil {
			return "", err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		return "made", unix.Fchmod(int(f.Fd()), 0o4755)
	})
	p.try("dump core", func() (string, error) {
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil || limit.Max == 0 {
			return "", errRefused("the limit is 0")
		}
		return "the limit is not 0", nil
	})
}

// runs runs a program and gives the beginning of what it wrote, if it ended well.
func runs(argv []string) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		w.Close()
		return "", err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env: []string{"PATH=/usr/bin:/bin"}, Files: []uintptr{null.Fd(), w.Fd(), null.Fd()}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	w.Close()
	if err != nil {
		return "", err
	}
	stop := time.AfterFunc(5*time.Second, func() { unix.Kill(-pid, unix.SIGKILL) })
	defer stop.Stop()
	some := make([]byte, 80)
	n, _ := r.Read(some)
	var status unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return "", err
	}
	if !status.Exited() || status.ExitStatus() != 0 {
		return "", errRefused(fmt.Sprintf("it ended with %d", status.ExitStatus()))
	}
	return fmt.Sprintf("it ran: %q", some[:n]), nil
}
