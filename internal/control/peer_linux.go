package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// checkPeer asks the kernel who connected, and gives an error unless it is the
// owner, or root, in our own user and PID namespace.
//
// Whom this stops: an ordinary user's agent runs with the owner's uid. The
// socket's folder is in no grant, so it cannot name the socket; but if a mistake
// let it, or a descriptor reached it, its namespaces give it away.
//
// What is compared is the process that called connect(2). A descriptor that the
// owner's own process connected and then gave away is not detected: who can
// make the owner's processes do that has no need of this socket.
func checkPeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var who *unix.Ucred
	var pidfd int
	var inner error
	if err := raw.Control(func(fd uintptr) { who, pidfd, inner = identify(int(fd)) }); err != nil {
		return err
	}
	if inner != nil {
		return inner
	}
	defer unix.Close(pidfd)
	refuse := func(why string) error { return &peerError{int(who.Pid), int(who.Uid), why} }

	if !mayOperate(int(who.Uid), os.Geteuid()) {
		return refuse("is not the owner")
	}
	err = sameNamespaces(int(who.Pid))
	if errors.Is(err, fs.ErrPermission) && who.Uid == 0 {
		err = sameNamespacesPublic(int(who.Pid))
	}
	if err != nil {
		return refuse(err.Error())
	}
	// Only now is it certain that /proc/PID was that process all the time: its
	// number is not given to another before it has ended.
	if ended(pidfd) {
		return refuse("has ended")
	}
	return nil
}

// identify gives the credentials of the peer and a descriptor of its process.
func identify(fd int) (*unix.Ucred, int, error) {
	who, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, -1, fmt.Errorf("ask who connected: %w", err)
	}
	if who.Pid == 0 {
		return nil, -1, &peerError{0, int(who.Uid), "lies outside our PID namespace"}
	}
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if errors.Is(err, unix.ENOPROTOOPT) {
		// Before Linux 6.5. The number could have been reused between connect and
		// here, by a process of the owner: the peer would have to end in these
		// microseconds and somebody to go through all numbers.
		pidfd, err = unix.PidfdOpen(int(who.Pid), 0)
	}
	if err != nil {
		return nil, -1, &peerError{int(who.Pid), int(who.Uid), "cannot be held on to: " + err.Error()}
	}
	return who, pidfd, nil
}

// sameNamespaces compares the namespaces of a process with our own.
func sameNamespaces(pid int) error {
	for _, kind := range []string{"user", "pid"} {
		var own, its unix.Stat_t
		if err := unix.Stat("/proc/self/ns/"+kind, &own); err != nil {
			return fmt.Errorf("cannot be compared: our own %s namespace: %w", kind, err)
		}
		if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), &its); err != nil {
			return fmt.Errorf("cannot be examined: %w", err)
		}
		if own.Dev != its.Dev || own.Ino != its.Ino {
			return fmt.Errorf("is in another %s namespace", kind)
		}
	}
	return nil
}

// sameNamespacesPublic is for root as the peer of a daemon that is not root:
// proc(5) does not show the namespaces of a more powerful process. What is
// public must do: how deep its PID namespace lies below ours, and its uid map,
// which only root could make equal to ours in another namespace.
func sameNamespacesPublic(pid int) error {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return fmt.Errorf("cannot be examined: %w", err)
	}
	if !ownPIDNamespace(string(status), pid) {
		return errors.New("is in another pid namespace")
	}
	own, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return fmt.Errorf("cannot be compared: %w", err)
	}
	its, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", pid))
	if err != nil {
		return fmt.Errorf("cannot be examined: %w", err)
	}
	if string(own) != string(its) {
		return errors.New("is in another user namespace")
	}
	return nil
}

// ownPIDNamespace reads the NSpid line of /proc/PID/status: one number for each
// PID namespace that the process is in, ours first.
func ownPIDNamespace(status string, pid int) bool {
	for line := range strings.Lines(status) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(ids)
			return len(fields) == 1 && fields[0] == strconv.Itoa(pid)
		}
	}
	return false
}

// ended tells whether the process of a pidfd has ended; pidfd_open(2): then the
// descriptor is readable. Doubt counts as ended.
func ended(pidfd int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return err != nil || n != 0
		}
	}
}
