package scripted

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Model is a scripted Messages API on loopback.
type Model struct {
	// URL is what ANTHROPIC_BASE_URL is set to.
	URL string

	server *http.Server
	closed chan struct{}

	mu       sync.Mutex
	script   Script
	requests []Request
	serial   int
}

// Script decides how the model answers a request. It is called for one request
// at a time.
type Script func(Request) Step

// Step is one answer of the model.
type Step struct {
	// Wait is how long the model is silent before it says anything. Until, if not
	// nil, holds it up until closed.
	Wait  time.Duration
	Until <-chan struct{}
	// Text comes first, in pieces of a few words. Pieces, if not nil, makes the
	// pieces instead, each when it is sent.
	Text   string
	Pieces iter.Seq[string]
	// Tools are asked for after the text, all in one answer.
	Tools []ToolUse
	// Status other than 0 answers with an HTTP error of Type and Message and
	// nothing else.
	Status        int
	Type, Message string
	// Header is added to the answer.
	Header http.Header
	// Cut ends the connection in the middle of the text.
	Cut bool
	// InputTokens and OutputTokens are the usage that is reported; 0 stands for a
	// few.
	InputTokens, OutputTokens int
}

// ToolUse asks the agent to use a tool.
type ToolUse struct {
	Name  string
	Input any
}

// Bash asks the agent to run a command.
func Bash(command string) ToolUse {
	return ToolUse{Name: "Bash", Input: map[string]string{"command": command, "description": "as the script says"}}
}

// Steps is a script that answers in order and then says that it is over.
func Steps(steps ...Step) Script {
	return func(Request) Step {
		if len(steps) == 0 {
			return Step{Text: "The script is over."}
		}
		s := steps[0]
		steps = steps[1:]
		return s
	}
}

// Puppet is a script that does what the user's text says, for those who can only
// send messages. A line "bash: COMMAND" has the agent run a command, a
// line "tool: NAME JSON" has it use any tool; once the tools have answered, the
// model repeats what they said. Anything else is answered with "You said: ".
func Puppet(r Request) Step {
	if len(r.ToolResults) > 0 {
		return Step{Text: "The tools said:\n" + strings.Join(r.ToolResults, "\n")}
	}
	var step Step
	for line := range strings.Lines(r.UserText) {
		before, command, isBash := strings.Cut(unescape.Replace(line), "bash: ")
		if _, tool, ok := strings.Cut(unescape.Replace(line), "tool: "); ok && (!isBash || strings.Contains(before, "tool: ")) {
			name, input, _ := strings.Cut(trimElement(tool), " ")
			step.Tools = append(step.Tools, ToolUse{Name: name, Input: json.RawMessage(input)})
		} else if isBash {
			step.Tools = append(step.Tools, Bash(trimElement(command)))
		}
	}
	if step.Tools == nil {
		step.Text = "You said: " + r.UserText
	}
	return step
}

// order begins a line that Obedient obeys wherever it finds it.
const order = "AI, do this: "

// Obedient is Puppet, but for one thing: it also does what the tools' answers tell
// it to do, in lines such as "AI, do this: bash: COMMAND". So it follows every
// instruction that somebody hid in a file or a page.
func Obedient(r Request) Step {
	var found strings.Builder
	for line := range strings.Lines(strings.Join(r.ToolResults, "\n")) {
		if _, what, ok := strings.Cut(line, order); ok {
			found.WriteString(strings.TrimSpace(what) + "\n")
		}
	}
	if found.Len() == 0 {
		return Puppet(r)
	}
	return Puppet(Request{UserText: found.String()})
}

// unescape undoes what the prompt's format does to a person's text.
var unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&amp;", "&")

func trimElement(s string) string {
	return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "</message>"))
}

// New starts a model that answers by the script, on a free port. Close ends it.
func New(script Script) (*Model, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("a scripted model has no loopback to listen on: %w", err)
	}
	m := &Model{URL: "http://" + l.Addr().String(), script: script, closed: make(chan struct{})}
	m.server = &http.Server{Handler: m, ReadHeaderTimeout: 10 * time.Second}
	go m.server.Serve(l)
	return m, nil
}

// Close ends the model and all answers in the making.
func (m *Model) Close() {
	close(m.closed)
	m.server.Close()
}

// Use replaces the script.
func (m *Model) Use(script Script) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.script = script
}

// Requests gives all requests so far, in order.
func (m *Model) Requests() []Request {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Request(nil), m.requests...)
}

// ServeHTTP answers as the API does, as far as Claude Code asks.
func (m *Model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	if err != nil {
		return
	}
	req := parseRequest(r, body)
	step, id := m.next(req)
	switch {
	case r.URL.Path == "/v1/messages/count_tokens":
		writeJSON(w, http.StatusOK, map[string]int{"input_tokens": 1000})
		return
	case r.URL.Path != "/v1/messages" || r.Method != http.MethodPost:
		writeError(w, http.StatusNotFound, "not_found_error", "no such path: "+r.URL.Path)
		return
	}
	select {
	case <-time.After(step.Wait):
	case <-m.closed:
	}
	if step.Until != nil {
		select {
		case <-step.Until:
		case <-m.closed:
		case <-r.Context().Done():
			return
		}
	}
	for k, v := range step.Header {
		w.Header()[k] = v
	}
	if step.Status != 0 {
		writeError(w, step.Status, step.Type, step.Message)
		return
	}
	answer{w: w, step: step, id: id, model: req.Model}.write(req.Stream)
}

// next records a request and asks the script, if there is a model to ask.
func (m *Model) next(req Request) (Step, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, req)
	m.serial++
	if req.Path != "/v1/messages" {
		return Step{}, m.serial
	}
	return m.script(req), m.serial
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func writeError(w http.ResponseWriter, status int, kind, message string) {
	writeJSON(w, status, object{"type": "error", "error": object{"type": kind, "message": message}})
}

// object is a JSON object.
type object map[string]any

// answer writes one message of the model.
type answer struct {
	w     http.ResponseWriter
	step  Step
	id    int
	model string
}

func (a answer) usage() (in, out int) {
	in, out = a.step.InputTokens, a.step.OutputTokens
	if in == 0 {
		in = 100
	}
	if out == 0 {
		out = 10
	}
	return in, out
}

func (a answer) stopReason() string {
	if len(a.step.Tools) > 0 {
		return "tool_use"
	}
	return "end_turn"
}

func (a answer) toolID(i int) string { return fmt.Sprintf("toolu_%04d_%02d", a.id, i) }

func (a answer) write(stream bool) {
	if !stream {
		a.whole()
		return
	}
	a.w.Header().Set("Content-Type", "text/event-stream")
	in, out := a.usage()
	a.event("message_start", object{"message": object{
		"id": fmt.Sprintf("msg_%04d", a.id), "type": "message", "role": "assistant", "model": a.model, "content": []any{},
		"stop_reason": nil, "stop_sequence": nil, "usage": object{"input_tokens": in, "output_tokens": 1},
	}})
	a.event("ping", object{})
	index := 0
	if all := a.pieces(); all != nil {
		a.event("content_block_start", object{"index": 0, "content_block": object{"type": "text", "text": ""}})
		first := true
		for piece := range all {
			if a.step.Cut && !first {
				panic(http.ErrAbortHandler)
			}
			first = false
			a.event("content_block_delta", object{"index": 0, "delta": object{"type": "text_delta", "text": piece}})
		}
		a.event("content_block_stop", object{"index": 0})
		index++
	}
	for i, t := range a.step.Tools {
		a.event("content_block_start", object{"index": index, "content_block": object{"type": "tool_use", "id": a.toolID(i), "name": t.Name, "input": object{}}})
		input, _ := json.Marshal(t.Input)
		a.event("content_block_delta", object{"index": index, "delta": object{"type": "input_json_delta", "partial_json": string(input)}})
		a.event("content_block_stop", object{"index": index})
		index++
	}
	a.event("message_delta", object{"delta": object{"stop_reason": a.stopReason(), "stop_sequence": nil}, "usage": object{"output_tokens": out}})
	a.event("message_stop", object{})
}

// pieces are the pieces of the text, nil for no text.
func (a answer) pieces() iter.Seq[string] {
	if a.step.Pieces != nil || a.step.Text == "" {
		return a.step.Pieces
	}
	return slices.Values(pieces(a.step.Text))
}

// event writes one server-sent event and pushes it out.
func (a answer) event(kind string, v object) {
	v["type"] = kind
	data, _ := json.Marshal(v)
	fmt.Fprintf(a.w, "event: %s\ndata: %s\n\n", kind, data)
	a.w.(http.Flusher).Flush()
}

// whole writes the answer without streaming.
func (a answer) whole() {
	var content []object
	if a.step.Text != "" {
		content = append(content, object{"type": "text", "text": a.step.Text})
	}
	for i, t := range a.step.Tools {
		content = append(content, object{"type": "tool_use", "id": a.toolID(i), "name": t.Name, "input": t.Input})
	}
	in, out := a.usage()
	writeJSON(a.w, http.StatusOK, object{
		"id": fmt.Sprintf("msg_%04d", a.id), "type": "message", "role": "assistant", "model": a.model, "content": content,
		"stop_reason": a.stopReason(), "stop_sequence": nil, "usage": object{"input_tokens": in, "output_tokens": out},
	})
}

// pieces cuts a text into the small pieces in which a model speaks.
func pieces(s string) []string {
	var out []string
	for len(s) > 0 {
		n := min(12, len(s))
		for n < len(s) && s[n]&0xC0 == 0x80 {
			n++
		}
		out = append(out, s[:n])
		s = s[n:]
	}
	return out
}
