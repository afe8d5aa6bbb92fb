package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/task"
)

var _ task.Store = (*Store)(nil)

// ErrFull refuses one task more.
var ErrFull = errors.New("there are too many tasks")

// taskColumns are what scanTask reads. What changes as a task runs has a column of
// its own; the body is the rest.
const taskColumns = `id, grp, state, reason, next, last, runs, skipped, failures, rev, body`

func scanTask(rows *sql.Rows) (task.Task, error) {
	var c task.Task
	var next, last sql.NullInt64
	var body string
	err := rows.Scan(&c.ID, &c.Group, &c.State, &c.Reason, &next, &last, &c.Runs, &c.Skipped, &c.Failures, &c.Rev, &body)
	if err != nil {
		return c, err
	}
	out := c
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		return c, fmt.Errorf("%w: task %s cannot be read: %w", ErrCorrupt, c.ID, err)
	}
	out.ID, out.Group, out.State, out.Reason, out.Rev = c.ID, c.Group, c.State, c.Reason, c.Rev
	out.Runs, out.Skipped, out.Failures, out.Next, out.Last = c.Runs, c.Skipped, c.Failures, fromNanos(next), fromNanos(last)
	return out, nil
}

func tasksWhere(ctx context.Context, q querier, where string, args ...any) (out []task.Task, err error) {
	err = each(ctx, q, func(rows *sql.Rows) error {
		t, err := scanTask(rows)
		out = append(out, t)
		return err
	}, `SELECT `+taskColumns+` FROM tasks WHERE `+where, args...)
	return out, err
}

// Tasks lists the tasks of a group, "" for all, in the order in which they were made.
func (r *Reader) Tasks(ctx context.Context, g chat.Group) ([]task.Task, error) {
	all, err := tasksWhere(ctx, r.db, `(? = '' OR grp = ?) ORDER BY row`, g, g)
	if err != nil {
		return nil, fmt.Errorf("list the tasks: %w", explain(r.path, err))
	}
	return all, nil
}

// Task gives one task, or ErrNotFound.
func (r *Reader) Task(ctx context.Context, id chat.TaskID) (task.Task, error) {
	t, err := taskRow(ctx, r.db, id)
	if err != nil {
		return t, fmt.Errorf("task %s: %w", id, explain(r.path, err))
	}
	return t, nil
}

func taskRow(ctx context.Context, q querier, id chat.TaskID) (task.Task, error) {
	all, err := tasksWhere(ctx, q, `id = ?`, id)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return task.Task{}, err
	}
	return all[0], nil
}

const dueTasksWhere = `state = 'active' AND next > 0 AND next <= ? ORDER BY next, row`

// DueTasks is task.Store's.
func (s *Store) DueTasks(ctx context.Context, now time.Time) ([]task.Task, error) {
	all, err := tasksWhere(ctx, s.Reader.db, dueTasksWhere, now.UnixNano())
	if err != nil {
		return nil, fmt.Errorf("list the tasks that are due: %w", explain(s.path, err))
	}
	return all, nil
}

// nextTaskQuery has a cast for the reason that inOrder gives.
const nextTaskQuery = `SELECT min(next) FROM tasks WHERE state = 'active' AND next > CAST(? AS bigint)`

// NextTask is task.Store's.
func (s *Store) NextTask(ctx context.Context, after time.Time) (time.Time, error) {
	var next sql.NullInt64
	if err := s.Reader.db.QueryRowContext(ctx, nextTaskQuery, max(after.UnixNano(), 0)).Scan(&next); err != nil {
		return time.Time{}, fmt.Errorf("find the next task: %w", explain(s.path, err))
	}
	return fromNanos(next), nil
}

// AddTask keeps a new task, unless its group has most already: then it is ErrFull. A
// task of the same id is kept once, so that a call that is made again changes nothing.
func (s *Store) AddTask(ctx context.Context, add task.Task, most int, e audit.Entry) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := taskRow(ctx, t, add.ID); !errors.Is(err, ErrNotFound) {
			return err
		}
		var n int
		if err := t.row(ctx, []any{&n}, `SELECT count(*) FROM tasks WHERE grp = ? AND state <> 'done'`, add.Group); err != nil {
			return err
		}
		if n >= most {
			return fmt.Errorf("%w: group %s has %d already (limits.tasks)", ErrFull, add.Group, n)
		}
		if _, err := t.exec(ctx, `INSERT INTO tasks (id, grp, state, body) VALUES (?, ?, 'active', '{}')`, add.ID, add.Group); err != nil {
			return err
		}
		if err := putTask(ctx, t, add); err != nil {
			return err
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return fmt.Errorf("keep a task: %w", err)
	}
	return nil
}

// putTask writes all of a task.
func putTask(ctx context.Context, t *tx, c task.Task) error {
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `UPDATE tasks SET state = ?, reason = ?, next = ?, last = ?, runs = ?, skipped = ?, failures = ?, rev = rev + 1, body = ? WHERE id = ?`,
		c.State, c.Reason, nanos(c.Next), nanos(c.Last), c.Runs, c.Skipped, c.Failures, string(body), c.ID)
	return err
}

// ChangeTask has a task changed by do, which sees no I/O and gives the entry for the
// log. What do answers with an error changes nothing.
func (s *Store) ChangeTask(ctx context.Context, id chat.TaskID, do func(*task.Task) (audit.Entry, error)) (task.Task, error) {
	var out task.Task
	err := s.write(ctx, func(ctx context.Context, t *tx) (err error) {
		if out, err = taskRow(ctx, t, id); err != nil {
			return err
		}
		e, err := do(&out)
		if err != nil {
			return err
		}
		if err := putTask(ctx, t, out); err != nil {
			return err
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return task.Task{}, fmt.Errorf("task %s: %w", id, err)
	}
	return out, nil
}

// DropTask forgets a task and its past. What of it waits is not run, and run is the
// one that goes on, "" for none.
func (s *Store) DropTask(ctx context.Context, id chat.TaskID, e audit.Entry) (run chat.RunID, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		run = ""
		if _, err := taskRow(ctx, t, id); err != nil {
			return err
		}
		for _, q := range []string{
			`UPDATE inbox SET state = 'ignored', due = 0, reason = 'its task was cancelled' WHERE state = 'waiting'
				AND id IN (SELECT row FROM task_runs WHERE task = ? AND state = 'open')`,
			`DELETE FROM tasks WHERE id = ?`,
		} {
			if _, err := t.exec(ctx, q, id); err != nil {
				return err
			}
		}
		err := t.row(ctx, []any{&run}, `SELECT run FROM inbox WHERE state = 'claimed' AND id IN (SELECT row FROM task_runs WHERE task = ? AND state = 'open')`, id)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM task_runs WHERE task = ?`, id); err != nil {
			return err
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return "", fmt.Errorf("cancel task %s: %w", id, err)
	}
	return run, nil
}

// TaskRuns gives what became of a task's due times, the youngest first.
func (r *Reader) TaskRuns(ctx context.Context, id chat.TaskID, most int) ([]task.Run, error) {
	var out []task.Run
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		var one task.Run
		var due, ended sql.NullInt64
		var state string
		if err := rows.Scan(&due, &one.State, &state, &one.Run, &one.Note, &ended); err != nil {
			return err
		}
		one.Due, one.Ended = fromNanos(due), fromNanos(ended)
		if one.State == openRun {
			one.State = openState(state)
		}
		out = append(out, one)
		return nil
	}, `SELECT t.due, t.state, coalesce(i.state, ''), CASE t.state WHEN 'open' THEN coalesce(i.run, '') ELSE t.run END, t.note, t.ended
		FROM task_runs t LEFT JOIN inbox i ON i.id = t.row AND t.row > 0 WHERE t.task = ? ORDER BY t.due DESC LIMIT ?`, id, most)
	if err != nil {
		return nil, fmt.Errorf("list the runs of task %s: %w", id, explain(r.path, err))
	}
	return out, nil
}

// The states of a due time beside those of runs.
const (
	openRun    = "open"
	skippedRun = "skipped"
	lostRun    = "lost" // its message came to an end without a run that ended
)

// openState is what an open due time is, given the state of its message.
func openState(inbox string) string {
	switch inbox {
	case "waiting":
		return "waiting"
	case "claimed":
		return "running"
	}
	return lostRun
}

// eraseTasks forgets the tasks that were made for a person, whose words are in them,
// and gives the entries of the log that hold them.
func eraseTasks(ctx context.Context, t *tx, e Erasure) ([]int64, error) {
	const whose = `json_extract(body, '$.by.channel') = ? AND json_extract(body, '$.by.sender.id') = ? AND (? = '' OR grp = ?)`
	ids, err := collect(ctx, t, `SELECT id FROM audit WHERE kind = 'task.changed' AND payload IS NOT NULL AND (? = '' OR grp = ?)
		AND json_extract(payload, '$.task.by.channel') = ? AND json_extract(payload, '$.task.by.sender.id') = ?`, e.Group, e.Group, e.Channel, e.Sender)
	if err != nil {
		return nil, err
	}
	for _, q := range []string{
		`DELETE FROM task_runs WHERE task IN (SELECT id FROM tasks WHERE ` + whose + `)`,
		`DELETE FROM tasks WHERE ` + whose,
	} {
		if _, err := t.exec(ctx, q, e.Channel, e.Sender, e.Group, e.Group); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
