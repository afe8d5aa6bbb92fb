package egress

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// connListener turns connections that are put into it into a net.Listener.
type connListener struct {
	next   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newConnListener() *connListener {
	return &connListener{next: make(chan net.Conn), closed: make(chan struct{})}
}

// put hands conn to Accept and returns when conn is closed.
func (l *connListener) put(conn net.Conn) {
	c := watched(conn)
	l.hand(c, c)
}

// hand hands conn to Accept and returns when what lies below it is closed. The
// server may have to see conn itself: net/http asks a *tls.Conn for the protocol.
func (l *connListener) hand(conn net.Conn, below *watchedConn) {
	select {
	case l.next <- conn:
		<-below.done
	case <-l.closed:
		conn.Close()
	}
}

func (l *connListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.next:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *connListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *connListener) Addr() net.Addr { return wireAddr{} }

// wireAddr is the address of something that has none.
type wireAddr struct{}

func (wireAddr) Network() string { return "wire" }
func (wireAddr) String() string  { return "wire" }

func watched(conn net.Conn) *watchedConn { return &watchedConn{Conn: conn, done: make(chan struct{})} }

// watchedConn tells when it is closed.
type watchedConn struct {
	net.Conn
	once sync.Once
	done chan struct{}
}

func (c *watchedConn) Close() error {
	defer c.once.Do(func() { close(c.done) })
	return c.Conn.Close()
}

// requestBody counts the agent's body and gives each read of it a deadline, so
// that a body which never ends does not hold its connection for ever. net/http
// may read it until after the answer has begun, in a goroutine of its own.
type requestBody struct {
	idle     *idler
	deadline func(time.Time) error
	r        io.Reader

	mu sync.Mutex
	// done says that the request is over: the deadline belongs to the server's
	// next request then.
	done bool
	n    int64
	big  bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.setDeadline(time.Now().Add(b.idle.limit))
	n, err := b.r.Read(p)
	b.idle.touch()
	if err != nil {
		// Lifted at the end: the server watches the connection for the client
		// going away, and the answer may take longer than the request.
		b.setDeadline(time.Time{})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += int64(n)
	var big *http.MaxBytesError
	b.big = b.big || errors.As(err, &big)
	return n, err
}

func (b *requestBody) setDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.done {
		b.deadline(t) // an error shows in the next Read
	}
}

// finish says how many bytes there were, and that no more count.
func (b *requestBody) finish() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
	return b.n
}

func (b *requestBody) tooLarge() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.big
}

// idler calls stop when touch was not called for a time.
type idler struct {
	limit time.Duration
	timer *time.Timer
}

func newIdler(limit time.Duration, stop func()) *idler {
	return &idler{limit: limit, timer: time.AfterFunc(limit, stop)}
}

func (i *idler) touch() { i.timer.Reset(i.limit) }
func (i *idler) stop()  { i.timer.Stop() }
