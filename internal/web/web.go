// Package web is the dashboard: the owner's browser, as one more surface over the
// acts that the terminal has.
//
// Trust: a request is nobody's before it has shown a session, and being local counts
// for nothing: any program of any user of this machine, and any page in the owner's
// browser, can reach a port of 127.0.0.1. So the port is opened when the owner asks for
// a link in the terminal and closed when nobody is signed in any more; a link signs in
// once; a name that is not ours is refused (DNS rebinding), and so is a request that
// another site sent; and each page asks package authority. What an agent wrote is text,
// escaped by html/template, and the pages permit no script but ours, from here.
//
// It keeps nothing but sessions, in memory, and decides nothing: all that it shows and
// does is control.Host's. The pages work without scripts; ours renews what changed.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"nanoclaw/internal/control"
)

// Name is what the browser calls us. Names below localhost are this machine's
// (RFC 6761, section 6.3), and a cookie of this one is sent to no other port's server
// that is called 127.0.0.1 or localhost: cookies do not know ports (RFC 6265, 8.5).
const Name = "nanoclaw.localhost"

// maxConnections bounds how many are open at once; more wait.
const maxConnections = 64

// Options are what a server works with.
type Options struct {
	Host control.Host
	Log  *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Server is the dashboard of one daemon.
type Server struct {
	host  control.Host
	log   *slog.Logger
	now   func() time.Time
	pages *pages // nil until somebody wants to see one
	doors *doors

	ctx    context.Context // ends what is being streamed
	cancel context.CancelFunc

	mu   sync.Mutex // guards what follows
	http *http.Server
	port int
	rest *time.Timer // looks whether anybody is left
	done bool
}

// New makes a server that listens nowhere yet.
func New(o Options) *Server {
	s := &Server{host: o.Host, log: o.Log, now: o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.doors = newDoors(s.now)
	return s
}

// Link opens the port, if it is not open, and gives a link with which one browser may
// sign in once. port chooses it; 0 leaves the one that is open, or any. Whoever calls
// has proven to be the owner.
func (s *Server) Link(port int) (control.DashboardLink, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return control.DashboardLink{}, &control.Error{Code: control.CodeStopping, Message: "the host is stopping"}
	}
	if s.http != nil && port != 0 && port != s.port {
		return control.DashboardLink{}, &control.Error{
			Code: control.CodeFailed, Message: fmt.Sprintf("the dashboard is open at port %d", s.port),
			Hint: "leave --port out, or sign out in every browser first",
		}
	}
	if s.http == nil {
		if err := s.open(port); err != nil {
			return control.DashboardLink{}, err
		}
	}
	code, until := s.doors.link()
	at := func(name string) string {
		return "http://" + net.JoinHostPort(name, strconv.Itoa(s.port)) + "/login#" + code
	}
	return control.DashboardLink{URL: at(Name), Plain: at("127.0.0.1"), Until: until}, nil
}

// open listens. Its caller holds mu.
func (s *Server) open(port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return &control.Error{Code: control.CodeFailed, Message: "open the dashboard: " + err.Error(), Hint: "choose another port with --port"}
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	if s.pages == nil {
		s.pages = parsePages()
	}
	h := &http.Server{
		Handler: s.handler(s.port), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return s.ctx },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.http = h
	go func() {
		if err := h.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the dashboard ended", "err", err)
		}
	}()
	s.rest = time.AfterFunc(restTime, s.leave)
	s.log.Info("the dashboard is open", "port", s.port)
	return nil
}

// restTime is how often it is looked whether anybody is left.
const restTime = time.Minute

// leave closes the port when nobody can use it any more.
func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http == nil {
		return
	}
	if s.doors.open() {
		s.rest.Reset(restTime)
		return
	}
	s.http.Close()
	s.http = nil
	s.log.Info("the dashboard is closed: nobody is signed in")
}

// Close ends everything now.
func (s *Server) Close() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	if s.http != nil {
		s.rest.Stop()
		s.http.Close()
		s.http = nil
	}
}
