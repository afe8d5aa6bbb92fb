package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"

	"nanoclaw/internal/grant"
)

// maxAnswerHead bounds the header fields of an answer.
const maxAnswerHead = 64 << 10

// forward sends a plain HTTP request to the host, made anew from what was
// parsed, and its answer back. net/http writes and reads the far side, so that
// one well-known parser decides where a message ends there.
func (x *exchange) forward(req *request, up net.Conn) {
	idle := x.watch(up)
	far := newFarConn(up, &x.meter)
	x.relay(req, &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return far, nil },
		DisableKeepAlives:      true,
		DisableCompression:     true, // the agent's Accept-Encoding counts
		MaxResponseHeaderBytes: maxAnswerHead,
	})
	x.event.Reason = idle.stop(x.event.Reason)
}

// relay sends a request over the transport and the answer to the client. The
// event says how it went.
func (x *exchange) relay(req *request, over http.RoundTripper) {
	if req.expect { // answered here and not passed on: the decision to forward is made
		io.WriteString(x.conn, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	resp, err := over.RoundTrip(x.outgoing(req))
	if err == nil && resp.StatusCode < 200 && !(resp.StatusCode == http.StatusSwitchingProtocols && req.webSocket) {
		resp.Body.Close()
		err = errors.New("it switched to another protocol")
	}
	if err != nil {
		// No lingering: net/http may still be reading the body from the agent.
		x.deny(noAnswer(err))
		return
	}
	defer resp.Body.Close()
	x.event.Status, x.event.Reason = resp.StatusCode, "ended"
	if resp.StatusCode == http.StatusSwitchingProtocols {
		err = x.change(resp)
	} else {
		err = x.reply(req, resp)
	}
	if err != nil {
		x.event.Reason = x.cut(err)
	}
}

// noAnswer is the refusal where a host could not be asked.
func noAnswer(err error) *refusal {
	var spent *spentError
	if errors.As(err, &spent) {
		return &refusal{status: 403, text: spent.text, spent: true}
	}
	return &refusal{status: 502, text: "the host gave no answer: " + clean(netWords(err)), failed: true}
}

// outgoing is the request for the far side. The agent's query and header values
// pass; target, Host and framing are ours.
func (x *exchange) outgoing(req *request) *http.Request {
	host, scheme, usual := req.host, "http", grant.HTTPPort
	if x.event.Tunnel != 0 {
		scheme, usual = "https", grant.HTTPSPort
	}
	if req.port != usual {
		host = net.JoinHostPort(host, strconv.Itoa(req.port))
	}
	out := &http.Request{
		Method: req.method,
		URL: &url.URL{Scheme: scheme, Host: host, Path: req.target.Path, RawPath: req.target.RawPath,
			RawQuery: req.target.RawQuery, ForceQuery: req.target.ForceQuery},
		Host: host, Header: req.header, ContentLength: req.length, Body: http.NoBody,
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // else net/http adds its own
	}
	if req.webSocket {
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	switch {
	case req.length > 0:
		out.Body = x.counted(io.NopCloser(io.LimitReader(x.in, req.length)), &x.meter.up)
	case req.length < 0:
		out.Body = x.counted(io.NopCloser(httputil.NewChunkedReader(x.in)), &x.meter.up)
	}
	return out.WithContext(x.g.ctx)
}

// counted counts a body of an inspected request. Of a plain one the connection
// counts.
func (x *exchange) counted(body io.ReadCloser, n *atomic.Int64) io.ReadCloser {
	if x.event.Tunnel == 0 {
		return body
	}
	return &countedBody{body, n}
}

type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// change passes on that the host goes on with a WebSocket, and then what is said.
// What a request may be is not judged any more: the grant allowed that.
func (x *exchange) change(resp *http.Response) error {
	far, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || !wantsWebSocket(resp.Header) {
		return errors.New("the host changed to another protocol than was asked for")
	}
	h := endToEnd(resp.Header)
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	h.Write(&head)
	head.WriteString("\r\n")
	if _, err := x.conn.Write(head.Bytes()); err != nil {
		return err
	}
	free := func(int) error { return nil } // the connection below counts
	return x.both(far, free, free)
}

// reply writes the answer. Fields of the hop are dropped, the connection ends
// after it, and a length that is not known is told by chunks, so that the client
// can see whether the answer was cut.
func (x *exchange) reply(req *request, resp *http.Response) error {
	h := endToEnd(resp.Header)
	bare := req.method == http.MethodHead || resp.StatusCode == 204 || resp.StatusCode == 304
	chunked := resp.ContentLength < 0 && !bare && req.http11
	if resp.ContentLength >= 0 && resp.StatusCode != 204 {
		h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	if chunked {
		h.Set("Transfer-Encoding", "chunked")
	}
	h.Set("Connection", "close")
	w := bufio.NewWriter(x.conn)
	fmt.Fprintf(w, "HTTP/1.1 %d %s\r\n", resp.StatusCode, http.StatusText(resp.StatusCode))
	h.Write(w)
	io.WriteString(w, "\r\n")
	if err := w.Flush(); err != nil || bare {
		return err
	}
	if !chunked {
		_, err := copyFlushing(w, w, x.counted(resp.Body, &x.meter.down))
		return err
	}
	chunks := httputil.NewChunkedWriter(w)
	if _, err := copyFlushing(chunks, w, x.counted(resp.Body, &x.meter.down)); err != nil {
		return err
	}
	chunks.Close()
	io.WriteString(w, "\r\n") // no trailer
	return w.Flush()
}

// copyFlushing copies and flushes after each read, so that a slow stream is seen
// as it comes.
func copyFlushing(dst io.Writer, buffered *bufio.Writer, src io.Reader) (int64, error) {
	buf := make([]byte, copySize)
	var total int64
	for {
		n, err := src.Read(buf)
		if n > 0 {
			w, werr := dst.Write(buf[:n])
			total += int64(w)
			if werr == nil {
				werr = buffered.Flush()
			}
			if werr != nil {
				return total, werr
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// farConn counts what passes on the far side, and is not read before something
// was written: a host that answers unasked would make net/http write to the log.
type farConn struct {
	net.Conn
	m     *meter
	once  sync.Once
	asked chan struct{}
}

func newFarConn(conn net.Conn, m *meter) *farConn {
	return &farConn{Conn: conn, m: m, asked: make(chan struct{})}
}

func (c *farConn) Read(p []byte) (int, error) {
	<-c.asked
	n, err := c.Conn.Read(p)
	if n > 0 {
		if err := c.m.moved(0, n); err != nil {
			return 0, err
		}
	}
	return n, err
}

func (c *farConn) Write(p []byte) (int, error) {
	c.once.Do(func() { close(c.asked) })
	if err := c.m.moved(len(p), 0); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *farConn) Close() error {
	c.once.Do(func() { close(c.asked) })
	return c.Conn.Close()
}
