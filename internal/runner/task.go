package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/wire"
)

// Bounds of a task's script.
const (
	scriptTime   = 30 * time.Second
	scriptOutput = 1 << 20 // bytes of its output that are read
	scriptData   = 32 << 10
	scriptKept   = 4 << 10 // bytes that the audit keeps
)

// answer is what a script says: the last line of its output that is not empty.
type answer struct {
	WakeAgent *bool           `json:"wakeAgent"`
	Data      json.RawMessage `json:"data"`
}

// asleep runs the script of the job's task, if it has one, and says whether the agent
// is not to be woken. The script is an agent's doing or the owner's, so it runs where
// the agent does: in the session's boundary, after the run and its grant are written
// down. Its output is as little trusted as the agent's.
func (r *Runner) asleep(ctx context.Context, job *queue.Job, s *session) (bool, error) {
	ref := job.Last().Task
	if ref == nil || ref.Script == "" {
		return false, nil
	}
	began := time.Now()
	d := audit.TaskCheckedData{Task: ref.ID, Exit: -1}
	out, exit, err := r.script(ctx, s, ref.Script)
	var said answer
	if d.Exit = exit; err == nil {
		said, err = parseAnswer(out)
	}
	d.Wake = err == nil && *said.WakeAgent
	d.Ms, d.Output = time.Since(began).Milliseconds(), r.Mask.Text(cutText(string(out), scriptKept))
	if err != nil {
		d.Error = err.Error()
	}
	if err := r.Store.Record(context.WithoutCancel(ctx), audit.Entry{
		At: time.Now(), Kind: audit.TaskChecked, Group: job.Group, Run: job.Run, Session: s.id, Data: d,
	}); err != nil {
		return true, err
	}
	if d.Wake {
		job.Messages = withData(job.Messages, said.Data)
	}
	return !d.Wake, err
}

// script runs a script inside and gives what it wrote.
func (r *Runner) script(ctx context.Context, s *session, text string) (out []byte, exit int, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, scriptTime, errScriptTime)
	defer cancel()
	p, err := s.box.Exec(limited, wire.Exec{Argv: []string{"/bin/bash", "-c", text}, Env: environ(s.grant), Dir: grant.Workspace, Stdio: wire.Pipes})
	if err != nil {
		return nil, -1, fmt.Errorf("the task's script could not be started: %w", err)
	}
	p.Stdin.Close()
	kept, more := &head{most: scriptOutput}, &head{most: scriptKept}
	read := make(chan struct{})
	go func() {
		defer close(read)
		var both sync.WaitGroup
		both.Go(func() { io.Copy(kept, p.Stdout) })
		both.Go(func() { io.Copy(more, p.Stderr) })
		both.Wait()
	}()
	ended, err := p.Wait(limited)
	if err == nil { // what it left running in the background may still write
		select {
		case <-read:
		case <-limited.Done():
			err = limited.Err()
		}
	}
	if err != nil { // the session ends with this run, and all that runs in it
		if errors.Is(context.Cause(limited), errScriptTime) {
			err = errScriptTime
		}
		return nil, -1, err
	}
	switch {
	case ended.Code != 0 || ended.Signal != 0:
		return kept.Bytes(), ended.Code, fmt.Errorf("the task's script ended with status %d: %s", ended.Code, cutText(strings.TrimSpace(more.String()), 300))
	case kept.cut:
		return kept.Bytes(), ended.Code, fmt.Errorf("the task's script wrote more than %d bytes", scriptOutput)
	}
	return kept.Bytes(), ended.Code, nil
}

var errScriptTime = fmt.Errorf("the task's script took longer than %v and was ended", scriptTime)

// parseAnswer reads what a script said.
func parseAnswer(out []byte) (a answer, err error) {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	last := bytes.TrimSpace(lines[len(lines)-1])
	if err := json.Unmarshal(last, &a); err != nil || a.WakeAgent == nil {
		return a, errors.New(`the task's script did not say whether to wake the agent: its last line has to be such as {"wakeAgent": true, "data": …}`)
	}
	if len(a.Data) > scriptData {
		return a, fmt.Errorf("the data of the task's script are more than %d bytes: leave them in a file of the workspace", scriptData)
	}
	return a, nil
}

// withData puts what a script said before the prompt of its task.
func withData(msgs []queue.Message, data json.RawMessage) []queue.Message {
	if len(data) == 0 || string(data) == "null" {
		return msgs
	}
	out := append([]queue.Message(nil), msgs...)
	last := &out[len(out)-1]
	last.Text = "Script output:\n" + string(data) + "\n\nInstructions:\n" + last.Text
	return out
}

// head keeps the first bytes that are written to it.
type head struct {
	bytes.Buffer
	most int
	cut  bool
}

func (h *head) Write(p []byte) (int, error) {
	if room := h.most - h.Len(); len(p) > room {
		h.Buffer.Write(p[:room])
		h.cut = true
		return len(p), nil
	}
	return h.Buffer.Write(p)
}

func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// taskNote tells the agent what stands before it, in the host's words.
func taskNote(ref *chat.TaskRef, zone *time.Location) string {
	if zone == nil {
		zone = time.UTC
	}
	text := fmt.Sprintf("The next message is no person's: it is scheduled task %s, due at %s. Nobody waits for it. What you answer goes to the chat; answer nothing if there is nothing to tell.",
		ref.ID, ref.Due.In(zone).Format(time.RFC3339))
	if ref.Context == chat.IsolatedContext {
		text += " You have no conversation to look back at."
	}
	return agent.FormatNote(text)
}

// notWoken says in an outcome that the script of a task woke nobody: a conversation
// that was to begin with it did not.
func (o *Outcome) notWoken(s *session) {
	o.Note = "its script woke nobody"
	o.ForgetSession = o.ForgetSession || s.conv == nil && !s.resume && !s.talk.Isolated
}

// lasting are the refusals that the next due time would get too.
var lasting = map[string]bool{"hostmode.task": true, "group.unknown": true}

// breaks says why a task cannot go on after a refusal, "" if it can.
func breaks(job queue.Job, no *grant.Refusal) string {
	if job.Last().Task == nil || !lasting[no.Rule] {
		return ""
	}
	return no.Error()
}

// ofOwner says on whose account a message is: what an agent scheduled for the owner is
// the owner's, though it has no right of theirs.
func ofOwner(m queue.Message) bool { return m.Sender.Owner || m.Task != nil && m.Task.OfOwner }
