package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds on one session.
const (
	// MaxStreams is the most streams that are open at a time.
	MaxStreams = 256
	// reservedStreams are kept for the stdio of processes: connections, which the
	// agent can open at will, may not use them up.
	reservedStreams = 64
	// maxFrame is the most payload in one frame. It is small so that a control
	// message never waits behind much of other streams' data.
	maxFrame = 64 << 10
	// window is the most bytes of one stream on their way or unread. It is
	// yamux's least and default window.
	window = 256 << 10
	// MaxUnread is the most received bytes that a session may leave unread by
	// their consumers, all streams together.
	MaxUnread = 32 << 20
)

// yamux's frame: version, type, flags, stream id, length, all most significant
// byte first. The specification is spec.md in hashicorp/yamux.
const (
	frameHeader = 12

	typeData   = 0
	typeWindow = 1
	typePing   = 2
	typeGoAway = 3

	flagSYN = 1
	flagACK = 2
	flagFIN = 4
	flagRST = 8
)

// ErrProtocol is wrapped by every error about a frame or header that our own
// peer would not send.
var ErrProtocol = errors.New("wire: protocol broken by the peer")

// ErrExcess is wrapped by the error of a session that exceeded one of its
// bounds.
var ErrExcess = errors.New("wire: session exceeded a bound")

// frame is a frame's header.
type frame struct {
	version, kind byte
	flags         uint16
	id, length    uint32
}

func parseFrame(b []byte) frame {
	return frame{
		version: b[0], kind: b[1],
		flags:  binary.BigEndian.Uint16(b[2:]),
		id:     binary.BigEndian.Uint32(b[4:]),
		length: binary.BigEndian.Uint32(b[8:]),
	}
}

func (f frame) append(b []byte) []byte {
	b = append(b, f.version, f.kind)
	b = binary.BigEndian.AppendUint16(b, f.flags)
	b = binary.BigEndian.AppendUint32(b, f.id)
	return binary.BigEndian.AppendUint32(b, f.length)
}

func (f frame) String() string {
	return fmt.Sprintf("frame version %d type %d flags %#x stream %d length %d",
		f.version, f.kind, f.flags, f.id, f.length)
}
