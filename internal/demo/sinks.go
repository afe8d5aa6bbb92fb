package demo

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// sinks are where an attacker would collect: a web server and a name server, on
// loopback. They keep all that comes, so that a success is seen.
type sinks struct {
	web *http.Server
	udp net.PacketConn

	webPort, udpPort string

	mu      sync.Mutex
	came    bytes.Buffer
	arrived chan struct{} // closed at the next arrival
}

// kept bounds what is taken of one request, and in all.
const (
	kept    = 64 << 10
	keptAll = 1 << 20
)

func openSinks() (*sinks, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &sinks{udp: u, arrived: make(chan struct{})}
	_, s.webPort, _ = net.SplitHostPort(l.Addr().String())
	_, s.udpPort, _ = net.SplitHostPort(u.LocalAddr().String())
	s.web = &http.Server{ReadTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, kept))
		s.take([]byte(r.URL.String()+"\n"), body)
	})}
	go s.web.Serve(l)
	go s.listen()
	return s, nil
}

// listen takes datagrams until the socket is closed.
func (s *sinks) listen() {
	b := make([]byte, kept)
	for {
		n, _, err := s.udp.ReadFrom(b)
		if err != nil {
			return
		}
		s.take(b[:n])
	}
}

func (s *sinks) take(parts ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		if s.came.Len() < keptAll {
			s.came.Write(p)
		}
	}
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// got tells whether a text arrived.
func (s *sinks) got(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.came.String(), text)
}

// gets is got, and waits a little for what is on its way.
func (s *sinks) gets(text string) bool {
	for deadline := time.After(2 * time.Second); ; {
		s.mu.Lock()
		arrived := s.arrived
		s.mu.Unlock()
		if s.got(text) {
			return true
		}
		select {
		case <-arrived:
		case <-deadline:
			return false
		}
	}
}

func (s *sinks) close() error { return errors.Join(s.web.Close(), s.udp.Close()) }
