package egress

import (
	"bufio"
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

	"nanoclaw/internal/grant"
)

// maxAnswerHead bounds the header fields of an answer.
const maxAnswerHead = 64 << 10

// forward sends a plain HTTP request to the host, made anew from what was
// parsed, and its answer back. net/http writes and reads the far side, so that
// one well-known parser decides where a message ends there.
func (x *exchange) forward(req *request, up net.Conn) {
	idle := x.watch(up)
	far := &farConn{Conn: up, m: &x.meter, asked: make(chan struct{})}
	transport := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return far, nil },
		DisableKeepAlives:      true,
		DisableCompression:     true, // the agent's Accept-Encoding counts
		MaxResponseHeaderBytes: maxAnswerHead,
	}
	if req.expect { // answered here and not passed on: the decision to forward is made
		io.WriteString(x.conn, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	resp, err := transport.RoundTrip(x.outgoing(req))
	if err == nil && resp.StatusCode < 200 {
		resp.Body.Close()
		err = errors.New("it switched to another protocol")
	}
	if err != nil {
		// No lingering: net/http may still be reading the body from the agent.
		x.deny(&refusal{status: 502, text: "the host gave no answer: " + clean(netWords(err)), failed: true})
		x.event.Reason = idle.stop(x.event.Reason)
		return
	}
	defer resp.Body.Close()
	x.event.Status = resp.StatusCode
	if err := x.reply(req, resp); err != nil {
		x.event.Reason = idle.stop("cut off: " + clean(netWords(err)))
		return
	}
	x.event.Reason = idle.stop("ended")
}

// outgoing is the request for the far side. The agent's query and header values
// pass; target, Host and framing are ours.
func (x *exchange) outgoing(req *request) *http.Request {
	host := req.host
	if req.port != grant.HTTPPort {
		host = net.JoinHostPort(host, strconv.Itoa(req.port))
	}
	out := &http.Request{
		Method: req.method,
		URL: &url.URL{Scheme: "http", Host: host, Path: req.target.Path, RawPath: req.target.RawPath,
			RawQuery: req.target.RawQuery, ForceQuery: req.target.ForceQuery},
		Host: host, Header: req.header, ContentLength: req.length, Body: http.NoBody,
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // else net/http adds its own
	}
	switch {
	case req.length > 0:
		out.Body = io.NopCloser(io.LimitReader(x.in, req.length))
	case req.length < 0:
		out.Body = io.NopCloser(httputil.NewChunkedReader(x.in))
	}
	return out.WithContext(x.g.ctx)
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
		_, err := copyFlushing(w, w, resp.Body)
		return err
	}
	chunks := httputil.NewChunkedWriter(w)
	if _, err := copyFlushing(chunks, w, resp.Body); err != nil {
		return err
	}
	chunks.Close()
	io.WriteString(w, "\r\n") // no trailer
	return w.Flush()
}

// copyFlushing copies and flushes after each read, so that a slow stream is seen
// as it comes.
func copyFlushing(dst io.Writer, buffered *bufio.Writer, src io.Reader) (int64, error) {
	buf := make([]byte, 32<<10)
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

func (c *farConn) Read(p []byte) (int, error) {
	<-c.asked
	n, err := c.Conn.Read(p)
	c.m.down.Add(int64(n))
	c.m.touch()
	return n, err
}

func (c *farConn) Write(p []byte) (int, error) {
	c.once.Do(func() { close(c.asked) })
	n, err := c.Conn.Write(p)
	c.m.up.Add(int64(n))
	c.m.touch()
	return n, err
}

func (c *farConn) Close() error {
	c.once.Do(func() { close(c.asked) })
	return c.Conn.Close()
}
