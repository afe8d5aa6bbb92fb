package egress

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

// serveHTTP2 serves the requests of an HTTP/2 connection until it ends.
func (i *inspection) serveHTTP2() {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	over := i.transport(false)
	conns := newConnListener()
	server := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { i.serve(w, r, over) }),
		Protocols: protocols, MaxHeaderBytes: maxHead, IdleTimeout: i.x.g.limits.IdleTime,
		ErrorLog: slog.NewLogLogger(i.x.g.log.Handler(), slog.LevelDebug),
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 100},
		// net/http would answer OPTIONS * by itself, unseen.
		DisableGeneralOptionsHandler: true,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(conns)
	}()
	conns.hand(i.front, i.below)
	conns.Close()
	server.Close()
	<-done
}

// serve serves one request.
func (i *inspection) serve(w http.ResponseWriter, r *http.Request, over http.RoundTripper) {
	if !i.x.g.begin() {
		panic(http.ErrAbortHandler)
	}
	defer i.x.g.wg.Done()
	in := i.request()
	in.event.Method, in.event.Path = clean(r.Method), clean(r.URL.EscapedPath())
	defer in.close()
	if i.x.g.pace.wait(r.Context()) != nil {
		in.event.Verdict, in.event.Reason = Refused, "the client went away"
		return
	}
	req, no := i.read(r)
	if no == nil {
		no = in.admit(req)
	}
	if no != nil {
		in.refuseHTTP2(w, no)
		return
	}
	out := in.outgoing(req).WithContext(r.Context())
	if r.ContentLength != 0 {
		out.Body = in.counted(r.Body, &in.meter.up)
	}
	resp, err := over.RoundTrip(out)
	if err == nil && resp.StatusCode < 200 {
		resp.Body.Close()
		err = fmt.Errorf("it switched to another protocol")
	}
	if err != nil {
		in.refuseHTTP2(w, noAnswer(err))
		return
	}
	defer resp.Body.Close()
	in.event.Status, in.event.Reason = resp.StatusCode, "ended"
	if err := in.replyHTTP2(w, resp); err != nil {
		in.event.Reason = in.cut(err)
		panic(http.ErrAbortHandler) // the client must see that the answer is cut
	}
}

// read makes of an HTTP/2 request what the reader of HTTP/1.1 makes.
func (i *inspection) read(r *http.Request) (*request, *refusal) {
	req := &request{method: r.Method, host: i.req.host, port: i.req.port, http11: true, length: r.ContentLength}
	if !isToken(r.Method) {
		return nil, bad("the method is none")
	}
	if no := req.parseInside(r.RequestURI); no != nil {
		return req, no
	}
	if no := req.checkHost(http.Header{"Host": {r.Host}}); no != nil {
		return req, no
	}
	for _, host := range r.Header["Host"] {
		if host != r.Host {
			return req, bad("the request names two hosts")
		}
	}
	req.header = endToEnd(r.Header)
	for _, te := range r.Header["Te"] {
		if strings.EqualFold(te, "trailers") { // the one value that HTTP/2 has (RFC 9113 section 8.2.2)
			req.header["Te"] = []string{"trailers"}
		}
	}
	return req, nil
}

// replyHTTP2 passes an answer on, piece by piece, with its trailer.
func (x *exchange) replyHTTP2(w http.ResponseWriter, resp *http.Response) error {
	for name, values := range endToEnd(resp.Header) {
		w.Header()[name] = values
	}
	if resp.ContentLength >= 0 && resp.StatusCode != http.StatusNoContent {
		w.Header().Set("Content-Length", fmt.Sprint(resp.ContentLength))
	}
	w.WriteHeader(resp.StatusCode)
	flush := http.NewResponseController(w).Flush
	body, buf := x.counted(resp.Body, &x.meter.down), make([]byte, copySize)
	for {
		if err := flush(); err != nil { // the head too, and then each piece as it comes
			return err
		}
		n, err := body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	for name, values := range resp.Trailer {
		w.Header()[http.TrailerPrefix+name] = values
	}
	return nil
}

// refuseHTTP2 answers in words and fills the event.
func (x *exchange) refuseHTTP2(w http.ResponseWriter, no *refusal) {
	x.refused(no)
	w.Header().Set("Content-Type", "text/plain; charset=us-ascii")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(no.status)
	io.WriteString(w, words(no))
}
