package seatbelt

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"time"

	"nanoclaw/internal/wire"
)

// Bounds on the head of a connection's first request, by which it shows the
// secret. A head that is longer is for the gateway to refuse, which allows less.
const (
	maxHead  = 64 << 10
	headTime = 10 * time.Second
)

// Door puts a lock before a session's endpoints. On macOS they are ports of the
// machine's loopback, which every program of every user can reach. So a
// connection is served only if the head of its first request shows the session's
// secret, as the key of a proxy, as a bearer token, or as an API key.
//
// The secret opens these endpoints and nothing else. It is in the agent's
// environment, which is the one exception to the rule that no credential is
// inside. Gateways drop the fields that carry it.
func Door(secret string, serve func(wire.Kind, net.Conn)) func(wire.Kind, net.Conn) {
	return func(kind wire.Kind, conn net.Conn) {
		conn.SetReadDeadline(time.Now().Add(headTime))
		head, err := readHead(conn)
		if err != nil {
			return
		}
		if !shows(head, secret) {
			io.WriteString(conn, closed(kind))
			return
		}
		conn.SetReadDeadline(time.Time{})
		serve(kind, &replayed{conn, head})
	}
}

// readHead reads until a head has ended, and what came with it.
func readHead(conn net.Conn) ([]byte, error) {
	var head []byte
	buffer := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buffer)
		// The end may have come in two pieces.
		from := max(0, len(head)-3)
		head = append(head, buffer[:n]...)
		if bytes.Contains(head[from:], []byte("\r\n\r\n")) {
			return head, nil
		}
		if err != nil {
			return nil, err
		}
		if len(head) > maxHead {
			return nil, io.ErrShortBuffer
		}
	}
}

// shows says whether a head holds the secret.
func shows(head []byte, secret string) bool {
	head, _, _ = bytes.Cut(head, []byte("\r\n\r\n"))
	found := 0
	for line := range strings.SplitSeq(string(head), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		scheme, rest, _ := strings.Cut(value, " ")
		switch {
		case strings.EqualFold(name, "X-Api-Key"):
			found |= same(value, secret)
		case strings.EqualFold(name, "Authorization") && strings.EqualFold(scheme, "Bearer"):
			found |= same(strings.TrimSpace(rest), secret)
		case strings.EqualFold(name, "Proxy-Authorization") && strings.EqualFold(scheme, "Basic"):
			if pair, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest)); err == nil {
				_, password, _ := strings.Cut(string(pair), ":")
				found |= same(password, secret)
			}
		}
	}
	return found == 1 && secret != ""
}

// same compares in a time that tells nothing.
func same(a, b string) int { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) }

// closed is the answer to who does not know the secret.
func closed(kind wire.Kind) string {
	status, demand := "401 Unauthorized", "WWW-Authenticate: Bearer"
	if kind == wire.Proxy {
		status, demand = "407 Proxy Authentication Required", `Proxy-Authenticate: Basic realm="nanoclaw"`
	}
	const text = "This endpoint belongs to one session of nanoclaw, which knows its secret.\n"
	return "HTTP/1.1 " + status + "\r\n" + demand + "\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" + text
}

// replayed is a connection whose first bytes were read already.
type replayed struct {
	net.Conn
	head []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

// CloseWrite ends our half, where the connection can.
func (r *replayed) CloseWrite() error {
	if c, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return r.Conn.Close()
}
