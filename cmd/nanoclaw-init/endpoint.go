//go:build linux || darwin

package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"nanoclaw/internal/wire"
)

// listener is an endpoint that stands before the agent runs.
type listener struct {
	net.Listener
	kind wire.Kind
}

// maxConnections bounds the connections of one endpoint that are carried at a
// time. Others wait in the kernel's queue.
const maxConnections = 96

// copySize is how much of a stream is written to a connection at a time.
const copySize = 64 << 10

// accept carries every connection to an endpoint over a stream of its own.
func (s *server) accept(l listener) {
	slots := make(chan struct{}, maxConnections)
	for {
		slots <- struct{}{}
		conn, err := l.Accept()
		if err != nil {
			<-slots
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors: let some go
			continue
		}
		go func() {
			defer func() { <-slots }()
			s.connect(conn.(*net.TCPConn), l.kind)
		}()
	}
}

func (s *server) connect(conn *net.TCPConn, kind wire.Kind) {
	defer conn.Close()
	stream, err := s.open(conn, kind)
	if err != nil {
		conn.SetLinger(0) // a refusal, not an empty answer
		return
	}
	join(conn, stream)
}

// join carries both directions until both have ended. An end is passed on as
// an end, and anything else as a reset, so that nobody takes half an answer for
// a whole one.
func join(conn *net.TCPConn, stream *wire.Stream) {
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := io.Copy(stream, conn); err != nil {
			stream.Reset()
			conn.SetLinger(0)
			conn.Close()
			return
		}
		stream.CloseWrite()
	})
	// The conn's own way to copy takes small pieces; a download is worth large ones.
	down := struct{ io.Writer }{conn}
	if _, err := io.CopyBuffer(down, stream, make([]byte, copySize)); err != nil {
		stream.Reset()
		conn.SetLinger(0)
		conn.Close()
	} else {
		conn.CloseWrite()
	}
	both.Wait()
	stream.Close()
}
