package egress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"nanoclaw/internal/grant"
)

// Bounds of a request's head.
const (
	maxHead   = 32 << 10
	maxFields = 100
)

// request is what the head of a proxy request asks for, after every part was
// checked. It is all that the rest of the gateway sees of it.
type request struct {
	method string
	// host is canonical.
	host string
	port int
	// http11 is false for HTTP/1.0, which old clients still use for CONNECT.
	http11 bool

	// The rest is for plain HTTP only; CONNECT has none of it.

	// target is path and query.
	target *url.URL
	// header holds the end-to-end fields, without Host and without framing.
	header http.Header
	// length of the body in bytes; -1 is chunked.
	length int64
	// expect says that the client waits for "100 Continue".
	expect bool
	// webSocket says that the client wants to go on with a WebSocket.
	webSocket bool
}

func (r *request) connect() bool { return r.method == http.MethodConnect }

// refusal is an answer "no", and later also "it did not work".
type refusal struct {
	status int
	// text is a sentence without a final stop, fit for the agent and the audit.
	text string
	// allow is the command that would allow it, if one would.
	allow string
	// failed says that the grant allowed it and the network did not.
	failed bool
	// spent says that a budget is used up.
	spent bool
}

func bad(format string, args ...any) *refusal {
	return &refusal{status: 400, text: fmt.Sprintf(format, args...)}
}

// errEmpty says that a connection ended before its first byte.
var errEmpty = errors.New("the connection ended before a request")

// readHead reads up to and with the empty line that ends the head. Lines end in
// CR LF and in nothing else: where one parser sees a line end and another does
// not, requests are smuggled.
func readHead(r *bufio.Reader) ([]string, error) {
	var lines []string
	for size := 0; ; {
		line, err := r.ReadSlice('\n')
		size += len(line)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) || size > maxHead || len(lines) > maxFields+1:
			return nil, fmt.Errorf("the head of the request is larger than %d bytes or %d fields", maxHead, maxFields)
		case errors.Is(err, io.EOF) && size == 0:
			return nil, errEmpty
		case err != nil:
			return nil, fmt.Errorf("the request ended inside its head: %w", err)
		}
		text, ok := strings.CutSuffix(string(line), "\r\n")
		if !ok || strings.ContainsAny(text, "\r\x00") {
			return nil, errors.New("a line of the head does not end in CR LF, or holds a CR or NUL inside")
		}
		if text == "" {
			return lines, nil
		}
		lines = append(lines, text)
	}
}

// parseRequest reads a head for a proxy. It is pure. What could be understood
// in two ways is refused with 400 and not repaired (RFC 9112 sections 3 and 6).
func parseRequest(lines []string) (*request, *refusal) {
	return parseHead(lines, func(r *request, target string) *refusal {
		if r.connect() {
			return r.parseConnect(target)
		}
		return r.parseAbsolute(target)
	})
}

// parseInside reads a head that came through an inspected tunnel to host and
// port, which are canonical. It is as strict.
func parseInside(lines []string, host string, port int) (*request, *refusal) {
	return parseHead(lines, func(r *request, target string) *refusal {
		r.host, r.port = host, port
		return r.parseInside(target)
	})
}

// parseInside reads the only form of target that a request to a host itself has.
func (r *request) parseInside(target string) *refusal {
	if r.connect() || !strings.HasPrefix(target, "/") {
		return bad("a request to a host has a path for its target")
	}
	return r.setPath(target)
}

func parseHead(lines []string, parseTarget func(*request, string) *refusal) (*request, *refusal) {
	if len(lines) == 0 {
		return nil, bad("the request has no first line")
	}
	method, rest, _ := strings.Cut(lines[0], " ")
	target, version, ok := strings.Cut(rest, " ")
	if !ok || !isToken(method) || version != "HTTP/1.1" && version != "HTTP/1.0" {
		return nil, bad("the first line is not METHOD, TARGET and HTTP/1.1")
	}
	req := &request{method: method, http11: version == "HTTP/1.1"}
	fields, no := parseFields(lines[1:])
	if no != nil {
		return nil, no
	}
	if no := parseTarget(req, target); no != nil {
		return req, no
	}
	if no := req.checkHost(fields); no != nil {
		return req, no
	}
	if no := req.parseFraming(fields); no != nil {
		return req, no
	}
	if !req.connect() {
		req.header = endToEnd(fields)
		req.webSocket = wantsWebSocket(fields)
	}
	return req, nil
}

// wantsWebSocket says whether a client wants to go on with a WebSocket (RFC 6455
// section 4.1). Other upgrades are fields of the hop and end here.
func wantsWebSocket(h http.Header) bool {
	for _, v := range h["Upgrade"] {
		for name := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(name, " \t"), "websocket") {
				return true
			}
		}
	}
	return false
}

// parseFields reads the header lines: a name, a colon without space before it,
// a value of printable characters. Continuation lines are refused.
func parseFields(lines []string) (http.Header, *refusal) {
	h := make(http.Header, len(lines))
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ":")
		if !ok || !isToken(name) {
			return nil, bad("a header line is not NAME: VALUE")
		}
		value = strings.Trim(value, " \t")
		for i := 0; i < len(value); i++ {
			if value[i] < ' ' && value[i] != '\t' || value[i] == 0x7f {
				return nil, bad("the value of header %s holds a control character", clean(name))
			}
		}
		key := textproto.CanonicalMIMEHeaderKey(name)
		h[key] = append(h[key], value)
	}
	return h, nil
}

// parseConnect reads HOST:PORT, the only form of target that CONNECT has.
func (r *request) parseConnect(target string) *refusal {
	i := strings.LastIndexByte(target, ':')
	if i < 0 {
		return bad("CONNECT needs HOST:PORT")
	}
	return r.setHost(target[:i], target[i+1:])
}

// parseAbsolute reads http://HOST[:PORT]/PATH[?QUERY].
func (r *request) parseAbsolute(target string) *refusal {
	const scheme = "http://"
	if len(target) < len(scheme) || !strings.EqualFold(target[:len(scheme)], scheme) {
		return bad("this is a proxy: it takes CONNECT HOST:PORT, and http:// URLs in full")
	}
	rest := target[len(scheme):]
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, path := rest[:end], rest[end:]
	if strings.ContainsRune(authority, '@') {
		return bad("the URL holds a user name or password")
	}
	host, port := authority, "80"
	// A colon inside brackets is part of an address, which setHost refuses.
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
	}
	if no := r.setHost(host, port); no != nil {
		return no
	}
	if r.port == grant.HTTPSPort {
		return bad("port 443 speaks TLS: use https://")
	}
	return r.setPath(path)
}

// setPath keeps path and query; Go's own parser has to agree with them.
func (r *request) setPath(path string) *refusal {
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	if strings.ContainsRune(path, '#') {
		return bad("the URL holds a fragment, which is never sent")
	}
	u, err := url.ParseRequestURI(path)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return bad("the path of the URL is malformed")
	}
	r.target = u
	return nil
}

// setHost canonicalises. An address is refused as an answer about rights (403)
// and anything else that is no name as a mistake (400).
func (r *request) setHost(host, port string) *refusal {
	name, err := grant.CanonicalHost(host)
	if errors.Is(err, grant.ErrIPLiteral) {
		r.host = clean(host)
		r.port, _ = grant.ParsePort(port)
		return &refusal{status: 403, text: clean(err.Error())}
	}
	if err != nil {
		return bad("%s", clean(err.Error()))
	}
	n, err := grant.ParsePort(port)
	if err != nil {
		return bad("%s", clean(err.Error()))
	}
	r.host, r.port = name, n
	return nil
}

// checkHost requires that the Host field says what the target says: exactly one
// for HTTP/1.1, at most one for HTTP/1.0.
func (r *request) checkHost(h http.Header) *refusal {
	hosts := h["Host"]
	switch {
	case len(hosts) > 1:
		return bad("the request has %d Host headers", len(hosts))
	case len(hosts) == 0 && r.http11:
		return bad("the request has no Host header")
	case len(hosts) == 0:
		return nil
	}
	host, port, hasPort := strings.Cut(hosts[0], ":")
	name, err := grant.CanonicalHost(host)
	if err != nil || name != r.host {
		return bad("the Host header names another host than the target, %s", r.host)
	}
	if n, err := grant.ParsePort(port); hasPort && (err != nil || n != r.port) {
		return bad("the Host header names another port than the target, %d", r.port)
	}
	return nil
}

// parseFraming decides how long the body is, where there is only one answer.
func (r *request) parseFraming(h http.Header) *refusal {
	te, cl := h["Transfer-Encoding"], h["Content-Length"]
	switch {
	case len(te) == 0 && len(cl) == 0:
		return r.parseExpect(h)
	case r.connect():
		return bad("CONNECT has no body, yet the request announces one")
	case len(te) > 0 && len(cl) > 0:
		return bad("the request has both Transfer-Encoding and Content-Length")
	case len(te) > 0:
		if len(te) != 1 || !strings.EqualFold(te[0], "chunked") || !r.http11 {
			return bad("the only Transfer-Encoding is chunked, once, in HTTP/1.1")
		}
		r.length = -1
	default:
		if len(cl) != 1 || len(cl[0]) > 18 || cl[0] == "" || strings.Trim(cl[0], "0123456789") != "" {
			return bad("Content-Length is not one number")
		}
		r.length, _ = strconv.ParseInt(cl[0], 10, 64) // 18 digits always fit
	}
	return r.parseExpect(h)
}

func (r *request) parseExpect(h http.Header) *refusal {
	expect := h["Expect"]
	if len(expect) == 0 {
		return nil
	}
	if len(expect) != 1 || !strings.EqualFold(expect[0], "100-continue") {
		return &refusal{status: 417, text: "the only expectation known is 100-continue"}
	}
	r.expect = r.http11 && r.length != 0
	return nil
}

// endToEnd keeps the fields that are meant for the server. What belongs to this
// connection alone goes: the list of RFC 9110 section 7.6.1, whatever Connection
// names, everything that begins with Proxy-, and Host and the framing, which are
// made anew from the parsed request.
func endToEnd(h http.Header) http.Header {
	drop := map[string]bool{"Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true,
		"Transfer-Encoding": true, "Upgrade": true, "Http2-Settings": true,
		"Host": true, "Content-Length": true, "Expect": true}
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			drop[textproto.CanonicalMIMEHeaderKey(strings.Trim(name, " \t"))] = true
		}
	}
	out := make(http.Header, len(h))
	for name, values := range h {
		if !drop[name] && !strings.HasPrefix(name, "Proxy-") {
			out[name] = values
		}
	}
	return out
}

// isToken says whether s is a token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return true
}
