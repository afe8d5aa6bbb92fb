package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/schedule"
	"nanoclaw/internal/task"
)

// Fire is task.Store's. Nothing of a task that was changed since it was read is run.
func (s *Store) Fire(ctx context.Context, f task.Firing) (task.Fired, error) {
	var out task.Fired
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		out = task.Fired{}
		now, err := taskRow(ctx, t, f.Task.ID)
		if errors.Is(err, ErrNotFound) {
			out.Stale = true
			return nil
		}
		if err != nil {
			return err
		}
		if !f.Manual && (now.Rev != f.Task.Rev || now.State != task.Active) {
			out.Stale = true
			return nil
		}
		if err := settleLost(ctx, t, &now, f.Now); err != nil {
			return err
		}
		return s.fire(ctx, t, f, now, &out)
	})
	if err != nil {
		return task.Fired{}, fmt.Errorf("take up task %s: %w", f.Task.ID, err)
	}
	return out, nil
}

func (s *Store) fire(ctx context.Context, t *tx, f task.Firing, c task.Task, out *task.Fired) error {
	var open int
	if err := t.row(ctx, []any{&open}, `SELECT count(*) FROM task_runs WHERE task = ? AND state = 'open'`, c.ID); err != nil {
		return err
	}
	for _, due := range f.Run {
		why, err := s.hinders(ctx, t, f, c, open)
		if err != nil {
			return err
		}
		var row int64
		if why == "" {
			if row, why, err = putDue(ctx, t, c, due, f.Now); err != nil {
				return err
			}
		}
		state := openRun
		if row == 0 {
			state = skippedRun
			out.Skipped = append(out.Skipped, due.Format(time.RFC3339)+": "+why)
			c.Skipped++
		} else {
			open++
			c.Runs++
			out.Started = append(out.Started, due)
		}
		if err := noteDue(ctx, t, c.ID, due, row, state, why); err != nil {
			return err
		}
		c.Last = due
	}
	if f.Skipped > 0 {
		c.Skipped += f.Skipped
		out.Skipped = append(out.Skipped, fmt.Sprintf("%d earlier ones that were missed", f.Skipped))
	}
	if c.State == task.Active && !f.Manual {
		if c.Next = f.Next; f.Next.IsZero() {
			c.State = task.Done
		}
	}
	if err := pruneRuns(ctx, t, c.ID); err != nil {
		return err
	}
	if err := putTask(ctx, t, c); err != nil {
		return err
	}
	return addEntry(ctx, t, audit.Entry{At: f.Now, Kind: audit.TaskDue, Group: c.Group, Data: audit.TaskDueData{
		Task: c.ID, Run: out.Started, Skipped: out.Skipped, Next: c.Next, Manual: f.Manual,
	}})
}

// hinders says why a due time is left out, "" if it is not.
func (s *Store) hinders(ctx context.Context, t *tx, f task.Firing, c task.Task, open int) (string, error) {
	switch {
	case open > 0 && c.Overlap != schedule.OverlapQueue:
		return "an earlier one waits or runs", nil
	case open >= schedule.MaxAll:
		return fmt.Sprintf("%d earlier ones wait already", open), nil
	case f.Queued <= 0:
		return "", nil
	}
	var n int
	if err := t.row(ctx, []any{&n}, `SELECT count(*) FROM inbox WHERE state = 'waiting' AND grp = ?`, c.Group); err != nil || n < f.Queued {
		return "", err
	}
	return fmt.Sprintf("the queue of %s is full: %d messages wait already", c.Group, n), nil
}

// putDue makes the message of a due time, as router.Store's Accept does of others.
// row is 0 if there was one already.
func putDue(ctx context.Context, t *tx, c task.Task, due, now time.Time) (row int64, why string, err error) {
	in := c.Inbound(due)
	body, err := json.Marshal(in)
	if err != nil {
		return 0, "", err
	}
	reason := "task " + string(c.ID) + " is due"
	err = t.row(ctx, []any{&row}, `INSERT INTO inbox (channel, chat, message, grp, state, trigger, reason, body, at, due, hold)
		VALUES (?, ?, ?, ?, 'waiting', 1, ?, ?, ?, 0, '') ON CONFLICT DO NOTHING RETURNING id`,
		in.From.Channel, in.From.Chat, in.ID, c.Group, reason, string(body), now.UnixNano())
	if errors.Is(err, sql.ErrNoRows) {
		return 0, "it was run already", nil
	}
	if err != nil {
		return 0, "", err
	}
	return row, "", addEntry(ctx, t, audit.Entry{At: now, Kind: audit.Inbound, Group: c.Group, Data: audit.InboundData{
		From: in.From, ID: in.ID, Row: row, Sender: in.Sender, Text: in.Text, Verdict: string(router.Run), Reason: reason,
	}})
}

// noteDue remembers a due time. What is known of it already stays.
func noteDue(ctx context.Context, t *tx, id chat.TaskID, due time.Time, row int64, state, note string) error {
	_, err := t.exec(ctx, `INSERT INTO task_runs (task, due, row, state, note) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		id, due.UnixNano(), row, state, note)
	return err
}

// pruneRuns forgets the oldest due times of a task that are over.
func pruneRuns(ctx context.Context, t *tx, id chat.TaskID) error {
	_, err := t.exec(ctx, `DELETE FROM task_runs WHERE state <> 'open' AND id IN
		(SELECT id FROM task_runs WHERE task = ? ORDER BY due DESC LIMIT ? OFFSET ?)`, id, math.MaxInt64, task.KeepRuns)
	return err
}

// settleLost ends the due times of a task whose message came to an end in no run: it
// was given up after crashes, or refused while it waited.
func settleLost(ctx context.Context, t *tx, c *task.Task, now time.Time) error {
	res, err := t.exec(ctx, `UPDATE task_runs SET state = 'lost', ended = ?, note = 'its message was given up' WHERE task = ? AND state = 'open'
		AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.id = task_runs.row AND i.state IN ('waiting', 'claimed'))`, now.UnixNano(), c.ID)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	c.Failures += int(n)
	return err
}

// settleTask ends the due time that a run was for. A task that fails again and again
// rests, and its chat is told in the same transaction.
func settleTask(ctx context.Context, t *tx, run chat.RunID, o runner.Outcome) error {
	if o.Task == nil || o.State == runner.Interrupted || o.Trouble != nil {
		return nil
	}
	res, err := t.exec(ctx, `UPDATE task_runs SET state = ?, run = ?, note = ?, ended = ? WHERE task = ? AND due = ? AND state = 'open'`,
		o.State, run, firstOf(o.Error, o.Note), o.At.UnixNano(), o.Task.ID, o.Task.Due.UnixNano())
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err // the task was cancelled meanwhile
	}
	c, err := taskRow(ctx, t, o.Task.ID)
	if err != nil {
		return err
	}
	switch o.State {
	case runner.Succeeded:
		c.Failures = 0
	case runner.Failed, runner.Refused:
		c.Failures++
	}
	reason := ""
	switch {
	case o.TaskBroken != "":
		reason = o.TaskBroken
	case c.Failures >= task.MaxFailures:
		reason = fmt.Sprintf("it failed %d times in a row, the last time because: %s", c.Failures, o.Error)
	}
	if reason != "" && (c.State == task.Active || c.State == task.Done) {
		return breakTask(ctx, t, c, reason, c.To, o.At)
	}
	return putTask(ctx, t, c)
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// Break is task.Store's.
func (s *Store) Break(ctx context.Context, of task.Task, reason string, to *chat.Address) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		c, err := taskRow(ctx, t, of.ID)
		if errors.Is(err, ErrNotFound) || err == nil && c.State != task.Active {
			return nil
		}
		if err != nil {
			return err
		}
		if to == nil {
			to = &c.To
		}
		return breakTask(ctx, t, c, reason, *to, s.now())
	})
	if err != nil {
		return fmt.Errorf("let task %s rest: %w", of.ID, err)
	}
	return nil
}

func breakTask(ctx context.Context, t *tx, c task.Task, reason string, to chat.Address, at time.Time) error {
	c.Rest(task.Broken, reason)
	if err := putTask(ctx, t, c); err != nil {
		return err
	}
	_, err := putOutbound(ctx, t, chat.Outbound{
		To: to, Kind: chat.Notice, Group: c.Group, Failed: true, Key: fmt.Sprintf("task:%s:broken:%d", c.ID, at.UnixNano()),
		Text: fmt.Sprintf("Task %s of group %s rests, since %s\nWhen that is mended: nanoclaw task resume %s (or cancel).", c.ID, c.Group, reason, c.ID),
	}, at)
	if err != nil {
		return err
	}
	return addEntry(ctx, t, audit.Entry{At: at, Kind: audit.TaskChanged, Group: c.Group, Data: audit.TaskChangedData{
		Act: "rest", ID: c.ID, Task: c, Reason: reason,
	}})
}
