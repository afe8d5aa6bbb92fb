package egress

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxHeard bounds one message of a server that a guard looks at, in bytes.
const maxHeard = 16 << 20

// guarded has the guard judge what is asked. Params of its own take the place of
// the request's.
func (c *mcpCall) guarded(body []byte) ([]byte, *refusal) {
	if c.target.guard == nil {
		return body, nil
	}
	params, err := c.target.guard.Request(c.event.RPC, c.params)
	if err != nil {
		return nil, &refusal{status: 403, text: clean(err.Error())}
	}
	if params == nil {
		return body, nil
	}
	body, err = json.Marshal(map[string]any{"jsonrpc": "2.0", "id": c.id, "method": c.event.RPC, "params": params})
	if err != nil || len(c.id) == 0 {
		return nil, bad("a call without an id")
	}
	return body, nil
}

// heard gives what the agent may hear of an answer. A message is looked at whole
// before any of it goes in; a stream of them goes on as a stream. What is neither
// is no message to a client of MCP, which takes these two kinds by what their
// type contains.
func (c *mcpCall) heard(resp *http.Response) (io.Reader, *refusal) {
	kind := strings.ToLower(strings.Join(resp.Header.Values("Content-Type"), ", "))
	stream, message := strings.Contains(kind, "text/event-stream"), strings.Contains(kind, "json")
	if c.target.guard == nil || resp.StatusCode >= 400 || !stream && !message {
		return resp.Body, nil
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, &refusal{status: 502, text: "the MCP server answers in an encoding (" + clean(e) + ") that cannot be looked at", failed: true}
	}
	c.w.Header().Del("Content-Length")
	if stream {
		return &heardEvents{from: bufio.NewReader(resp.Body), said: c.target.guard.Said}, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHeard+1))
	switch {
	case err != nil:
		return nil, &refusal{status: 502, text: "the answer was cut off", failed: true}
	case len(body) > maxHeard:
		return nil, &refusal{status: 502, text: fmt.Sprintf("the answer is larger than %d MiB", maxHeard>>20), failed: true}
	case len(bytes.TrimSpace(body)) > 0 && !json.Valid(body):
		return nil, &refusal{status: 502, text: "the answer says that it is JSON, and is not", failed: true}
	case len(bytes.TrimSpace(body)) > 0:
		body = c.target.guard.Said(body)
	}
	c.w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	return bytes.NewReader(body), nil
}

// heardEvents is a stream of events (HTML, server-sent events) of which each is
// read whole, judged and written anew, so that it has one reading. Comments pass
// as they come: they keep a connection awake.
type heardEvents struct {
	from *bufio.Reader
	said func(json.RawMessage) json.RawMessage
	out  bytes.Buffer

	started bool
	cr      bool     // the last line ended with CR
	fields  []string // of the event that is being read, but for its data
	data    []string
	size    int
	err     error
}

// Read gives the stream as it may be heard.
func (h *heardEvents) Read(p []byte) (int, error) {
	for h.out.Len() == 0 && h.err == nil {
		h.err = h.line()
	}
	if h.out.Len() > 0 {
		return h.out.Read(p)
	}
	return 0, h.err
}

// line takes one line. What a stream ends with before an empty line is no event.
func (h *heardEvents) line() error {
	line, err := h.next()
	if err != nil {
		return err
	}
	if !h.started {
		line, h.started = strings.TrimPrefix(line, "\ufeff"), true
	}
	if line == "" {
		return h.event()
	}
	if strings.HasPrefix(line, ":") {
		h.out.WriteString(line + "\n")
		return nil
	}
	h.size += len(line) + 1
	field, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch field {
	case "data":
		h.data = append(h.data, value)
	case "event", "id", "retry":
		h.fields = append(h.fields, field+": "+value)
	}
	return nil
}

var errLongEvent = errors.New("an event is too long")

// next reads a line, which ends with CR, LF or both.
func (h *heardEvents) next() (string, error) {
	var line []byte
	for {
		b, err := h.from.ReadByte()
		if err != nil {
			return "", err
		}
		if h.size+len(line) > maxHeard {
			return "", errLongEvent
		}
		again := h.cr && b == '\n' && len(line) == 0 // the second half of CR LF
		h.cr = b == '\r'
		switch {
		case again:
			continue
		case b == '\r', b == '\n':
			return string(line), nil
		}
		line = append(line, b)
	}
}

// event writes the event that was read.
func (h *heardEvents) event() error {
	defer func() { h.fields, h.data, h.size = nil, nil, 0 }()
	text := []byte(strings.Join(h.data, "\n"))
	if h.fields == nil && h.data == nil || len(text) > 0 && !json.Valid(text) {
		return nil // what is no message is nothing to the client
	}
	for _, f := range h.fields {
		h.out.WriteString(f + "\n")
	}
	if h.data != nil {
		if len(text) > 0 {
			text = h.said(text)
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			h.out.WriteString("data: " + line + "\n")
		}
	}
	h.out.WriteString("\n")
	return nil
}
