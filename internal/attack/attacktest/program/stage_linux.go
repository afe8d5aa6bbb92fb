package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/attack"
	"nanoclaw/internal/attack/inside"
)

// stage plays a machine without any boundary, as process 1 of namespaces that
// were made for it, and lets the attacker work in it.
func stage() error {
	runtime.LockOSThread() // keyrings belong to threads
	if err := inside.Confined(os.Getenv(inside.OutsideVar)); err != nil {
		return err
	}
	if os.Getpid() != 1 {
		return errors.New("it is not process 1 of a namespace of its own")
	}
	for _, step := range []func() error{own, network} {
		if err := step(); err != nil {
			return err
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0); errno != 0 && errno != unix.ENOSYS {
		return fmt.Errorf("a keyring: %w", errno)
	}
	var task inside.Task
	if err := json.NewDecoder(os.Stdin).Decode(&task); err != nil {
		return fmt.Errorf("the task: %w", err)
	}
	dir, err := os.MkdirTemp("", "stage-")
	if err != nil {
		return err
	}
	p, err := attack.Plant(attack.PlantOptions{Dir: dir, Program: "/proc/self/exe", Secret: os.Getenv(inside.WitnessVar), Session: true})
	if err != nil {
		return err
	}
	if err := errors.Join(p.After(), services(p.Task.Secret), hidden(&p.Task, dir)); err != nil {
		return err
	}
	p.Task.Lines, p.Task.Control = task.Lines, true
	return errors.Join(attacked(p.Task), p.Remove())
}

// own puts folders in memory over those that the attacks touch.
func own() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	for _, dir := range []string{"/tmp", "/run", "/dev/shm"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=1777"); err != nil {
			return fmt.Errorf("cover %s: %w", dir, err)
		}
	}
	if err := os.Setenv("TMPDIR", "/tmp"); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	return nil
}

// hidden makes a read-only mount and one that hides something.
func hidden(t *inside.Task, dir string) error {
	for name, field := range map[string]*string{"mount": &t.Mount, "mask": &t.Mask} {
		path := filepath.Join(dir, name)
		*field = path
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", path, "tmpfs", 0, ""); err != nil {
			return err
		}
	}
	return unix.Mount("", t.Mount, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

// network gives the loopback the addresses that stand for the internet.
func network() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	up, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	up.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, up); err != nil {
		return fmt.Errorf("bring up the loopback: %w", err)
	}
	alias, err := unix.NewIfreq("lo:1")
	if err != nil {
		return err
	}
	if err := alias.SetInet4Addr(net.ParseIP(inside.World4).To4()); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, alias); err != nil {
		return fmt.Errorf("the address %s: %w", inside.World4, err)
	}
	return network6()
}

// network6 is network for IPv6: struct in6_ifreq of linux/ipv6.h.
func network6() error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("the control arm needs IPv6: %w", err)
	}
	defer unix.Close(fd)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	req := struct {
		addr   [16]byte
		prefix uint32
		index  int32
	}{[16]byte(net.ParseIP(inside.World6)), 128, int32(lo.Index)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return fmt.Errorf("the address %s: %w", inside.World6, errno)
	}
	return nil
}

// listen waits for an address that the kernel has taken and does not use yet: it
// looks for others with the same one first, in its own time (RFC 4862, 5.4).
func listen(at string) (net.Listener, error) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		l, err := net.Listen("tcp", at)
		if !errors.Is(err, unix.EADDRNOTAVAIL) || time.Now().After(deadline) {
			return l, err
		}
	}
}

// services are those of the internet, and a proxy that lets everything through.
func services(secret string) error {
	for _, at := range []string{
		inside.World4 + ":443", inside.World4 + ":80", inside.World4 + ":3128", "[" + inside.World6 + "]:443",
	} {
		l, err := listen(at)
		if err != nil {
			return err
		}
		go attack.Beyond(l, secret)
	}
	// Whoever comes may listen beside it, as beside a bridge of one's own uid.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "proxy")
	defer f.Close()
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
			return err
		}
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Port: 3128, Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 64)); err != nil {
		return err
	}
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	go attack.Beyond(l, secret)
	return nil
}

// attacked runs the attacker as a child.
func attacked(t inside.Task) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	// From a copy of its own, which it may attack.
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	path := filepath.Join(t.Workspace, "attack")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		return err
	}
	cmd := exec.Command(path, inside.Verb)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err := in.Write(text); err != nil {
		return err
	}
	in.Close()
	return cmd.Wait()
}
