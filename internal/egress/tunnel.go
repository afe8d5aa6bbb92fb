package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"nanoclaw/internal/grant"
)

// halfCloser is a connection that can end one direction: a TCP connection, a
// stream of the wire.
type halfCloser interface{ CloseWrite() error }

// established opens a tunnel (RFC 9110 section 9.3.6).
const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// unrecognizedName is the fatal TLS alert 112 (RFC 6066 section 3) in a record
// of its own: the one way to say no to a client that speaks TLS already.
const unrecognizedName = "\x15\x03\x03\x00\x02\x02\x70"

// copySize is how much is taken from one side before it is given to the other:
// enough that a fast download is not spent on system calls.
const copySize = 64 << 10

// tunnel joins the agent with the host, once the agent has begun TLS for the
// name that it asked for. The host gets no byte before that.
func (x *exchange) tunnel(req *request, up net.Conn) {
	x.event.Status = 200
	x.conn.SetDeadline(time.Now().Add(x.g.limits.HelloTime))
	if _, err := io.WriteString(x.conn, established); err != nil {
		x.event.Reason = "the client went away"
		return
	}
	if x.rule.Raw {
		x.conn.SetDeadline(time.Time{})
		x.event.Reason = x.splice(nil, up)
		return
	}
	h, err := readHello(x.in)
	x.event.ECH = h.ech
	if err == nil {
		err = x.checkHello(h, req.host)
		if err != nil {
			io.WriteString(x.conn, unrecognizedName)
			defer x.linger()
		}
	}
	if err != nil {
		x.event.Verdict, x.event.Reason = Refused, clean(err.Error())
		return
	}
	x.conn.SetDeadline(time.Time{})
	if x.rule.Inspect {
		x.inspect(req, h, up)
		return
	}
	x.event.Reason = x.splice(h.raw, up)
}

// checkHello judges who the client means. An encrypted ClientHello hides a second
// name, which may be any that the host serves; where TLS ends here, nobody is
// there to read it. Some clients send it as padding without meaning, which
// cannot be told apart: whoever needs them says so of the host.
func (x *exchange) checkHello(h hello, host string) error {
	if err := checkName(h.name, host); err != nil {
		return err
	}
	switch {
	case x.rule.Inspect && x.g.authority == nil:
		return errors.New("the host is to be inspected, and the session has no certificates for that")
	case h.ech && !x.rule.ECH && !x.rule.Inspect:
		return errors.New("the TLS ClientHello carries an encrypted one (ECH), whose name cannot be checked")
	}
	return nil
}

// checkName requires that the name in the ClientHello is the one that was
// judged. Without this an allowed host that shares its address with others would
// be a door to all of them.
func checkName(sni, host string) error {
	if sni == "" {
		return errors.New("the TLS ClientHello names no host (SNI), so it cannot be checked")
	}
	if name, err := grant.CanonicalHost(sni); err != nil || name != host {
		return fmt.Errorf("the TLS ClientHello names %q, but the tunnel was opened for %s", clean(sni), host)
	}
	return nil
}

// splice sends first to the host and then copies both ways until both have
// ended, one fails, or nothing moves for the idle time. It says how it ended.
func (x *exchange) splice(first []byte, up net.Conn) string {
	idle := x.watch(up)
	err := x.meter.moved(len(first), 0)
	if err == nil && len(first) > 0 {
		if _, err := up.Write(first); err != nil {
			return idle.stop("the host went away")
		}
	}
	if err == nil {
		err = x.both(up, func(n int) error { return x.meter.moved(n, 0) }, func(n int) error { return x.meter.moved(0, n) })
	}
	if err != nil {
		return idle.stop(x.cut(err))
	}
	return idle.stop("ended")
}

// cut says why an exchange was broken off, and sees to its verdict.
func (x *exchange) cut(err error) string {
	var spent *spentError
	if errors.As(err, &spent) {
		x.event.Verdict, x.event.Spent = Refused, spent.text
		return spent.text
	}
	return "cut off: " + clean(netWords(err))
}

// both copies both ways until both have ended or one has failed. up and down are
// asked before bytes go on.
func (x *exchange) both(far io.ReadWriteCloser, up, down func(int) error) error {
	done := make(chan error, 1)
	go func() {
		err := errPanic
		defer func() { done <- err }()
		defer x.g.contain()
		err = pump(far, x.in, up)
		x.end(err, far)
	}()
	err := pump(x.conn, far, down)
	x.end(err, far)
	return errors.Join(<-done, err)
}

var errPanic = errors.New("a bug in the gateway")

// end closes both sides if one direction failed, so that the other one does not
// wait for it.
func (x *exchange) end(err error, far io.Closer) {
	if err != nil {
		x.conn.Close()
		far.Close()
	}
}

// pump copies until src ends, then ends dst's direction.
func pump(dst io.WriteCloser, src io.Reader, moved func(int) error) error {
	buf := make([]byte, copySize)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if err := moved(n); err != nil {
				return err
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			// If dst is gone already, its other direction says so.
			if h, ok := dst.(halfCloser); ok {
				h.CloseWrite()
			} else {
				dst.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// idleWatch closes an exchange on which nothing moves.
type idleWatch struct {
	x     *exchange
	up    net.Conn
	timer *time.Timer
	fired chan struct{}
}

// watch starts the idle time.
func (x *exchange) watch(up net.Conn) *idleWatch {
	x.meter.touch()
	w := &idleWatch{x: x, up: up, fired: make(chan struct{})}
	set := make(chan struct{}) // check must not run before w.timer is set
	w.timer = time.AfterFunc(x.g.limits.IdleTime, func() { <-set; w.check() })
	close(set)
	return w
}

func (w *idleWatch) check() {
	m, limit := &w.x.meter, w.x.g.limits.IdleTime
	quiet := time.Since(m.start) - time.Duration(m.last.Load())
	if quiet < limit {
		w.timer.Reset(limit - quiet)
		return
	}
	close(w.fired)
	w.x.conn.Close()
	w.up.Close()
}

// stop ends the watch and gives the reason for which the exchange is over.
func (w *idleWatch) stop(reason string) string {
	w.timer.Stop()
	select {
	case <-w.fired:
		return fmt.Sprintf("nothing moved for %v", w.x.g.limits.IdleTime)
	default:
	}
	if w.x.g.ctx.Err() != nil {
		return "the session ended"
	}
	return reason
}

// netWords tells a network error without addresses.
func netWords(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &op):
		return op.Err.Error()
	}
	return err.Error()
}
