//go:build liartest

package main

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// open is the init as somebody inside would have it who has taken it over. What
// begins with "LIE " is an order to it; all else is carried as ever. It exists
// only in the version that boundarytest.Liar builds.
//
//	LIE token           tell the session's token
//	LIE as TOKEN KIND   carry this connection as KIND, stamped with TOKEN ("-" is none)
//	LIE exited ID       tell the host that the process ID ended
func (s *server) open(conn *net.TCPConn, kind wire.Kind) (*wire.Stream, error) {
	if !begins(conn, "LIE ") {
		return s.mux.Open(wire.Header{Kind: kind})
	}
	words := strings.Fields(line(conn))
	switch {
	case len(words) == 2 && words[1] == "token":
		io.WriteString(conn, s.spec.Token)
		conn.CloseWrite()
		io.Copy(io.Discard, conn)
	case len(words) == 4 && words[1] == "as":
		s.mux.SetToken(strings.TrimPrefix(words[2], "-"))
		return s.mux.Open(wire.Header{Kind: wire.Kind(words[3])})
	case len(words) == 3 && words[1] == "exited":
		id, err := strconv.ParseUint(words[2], 10, 32)
		if err == nil {
			s.send(wire.Message{Exited: &wire.Exited{ID: uint32(id)}})
		}
	}
	return nil, errors.New("that was a lie")
}

// begins says whether a connection begins with a text, and takes nothing of it.
func begins(conn *net.TCPConn, text string) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	got := make([]byte, len(text))
	n := 0
	err = raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), got, unix.MSG_PEEK)
		return err != unix.EAGAIN
	})
	return err == nil && string(got[:max(n, 0)]) == text
}

// line reads one line, byte by byte, so that what follows stays in the connection.
func line(conn *net.TCPConn) string {
	var out []byte
	for one := make([]byte, 1); ; out = append(out, one[0]) {
		if _, err := conn.Read(one); err != nil || one[0] == '\n' {
			return string(out)
		}
	}
}
