package control

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// checkPeer asks the kernel for the effective uid of who connected, as
// getpeereid(3) does. There are no namespaces here; what keeps an agent of the
// same uid out is the Seatbelt profile, which denies the socket.
func checkPeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var who *unix.Xucred
	var inner error
	if err := raw.Control(func(fd uintptr) {
		who, inner = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	}); err != nil {
		return err
	}
	if inner != nil {
		return inner
	}
	if !mayOperate(int(who.Uid), os.Geteuid()) {
		return &peerError{0, int(who.Uid), "is not the owner"}
	}
	return nil
}
