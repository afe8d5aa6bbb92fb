package runner

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/runlog"
)

// logBegan tells the run's log what was started.
func (r *Runner) logBegan(job queue.Job, s *session, l *live, t grant.Trigger, warm bool) {
	if r.RunLog == nil {
		return
	}
	g, last := s.grant, job.Last()
	h := &runlog.Header{
		Run: job.Run, Group: job.Group, Mode: string(g.Mode), Reason: g.ModeReason, Agent: g.Agent,
		Trigger: fmt.Sprintf("%s in %s from %s, row %d", cmp.Or(t.Task, t.Kind), last.From, last.Sender.ID, last.Row),
		Engine:  s.box.Engine(), Layers: s.box.Layers(), Missing: s.box.Missing(), InitPID: s.box.PID(), Container: s.box.Container(),
		Mounts: mountLines(g), Session: s.id, Warm: warm, Started: time.Now(),
	}
	for _, v := range g.Env {
		h.Env = append(h.Env, v.Name)
	}
	r.mu.Lock()
	l.log = h
	r.mu.Unlock()
	r.RunLog(*h, g)
}

// mountLines are the folders of a session, without the parts that are held in them.
func mountLines(g grant.Grant) (out []string) {
	held := 0
	for _, m := range g.Mounts {
		if m.Held {
			held++
			continue
		}
		access := "ro"
		if m.Write {
			access = "rw"
		}
		out = append(out, fmt.Sprintf("%s %s = %s", access, m.Target, m.Source))
	}
	if held > 0 {
		out = append(out, fmt.Sprintf("and %d parts of them that are held", held))
	}
	return out
}

// logEnded tells it how the run ended. state is what became of it, where that is no
// end.
func (r *Runner) logEnded(job queue.Job, s *session, res agent.Result, o Outcome, state string) {
	r.mu.Lock()
	l := r.live[job.Run]
	var h *runlog.Header
	if l != nil {
		h = l.log
	}
	r.mu.Unlock()
	if h == nil {
		return
	}
	end := *h
	end.Ended, end.Exit, end.Error = o.At, cmp.Or(state, string(o.State)), r.Mask.Text(o.Error)
	if end.Ended.IsZero() {
		end.Ended = time.Now()
	}
	end.Truncated, end.ToolCalls = res.Truncated, res.ToolCalls
	if r.LogContent {
		var asked []string
		for _, m := range l.whole(job).Messages {
			asked = append(asked, name(m.Sender)+": "+m.Text)
		}
		end.Prompt, end.Answer = r.Mask.Text(r.hidden(strings.Join(asked, "\n"))), r.Mask.Text(res.Text)
	}
	r.RunLog(end, s.grant)
}
