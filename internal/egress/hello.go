package egress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Bounds of what is read before the first byte goes out. A ClientHello with
// post-quantum key shares has about 2 KB; one record may hold 16 KB (RFC 8446
// section 5.1). Anything larger, or in many small pieces, is no client that
// anybody runs.
const (
	maxHello   = 16 << 10
	maxRecords = 64
)

// errNotTLS says that the bytes are not the start of a TLS handshake.
var errNotTLS = errors.New("the tunnel did not begin with TLS")

// hello is what the gateway wants to know of a ClientHello.
type hello struct {
	// raw is every byte that was read, for sending on unchanged.
	raw []byte
	// name is the server_name, as the client wrote it.
	name string
	// ech says that the encrypted_client_hello extension is there.
	ech bool
}

// readHello reads one ClientHello, which may lie in several TLS records and
// arrive in any pieces, and no byte more than the records it lies in.
//
// The reader is the agent. Everything is checked against what is left before it
// is used; the caller sets the deadline.
func readHello(r io.Reader) (hello, error) {
	var raw, msg []byte
	for range maxRecords {
		var head [5]byte
		n, err := io.ReadFull(r, head[:])
		raw = append(raw, head[:n]...)
		if n > 0 && head[0] != 22 || n > 1 && head[1] != 3 {
			return hello{raw: raw}, errNotTLS
		}
		if err != nil {
			return hello{raw: raw}, fmt.Errorf("the tunnel ended before a TLS ClientHello: %w", err)
		}
		size := int(binary.BigEndian.Uint16(head[3:]))
		if size == 0 || len(msg)+size > maxHello {
			return hello{raw: raw}, errNotTLS
		}
		body := make([]byte, size)
		n, err = io.ReadFull(r, body)
		raw = append(raw, body[:n]...)
		if err != nil {
			return hello{raw: raw}, fmt.Errorf("the tunnel ended inside a TLS ClientHello: %w", err)
		}
		msg = append(msg, body...)
		if msg[0] != 1 {
			return hello{raw: raw}, errNotTLS
		}
		if len(msg) < 4 {
			continue
		}
		want := 4 + (int(msg[1])<<16 | int(msg[2])<<8 | int(msg[3]))
		if want > maxHello {
			return hello{raw: raw}, errNotTLS
		}
		if len(msg) >= want {
			h, err := parseHello(msg[4:want])
			h.raw = raw
			return h, err
		}
	}
	return hello{raw: raw}, errNotTLS
}

// errMalformed says that a ClientHello has no form that everybody reads alike.
var errMalformed = errors.New("the TLS ClientHello is malformed")

// parseHello reads the body of a ClientHello (RFC 8446 section 4.1.2) for its
// server_name (RFC 6066 section 3). It is stricter than most servers: an
// extension that comes twice, a list with more than one name or a byte left over
// is refused, because a server might choose the other one.
func parseHello(b []byte) (hello, error) {
	var h hello
	s := cursor{rest: b}
	s.take(2 + 32) // legacy_version, random
	s.vector(1)    // legacy_session_id
	s.vector(2)    // cipher_suites
	s.vector(1)    // legacy_compression_methods
	if s.failed {
		return h, errMalformed
	}
	if len(s.rest) == 0 {
		return h, nil // no extensions at all: an old client without a name
	}
	exts := cursor{rest: s.vector(2)}
	if s.failed || len(s.rest) != 0 {
		return h, errMalformed
	}
	seen := map[uint16]bool{}
	for len(exts.rest) > 0 {
		kind, data := exts.uint16(), exts.vector(2)
		if exts.failed || seen[kind] {
			return h, errMalformed
		}
		seen[kind] = true
		switch kind {
		case 0: // server_name
			name, ok := parseServerName(data)
			if !ok {
				return h, errMalformed
			}
			h.name = name
		case 0xfe0d: // encrypted_client_hello
			h.ech = true
		}
	}
	return h, nil
}

// parseServerName accepts exactly one name of type host_name.
func parseServerName(b []byte) (string, bool) {
	s := cursor{rest: b}
	list := cursor{rest: s.vector(2)}
	if s.failed || len(s.rest) != 0 {
		return "", false
	}
	kind, name := list.take(1), list.vector(2)
	if list.failed || len(list.rest) != 0 || kind[0] != 0 || len(name) == 0 {
		return "", false
	}
	return string(name), true
}

// cursor takes pieces off the front of a slice and remembers if one was missing.
type cursor struct {
	rest   []byte
	failed bool
}

func (c *cursor) take(n int) []byte {
	if c.failed || n > len(c.rest) {
		c.failed = true
		return nil
	}
	out := c.rest[:n]
	c.rest = c.rest[n:]
	return out
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// vector takes a length of size 1 or 2 bytes and as many bytes as it says.
func (c *cursor) vector(size int) []byte {
	n := 0
	for _, b := range c.take(size) {
		n = n<<8 | int(b)
	}
	return c.take(n)
}
