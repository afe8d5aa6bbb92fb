package web

import (
	"fmt"
	"net/http"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/why"
)

// told is how many entries of a run its page tells; a run rarely has more, and the page
// says so of one that has.
const told = 500

// runBody is a run's story: what was said to it, what happened then, what it said, and
// in short what `nanoclaw why` says of it.
type runBody struct {
	control.RunInfo
	Live    bool
	Said    []control.Words
	Steps   []step
	Replies []control.Words
	Why     string
	// Short says that the run has more entries than are told, the older ones.
	Short bool
}

// step is one of the story, with the entries that it is made of.
type step struct {
	why.Step
	Entries []control.AuditEntry
}

// ID names a step on its page, the same when the page is renewed.
func (s step) ID() string { return fmt.Sprintf("e%d", s.Entries[0].ID) }

func (s *Server) runPage(w http.ResponseWriter, r *http.Request) error {
	var b runBody
	ctx, id := r.Context(), chat.RunID(r.PathValue("run"))
	err := first(
		func() (err error) { b.RunInfo, err = s.host.RunByID(ctx, id); return err },
		func() error {
			entries, err := s.host.AuditList(ctx, control.AuditQuery{Run: id, Limit: told})
			b.Steps, b.Short = story(entries), len(entries) == told
			return err
		},
		func() error {
			talk, err := s.host.Talk(ctx, control.TalkQuery{Group: b.Group, Run: id})
			if len(talk) > 0 {
				b.Said, b.Replies = talk[0].Said, talk[0].Replies
			}
			return err
		},
		func() error {
			why, err := s.host.Why(ctx, control.WhyQuery{Name: string(id)})
			b.Why = why.Text
			return err
		})
	if err != nil {
		return err
	}
	b.Live = b.Ended.IsZero()
	return s.show(w, r, "run", frame{Title: "Run " + string(id), Here: "runs", Live: b.Live, Body: b})
}

// story tells the entries of a run.
func story(entries []control.AuditEntry) (out []step) {
	rows, by := make([]audit.Row, len(entries)), map[int64]control.AuditEntry{}
	for i, e := range entries {
		rows[i] = audit.Row{ID: e.ID, At: e.At, Kind: audit.Kind(e.Kind), Group: e.Group, Run: e.Run, Session: e.Session, Payload: e.Data, Leaf: e.Index}
		by[e.ID] = e
	}
	for _, s := range why.Story(rows) {
		one := step{Step: s}
		for _, id := range s.Entries {
			one.Entries = append(one.Entries, by[id])
		}
		out = append(out, one)
	}
	return out
}

// since writes how long after the beginning of a run something was: +0.4 s.
func since(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("+%.1f s", d.Seconds())
	}
	return "+" + d.Round(time.Second).String()
}
