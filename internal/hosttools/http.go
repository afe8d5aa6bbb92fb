package hosttools

import (
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
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s.mcp }, &mcp.StreamableHTTPOptions{
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
