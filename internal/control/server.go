package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"nanoclaw/internal/authority"
)

// Server answers the owner's commands. It may serve several listeners.
type Server struct {
	host Host
	// who is on the socket: its listener has proven the peer's uid.
	who  authority.Actor
	log  *slog.Logger
	http *http.Server
	// dashboard gives links to it; nil if there is none.
	dashboard func(port int) (DashboardLink, error)

	ctx    context.Context // ends every open stream
	cancel context.CancelFunc

	mu       sync.Mutex // guards the two below
	streams  map[net.Conn]struct{}
	draining bool
	idle     sync.WaitGroup // open streams
}

// NewServer makes a server for host. Its listeners have to check their peers
// (Listen does) or be Memory.
func NewServer(host Host, log *slog.Logger) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{host: host, who: authority.Terminal(), log: log, ctx: ctx, cancel: cancel, streams: make(map[net.Conn]struct{})}
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers on l until Drain or Close, and then gives nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Streams counts the open chats and commands.
func (s *Server) Streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// Drain takes no more connections and returns when the last request and stream
// is over, or with the error of ctx.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	if err := s.http.Shutdown(ctx); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { s.idle.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lastWords is how long Close lets a request that is being answered finish: an
// act has its context ended, so that only its answer is left to write.
const lastWords = time.Second

// Close ends everything now. What is being answered is answered first: the
// command that asked for the end hears that it comes. It returns when every
// stream is over.
func (s *Server) Close() error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	s.mu.Lock()
	for c := range s.streams {
		c.Close()
	}
	s.mu.Unlock()
	s.idle.Wait()
	return err
}

// act makes a handler of one act: a JSON request in the body, which may be
// empty, a JSON answer back.
func act[Request, Answer any](do func(context.Context, Request) (Answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request Request
		if err := readBody(w, r, &request); err != nil {
			writeError(w, err)
			return
		}
		answer, err := do(r.Context(), request)
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

func readBody(w http.ResponseWriter, r *http.Request, v any) error {
	if r.ContentLength == 0 {
		return nil
	}
	if err := decodeStrict(http.MaxBytesReader(w, r.Body, maxBody), v); err != nil {
		return &Error{
			Code:    CodeUsage,
			Message: fmt.Sprintf("the request cannot be understood: %v", err),
			Hint:    "if the daemon is of another version than this command, restart it",
		}
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // an error here means that nobody listens any more
}

func writeError(w http.ResponseWriter, err error) {
	e := asError(err)
	writeJSON(w, e.status(), e)
}

// status is the HTTP status that goes with an error.
func (e *Error) status() int {
	switch e.Code {
	case CodeUsage:
		return http.StatusBadRequest
	case CodeRefused:
		return http.StatusForbidden
	case CodeNotFound:
		return http.StatusNotFound
	case CodeStopping:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// stream makes a handler of a two-way stream: the connection is taken over
// after an HTTP upgrade to protocol. ctx ends with the server.
func (s *Server) stream(protocol string, serve func(ctx context.Context, conn net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != protocol {
			w.Header().Set("Upgrade", protocol)
			writeJSON(w, http.StatusUpgradeRequired, &Error{Code: CodeUsage, Message: "this act needs an upgrade to " + protocol})
			return
		}
		conn, err := s.hijack(w)
		if err != nil {
			writeError(w, err)
			return
		}
		defer s.release(conn)
		if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol); err != nil {
			return
		}
		serve(s.ctx, conn)
	}
}

// hijack takes the connection over and counts it.
func (s *Server) hijack(w http.ResponseWriter) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, &Error{Code: CodeStopping, Message: "the host is stopping"}
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	conn = &bufferedConn{conn, buffered.Reader}
	s.streams[conn] = struct{}{}
	s.idle.Add(1)
	return conn, nil
}

func (s *Server) release(conn net.Conn) {
	conn.Close()
	s.mu.Lock()
	delete(s.streams, conn)
	s.mu.Unlock()
	s.idle.Done()
}

// bufferedConn is a connection of which HTTP has read ahead.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }
