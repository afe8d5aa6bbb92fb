package agenttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/wire"
)

// A transcript is a recorded conversation with a process, one line each: "< "
// begins what the process said, "> " what the host said.
const (
	fromProcess = "< "
	fromHost    = "> "
)

// Replay is a box whose process says the lines of a transcript. Before it goes
// on past a line of the host it waits for one that does the same: of the same
// type, and with the same ids.
func Replay(transcript []byte) agent.Box {
	return Act(func(p *Peer) int {
		heard := newPool()
		go heard.fill(p)
		for text := range strings.Lines(string(transcript)) {
			text = strings.TrimRight(text, "\n")
			if line, ok := strings.CutPrefix(text, fromProcess); ok {
				if p.Say(line) != nil {
					return 1
				}
			} else if line, ok := strings.CutPrefix(text, fromHost); ok {
				var want Line
				if json.Unmarshal([]byte(line), &want) != nil || !heard.take(essence(want)) {
					return 1
				}
			}
		}
		heard.wait()
		return 0
	})
}

// essence is what two lines of the host must have in common.
func essence(l Line) string {
	return fmt.Sprint(l.Get("type"), l.Get("request_id"), l.Get("request", "subtype"), l.Get("uuid"), l.Get("response", "request_id"))
}

// pool holds what the host said and nobody asked for yet.
type pool struct {
	mu    sync.Mutex
	some  *sync.Cond
	lines []string
	over  bool
}

func newPool() *pool {
	h := &pool{}
	h.some = sync.NewCond(&h.mu)
	return h
}

func (h *pool) fill(p *Peer) {
	for {
		l, err := p.Hear()
		h.mu.Lock()
		if err != nil {
			h.over = true
		} else {
			h.lines = append(h.lines, essence(l))
		}
		h.some.Broadcast()
		h.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take waits for a line and removes it.
func (h *pool) take(want string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		for i, l := range h.lines {
			if l == want {
				h.lines = append(h.lines[:i], h.lines[i+1:]...)
				return true
			}
		}
		if h.over {
			return false
		}
		h.some.Wait()
	}
}

// wait returns when the host has closed its side.
func (h *pool) wait() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for !h.over {
		h.some.Wait()
	}
}

// Recorder is a box that writes down what is said in another box.
type Recorder struct {
	Box agent.Box

	mu    sync.Mutex
	lines []string
}

// Proven is the other box's.
func (r *Recorder) Proven() string { return r.Box.Proven() }

// Exec starts the process in the other box.
func (r *Recorder) Exec(ctx context.Context, e wire.Exec) (agent.Process, error) {
	p, err := r.Box.Exec(ctx, e)
	if err != nil {
		return nil, err
	}
	return &recorded{
		Process: p,
		in:      &writes{p.Stdin(), ear{r: r, mark: fromHost}},
		out:     &reads{p.Stdout(), ear{r: r, mark: fromProcess}},
	}, nil
}

// Transcript gives what was said, with secrets, paths and the program's own
// texts taken out: of lists of commands and the like only the few fields stay
// that the driver could read. Replace is pairs of old and new text.
func (r *Recorder) Transcript(replace ...string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	for _, line := range r.lines {
		mark, text := line[:2], line[2:]
		b.WriteString(mark)
		b.Write(scrub(strings.NewReplacer(replace...).Replace(text)))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

var clientInfo = regexp.MustCompile(`"clientInfo":\{[^}]*\}`)

func scrub(text string) []byte {
	var v map[string]any
	if json.Unmarshal([]byte(text), &v) != nil {
		return []byte(text)
	}
	keep := map[string]bool{}
	switch {
	case v["type"] == "user" && v["client_composed"] == nil: // a tool's answer, in the program's words
		delete(v, "message")
		delete(v, "tool_use_result")
	case v["type"] == "system" && v["subtype"] == "init":
		for _, k := range []string{"type", "subtype", "cwd", "session_id", "tools", "mcp_servers", "model", "permissionMode", "claude_code_version", "uuid"} {
			keep[k] = true
		}
	case v["type"] == "control_response":
		if r, ok := v["response"].(map[string]any); ok {
			if inner, ok := r["response"].(map[string]any); ok && inner["commands"] != nil {
				r["response"] = map[string]any{}
			}
		}
	}
	for k := range v {
		if len(keep) > 0 && !keep[k] {
			delete(v, k)
		}
	}
	b, _ := json.Marshal(v) // it was JSON before
	return clientInfo.ReplaceAll(b, []byte(`"clientInfo":{"name":"claude-code","version":"1"}`))
}

type recorded struct {
	agent.Process
	in  *writes
	out *reads
}

func (p *recorded) Stdin() io.WriteCloser { return p.in }
func (p *recorded) Stdout() io.Reader     { return p.out }

type writes struct {
	io.WriteCloser
	ear ear
}

func (w *writes) Write(p []byte) (int, error) {
	w.ear.note(p)
	return w.WriteCloser.Write(p)
}

type reads struct {
	io.Reader
	ear ear
}

func (r *reads) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.ear.note(p[:n])
	return n, err
}

// ear writes down whole lines as they pass.
type ear struct {
	r    *Recorder
	mark string
	rest []byte
}

func (e *ear) note(p []byte) {
	e.rest = append(e.rest, p...)
	for {
		line, rest, found := bytes.Cut(e.rest, []byte("\n"))
		if !found {
			return
		}
		e.r.mu.Lock()
		e.r.lines = append(e.r.lines, e.mark+string(line))
		e.r.mu.Unlock()
		e.rest = bytes.Clone(rest)
	}
}
