package agent

import (
	"encoding/json"
	"strings"
	"sync"
)

const (
	// maxWaiting bounds the events that wait for a slow emit, in bytes.
	maxWaiting = 1 << 20
	// maxJoined is how long joined text may grow, in bytes: to join is to copy.
	maxJoined = 4 << 10
)

// events passes what happens from the goroutine that reads the agent to the
// one that calls emit. It never blocks the reader: text is joined while it
// waits, and what goes beyond the bound is dropped, since the answer itself
// does not come this way.
type events struct {
	wake chan struct{} // holds one value while something waits

	mu      sync.Mutex
	waiting []Event
	size    int
}

func newEvents() *events { return &events{wake: make(chan struct{}, 1)} }

func (q *events) push(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(e.Text) + len(e.Input) + len(e.Tool) + 64
	if q.size+n > maxWaiting {
		return
	}
	q.size += n
	if last := len(q.waiting) - 1; last >= 0 && e.Kind == TextEvent && q.waiting[last].Kind == TextEvent && len(q.waiting[last].Text) < maxJoined {
		q.waiting[last].Text += e.Text
	} else {
		q.waiting = append(q.waiting, e)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *events) take() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.waiting
	q.waiting, q.size = nil, 0
	return w
}

// brief tells in one line how a tool is used: "go test ./..." for Bash.
func brief(input json.RawMessage) string {
	var fields map[string]json.RawMessage
	text := string(input)
	if json.Unmarshal(input, &fields) == nil {
		for _, name := range []string{"command", "file_path", "path", "url", "pattern", "description", "text"} {
			var s string
			if json.Unmarshal(fields[name], &s) == nil && s != "" {
				text = s
				break
			}
		}
	}
	line := strings.Join(strings.Fields(clip(strings.ToValidUTF8(text, "\uFFFD"), 1000)), " ")
	if short := clip(line, 200); short != line {
		return short + "…"
	}
	return line
}
