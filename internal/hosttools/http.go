package hosttools

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// maxConns bounds the connections of one session.
const maxConns = 16

// newHTTP speaks MCP's streamable HTTP, without sessions and with plain JSON
// answers. Who calls was settled by the stream that the connection came on, so
// there is nothing to authenticate here.
func newHTTP(s *Server) *http.Server {
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.mcp() }, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, MaxRequestBodyBytes: maxMessage, PropagateRequestCancellation: true,
	})
	return &http.Server{
		Handler:           s.paced(handler),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // its words would come from inside
	}
}

// paced bounds the requests on the way of HTTP, and records those that are none.
func (s *Server) paced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leave, ok := s.enter()
		if !ok {
			http.Error(w, ErrClosed.Error(), http.StatusServiceUnavailable)
			return
		}
		defer leave()
		if !s.spend(r.Context()) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many messages", http.StatusTooManyRequests)
			return
		}
		status := &statusWriter{ResponseWriter: w}
		if r.Method != http.MethodPost || whole(status, r) {
			next.ServeHTTP(status, r)
		}
		if status.code >= 400 {
			s.odd(r.Context(), fmt.Sprintf("not a message to host tools: answered with HTTP status %d", status.code))
		}
	})
}

// whole reads the body of a request and says whether it is one JSON object: the
// protocol's library takes the first of several and drops the rest, and takes
// batches, of which each would count once.
func whole(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		http.Error(w, "the body is cut off, or longer than a message may be", http.StatusBadRequest)
		return false
	}
	if !json.Valid(body) || bytes.TrimLeft(body, " \t\r\n")[0] != '{' {
		http.Error(w, "the body is not one JSON object", http.StatusBadRequest)
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return true
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach what lies beneath.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Serve speaks MCP over HTTP on one connection and returns when it is over. A
// connection beyond the bound is closed at once.
func (s *Server) Serve(conn net.Conn) {
	c := &served{Conn: conn, done: make(chan struct{})}
	if !s.conns.put(c) {
		conn.Close()
		return
	}
	<-c.done
	s.conns.leave()
}

// served is a connection that tells when it is closed.
type served struct {
	net.Conn
	once sync.Once
	done chan struct{}
}

func (c *served) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.done) })
	return err
}

// connQueue is a listener for connections that are already there.
type connQueue struct {
	conns chan net.Conn // holds maxConns, so that put never blocks

	mu     sync.Mutex
	open   int
	closed bool
}

func newConnQueue() *connQueue { return &connQueue{conns: make(chan net.Conn, maxConns)} }

func (q *connQueue) put(c net.Conn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.open == maxConns {
		return false
	}
	q.open++
	q.conns <- c
	return true
}

func (q *connQueue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open--
}

// Accept gives the next connection.
func (q *connQueue) Accept() (net.Conn, error) {
	c, ok := <-q.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close refuses further connections and closes those that nobody took.
func (q *connQueue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	close(q.conns)
	for c := range q.conns {
		c.Close()
	}
	return nil
}

// Addr is a name for the logs of net/http.
func (q *connQueue) Addr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "wire" }
func (addr) String() string  { return "host tools" }
