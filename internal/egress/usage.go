package egress

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Usage is what one answer of a model cost, as the model's provider counted it.
// Nothing inside the boundary can change it.
type Usage struct {
	// Model is the one that answered.
	Model string `json:"model,omitempty"`
	// Input is without what came from the provider's cache (CacheRead) or was put
	// there (CacheWrite). All are tokens.
	Input      int64 `json:"input"`
	CacheRead  int64 `json:"cache_read,omitempty"`
	CacheWrite int64 `json:"cache_write,omitempty"`
	Output     int64 `json:"output"`
	// Searches and Fetches are those that the provider made for the answer.
	Searches int64 `json:"searches,omitempty"`
	Fetches  int64 `json:"fetches,omitempty"`
	// Partial says that the answer did not come to its end: more may have been
	// charged.
	Partial bool `json:"partial,omitempty"`
}

const (
	// maxEvent bounds the one line of a stream that is kept to be read. The two kinds
	// of event that hold a usage have less than 2 KB.
	maxEvent = 64 << 10
	// maxWhole bounds an answer that does not stream.
	maxWhole = 4 << 20
	// maxTokens is more than any answer has; a larger number is none.
	maxTokens = 1 << 40
)

// tally reads the usage out of an answer while it passes. It sees each piece before
// the agent does, so that what an answer cost is known before the agent can end its
// turn with it. It changes nothing, holds nothing up, and a form that it does not
// know tells it nothing.
type tally struct {
	stream bool // server-sent events (the HTML standard, section 9.2), else one JSON value
	kept   []byte
	// skip says that the line under way is not kept: no interest, or too long.
	skip bool
	// event is the kind of the event under way, where it is of interest.
	event string
	done  bool
	usage *Usage
}

// newTally makes the one for an answer, nil for one that has no usage or cannot
// be read.
func newTally(status int, contentType, encoding string) *tally {
	if status != 200 || encoding != "" && encoding != "identity" {
		return nil
	}
	kind, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "text/event-stream":
		return &tally{stream: true}
	case "application/json":
		return &tally{}
	}
	return nil
}

// see is given the next piece, and says whether the usage is complete by it. last
// says that no more comes.
func (m *tally) see(piece []byte, last bool) bool {
	if m == nil || m.done {
		return false
	}
	if !m.stream {
		m.whole(piece, last)
		return m.done
	}
	for len(piece) > 0 && !m.done {
		end := bytes.IndexByte(piece, '\n')
		if end < 0 {
			m.keep(piece)
			break
		}
		m.keep(piece[:end])
		m.line()
		piece = piece[end+1:]
	}
	return m.done
}

// keep adds to the line under way, if it may be of interest: of most lines not a
// byte is copied.
func (m *tally) keep(b []byte) {
	if m.skip || len(b) == 0 {
		return
	}
	if len(m.kept) == 0 && (b[0] == 'd' && m.event == "" || b[0] != 'd' && b[0] != 'e') || len(m.kept)+len(b) > maxEvent {
		m.skip, m.kept = true, m.kept[:0]
		return
	}
	m.kept = append(m.kept, b...)
}

// line takes a line that is complete.
func (m *tally) line() {
	line := bytes.TrimSuffix(m.kept, []byte("\r"))
	if name, ok := bytes.CutPrefix(line, []byte("event:")); ok {
		m.event = ""
		for _, kind := range []string{"message_start", "message_delta", "message_stop"} {
			if string(bytes.TrimSpace(name)) == kind {
				m.event = kind
			}
		}
	} else if data, ok := bytes.CutPrefix(line, []byte("data:")); ok && m.event != "" {
		m.take(m.event, data)
		m.event = ""
	}
	m.kept, m.skip = m.kept[:0], false
}

// counts is the usage as the Messages API writes it. What is missing is not known
// yet, so that a later event adds to an earlier one.
type counts struct {
	Input      *int64 `json:"input_tokens"`
	CacheRead  *int64 `json:"cache_read_input_tokens"`
	CacheWrite *int64 `json:"cache_creation_input_tokens"`
	Output     *int64 `json:"output_tokens"`
	Server     struct {
		Searches *int64 `json:"web_search_requests"`
		Fetches  *int64 `json:"web_fetch_requests"`
	} `json:"server_tool_use"`
}

// take reads one event. Those of message_delta hold the sums so far.
func (m *tally) take(kind string, data []byte) {
	var e struct {
		Message struct {
			Model string `json:"model"`
			Usage counts `json:"usage"`
		} `json:"message"`
		Usage counts `json:"usage"`
	}
	if kind == "message_stop" {
		m.done = m.usage != nil
		if m.done {
			m.usage.Partial = false
		}
		return
	}
	if json.Unmarshal(data, &e) != nil {
		return
	}
	if m.usage == nil {
		m.usage = &Usage{Partial: true}
	}
	if kind == "message_start" {
		m.usage.Model = clean(e.Message.Model)
		m.usage.add(e.Message.Usage)
		return
	}
	m.usage.add(e.Usage)
}

func (u *Usage) add(c counts) {
	for _, f := range []struct {
		to   *int64
		from *int64
	}{
		{&u.Input, c.Input}, {&u.CacheRead, c.CacheRead}, {&u.CacheWrite, c.CacheWrite}, {&u.Output, c.Output},
		{&u.Searches, c.Server.Searches}, {&u.Fetches, c.Server.Fetches},
	} {
		if f.from != nil && *f.from >= 0 && *f.from <= maxTokens {
			*f.to = *f.from
		}
	}
}

// whole takes a piece of an answer that does not stream.
func (m *tally) whole(piece []byte, last bool) {
	if m.skip || len(m.kept)+len(piece) > maxWhole {
		m.skip, m.kept = true, nil
		return
	}
	m.kept = append(m.kept, piece...)
	if !last {
		return
	}
	var e struct {
		Type  string `json:"type"`
		Model string `json:"model"`
		Usage counts `json:"usage"`
	}
	if json.Unmarshal(m.kept, &e) == nil && e.Type == "message" {
		m.usage = &Usage{Model: clean(e.Model)}
		m.usage.add(e.Usage)
		m.done = true
	}
	m.kept = nil
}

// result is what is known of the usage when the answer is over, nil for nothing.
func (m *tally) result() *Usage {
	if m == nil {
		return nil
	}
	return m.usage
}
