package why

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"nanoclaw/internal/audit"
)

// Step is one thing that happened in a run, for whoever reads it as a story. It is made
// of the audit entries that tell of it: several where the same happened again and again.
type Step struct {
	// At is when it began, After how long that was after the first step.
	At    time.Time
	After time.Duration
	Kind  audit.Kind
	// Text tells it in one line. What an agent chose is in it.
	Text string
	// Bad says that something was refused, failed or was found.
	Bad bool
	// Times is how often it happened, 1 and more.
	Times int
	// Entries are the ids of its entries, in their order.
	Entries []int64
}

// Story tells the entries of a run step by step, in their order. An entry that says the
// same as the one before is one step with it. A connection is one step from its
// beginning to its end, and one with the connection before it to the same place. The
// parts of a long entry are with that entry.
func Story(rows []audit.Row) []Step {
	t := teller{open: map[string]*told{}}
	var parts []int64
	for _, r := range rows {
		if parts = append(parts, r.ID); r.Kind != audit.Part {
			t.take(r, parts)
			parts = nil
		}
	}
	out := make([]Step, len(t.steps))
	for i, s := range t.steps {
		s.After = max(0, s.At.Sub(t.steps[0].At)) // a clock may have been set back
		if s.place != "" {
			s.Text = s.connection()
		}
		out[i] = s.Step
	}
	return out
}

// teller makes steps of entries.
type teller struct {
	steps []*told
	open  map[string]*told // connections by session and id
}

// told is a step that is being made. Place is set of those that went out.
type told struct {
	Step
	place, verdict  string
	up, down        int64 // bytes
	asked, answered int64 // tokens
}

func (t *teller) take(r audit.Row, entries []int64) {
	s := &told{Step: Step{At: r.At, Kind: r.Kind, Times: 1, Entries: entries, Text: audit.Describe(r.Kind, r.Payload), Bad: bad(r)}}
	if r.Kind == audit.EgressTried && t.connection(r, s) {
		return
	}
	if last := t.last(); last != nil && last.Kind == s.Kind && last.Text == s.Text && last.place == s.place && last.verdict == s.verdict {
		last.again(s)
		return
	}
	t.steps = append(t.steps, s)
}

func (t *teller) last() *told {
	if len(t.steps) == 0 {
		return nil
	}
	return t.steps[len(t.steps)-1]
}

// again takes one more of the same into a step.
func (s *told) again(o *told) {
	s.Times++
	s.more(o)
}

// more takes what else is known of it.
func (s *told) more(o *told) {
	s.Entries = append(s.Entries, o.Entries...)
	s.up, s.down, s.asked, s.answered = s.up+o.up, s.down+o.down, s.asked+o.asked, s.answered+o.answered
}

// connection reads an entry about the way out into s, and reports whether it was the end
// of a step that is there.
func (t *teller) connection(r audit.Row, s *told) bool {
	var d struct {
		tried
		ID    uint64 `json:"id"`
		Usage *struct {
			Input  int64 `json:"input"`
			Read   int64 `json:"cache_read"`
			Write  int64 `json:"cache_write"`
			Output int64 `json:"output"`
		} `json:"usage"`
	}
	if json.Unmarshal(r.Payload, &d) != nil {
		return false
	}
	s.place, s.verdict, s.up, s.down = clip(d.name()), d.Verdict, d.Up, d.Down
	if s.Bad {
		s.verdict += because(clip(d.Reason))
	}
	if u := d.Usage; u != nil {
		s.asked, s.answered = u.Input+u.Read+u.Write, u.Output
	}
	s.Text = "" // made of all of them at the end
	key := fmt.Sprint(r.Session, " ", d.ID)
	began := t.open[key]
	if d.Phase == "open" {
		if last := t.last(); last != nil && last.place == s.place && last.verdict == s.verdict {
			last.again(s)
			t.open[key] = last
			return true
		}
		t.open[key] = s
		return false
	}
	delete(t.open, key)
	if began == nil || began.verdict != s.verdict { // it went wrong on its way: that is news
		return false
	}
	began.more(s)
	return true
}

// connection tells what went out.
func (s *told) connection() string {
	text := "connection to " + s.place + ": " + s.verdict
	if s.asked+s.answered > 0 {
		text += fmt.Sprintf(", %d tokens in and %d out", s.asked, s.answered)
	} else if s.up+s.down > 0 {
		text += fmt.Sprintf(", %d bytes up and %d down", s.up, s.down)
	}
	return text
}

// bad says whether an entry is bad news.
func bad(r audit.Row) bool {
	var d struct {
		Verdict string `json:"verdict"`
		State   string `json:"state"`
	}
	if json.Unmarshal(r.Payload, &d) != nil {
		return false
	}
	switch r.Kind {
	case audit.EgressTried, audit.ToolCalled, audit.HostToolCalled, audit.MCPCalled:
		return cmp.Or(d.Verdict, "allowed") != "allowed"
	case audit.RunEnded:
		return d.State != "succeeded"
	}
	return slices.Contains(badNews, r.Kind)
}

// badNews are the kinds of entries that nobody wants to see in a run. Read-only.
var badNews = []audit.Kind{
	audit.RunRefused, audit.GivenUp, audit.WireFailed, audit.Trouble, audit.AgentUnasked, audit.DelayedOdd, audit.DelayedFound,
}
