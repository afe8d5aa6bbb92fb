package main

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// standBy waits, with everything in place that can be, for the rest of the spec.
// An error means that the host does not want this boundary any more.
//
// While it waits this process still has its capabilities. Nothing of an agent
// is in it or near it, and the only way in is the host's pipe.
func standBy(control io.ReadWriter, b *builder) (*wire.Failed, error) {
	if err := wire.Send(control, wire.Message{Standing: &wire.Standing{}}); err != nil {
		return nil, err
	}
	m, err := wire.Receive(control)
	if err != nil {
		return nil, err
	}
	if m.Rest == nil {
		return nil, fmt.Errorf("the host's second message is not the rest of a spec")
	}
	fds, err := receiveFDs(b.spec.RestFD, len(m.Rest.Mounts))
	if err != nil {
		return failure("mounts", err), nil
	}
	for i := range m.Rest.Mounts {
		mount := &m.Rest.Mounts[i]
		if mount.FD < 0 || mount.FD >= len(fds) {
			return nil, fmt.Errorf("there is no descriptor %d for %s", mount.FD, mount.Target)
		}
		mount.FD = fds[mount.FD]
	}
	return b.complete(m.Rest), nil
}

// receiveFDs takes n descriptors from a socket, on which they have been sent
// before we were told of them, and closes it.
func receiveFDs(socket, n int) ([]int, error) {
	defer unix.Close(socket)
	oob := make([]byte, unix.CmsgSpace(4*(n+1)))
	var data [1]byte
	_, got, _, _, err := unix.Recvmsg(socket, data[:], oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("receive the descriptors of the mounts: %w", err)
	}
	var fds []int
	messages, err := unix.ParseSocketControlMessage(oob[:got])
	for _, m := range messages {
		if list, e := unix.ParseUnixRights(&m); e == nil {
			fds = append(fds, list...)
		}
	}
	if err != nil || len(fds) != n {
		return nil, fmt.Errorf("%d descriptors of mounts came, and not %d: %v", len(fds), n, err)
	}
	return fds, nil
}
