package store

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/outbox"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/runner"
)

// RunInfo is a run as the commands show it.
type RunInfo struct {
	// Row is the cursor: it grows with each run.
	Row          int64          `json:"row"`
	ID           chat.RunID     `json:"id"`
	Group        chat.Group     `json:"group"`
	State        runner.State   `json:"state"`
	Mode         string         `json:"mode,omitempty"`
	Agent        string         `json:"agent,omitempty"`
	Session      chat.SessionID `json:"session,omitempty"`
	Queued       time.Time      `json:"queued"`
	Started      time.Time      `json:"started,omitzero"`
	Ended        time.Time      `json:"ended,omitzero"`
	Error        string         `json:"error,omitempty"`
	CostUSD      float64        `json:"costUsd,omitempty"`
	InputTokens  int64          `json:"inputTokens,omitempty"`
	OutputTokens int64          `json:"outputTokens,omitempty"`
	ToolCalls    int            `json:"toolCalls,omitempty"`
	// Owner is the process that holds it, or did at its end, Fence how manieth claim
	// of the group it is, and Beat when the owner was heard of last.
	Owner string    `json:"owner,omitempty"`
	Fence int64     `json:"fence,omitempty"`
	Beat  time.Time `json:"beat,omitzero"`
}

const runColumns = `row, id, grp, state, mode, agent, session, queued, started, ended, error, cost, tokens_in, tokens_out, tool_calls, owner, fence, beat`

func scanRun(rows *sql.Rows) (RunInfo, error) {
	var r RunInfo
	var queued, started, ended, beat sql.NullInt64
	err := rows.Scan(&r.Row, &r.ID, &r.Group, &r.State, &r.Mode, &r.Agent, &r.Session, &queued, &started, &ended,
		&r.Error, &r.CostUSD, &r.InputTokens, &r.OutputTokens, &r.ToolCalls, &r.Owner, &r.Fence, &beat)
	r.Queued, r.Started, r.Ended, r.Beat = fromNanos(queued), fromNanos(started), fromNanos(ended), fromNanos(beat)
	return r, err
}

// RunFilter chooses runs.
type RunFilter struct {
	Group chat.Group // empty: all
	Live  bool       // only those that have not ended
	// Before asks for runs older than this row; 0 begins at the newest.
	Before int64
	// Limit bounds the answer; 0 means 100.
	Limit int
}

// ListRuns lists runs, newest first.
func (r *Reader) ListRuns(ctx context.Context, f RunFilter) ([]RunInfo, error) {
	query, order, args := `SELECT `+runColumns+` FROM runs WHERE 1 = 1`, `row`, []any{}
	if f.Group != "" {
		query, args = query+` AND grp = ?`, append(args, f.Group)
	}
	if f.Live {
		query, order = query+` AND `+liveStates, `+row` // see liveRunsQuery
	}
	if f.Before > 0 {
		query, args = query+` AND row < ?`, append(args, f.Before)
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	var runs []RunInfo
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		info, err := scanRun(rows)
		runs = append(runs, info)
		return err
	}, query+` ORDER BY `+order+` DESC LIMIT ?`, append(args, f.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", explain(r.path, err))
	}
	return runs, nil
}

// Run gives one run, or ErrNotFound.
func (r *Reader) Run(ctx context.Context, id chat.RunID) (RunInfo, error) {
	info, err := runRow(ctx, r.db, id)
	if err != nil {
		return info, fmt.Errorf("run %s: %w", id, explain(r.path, err))
	}
	return info, nil
}

// RunMessages gives the messages that a run consumed, oldest first.
func (r *Reader) RunMessages(ctx context.Context, id chat.RunID) ([]queue.Message, error) {
	var msgs []queue.Message
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		m, err := scanMessage(rows)
		msgs = append(msgs, m)
		return err
	}, `SELECT `+messageColumns+` FROM inbox WHERE run = ? ORDER BY id`, id)
	if err != nil {
		return nil, fmt.Errorf("read the messages of run %s: %w", id, explain(r.path, err))
	}
	return msgs, nil
}

// Sent is a message that went out, or waits to.
type Sent struct {
	outbox.Pending
	State string
	Cause string
}

// RunReplies gives what a run said, oldest first.
func (r *Reader) RunReplies(ctx context.Context, id chat.RunID) ([]Sent, error) {
	var out []Sent
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		var s Sent
		p, err := scanOutbound(rows, &s.State, &s.Cause)
		s.Pending = p
		out = append(out, s)
		return err
	}, `SELECT `+outboundColumns+`, state, cause FROM outbox WHERE run <> '' AND run = ? ORDER BY id`, id)
	if err != nil {
		return nil, fmt.Errorf("read the replies of run %s: %w", id, explain(r.path, err))
	}
	return out, nil
}

// Status counts what is open.
type Status struct {
	Waiting  int       `json:"waiting"` // messages that will start a run
	Context  int       `json:"context"` // messages kept for the next run
	Claimed  int       `json:"claimed"` // messages a live run works on
	Dead     int       `json:"dead"`    // messages given up
	Live     []RunInfo `json:"live"`
	Pending  int       `json:"pending"` // replies to deliver
	Held     int       `json:"held"`    // of these, with nobody connected
	GivenUp  int       `json:"givenUp"` // replies that could not be delivered
	Entries  int64     `json:"auditEntries"`
	Unsigned int64     `json:"auditUnsequenced"`
}

// Status reads the counts. It looks at open rows alone, not at history.
func (r *Reader) Status(ctx context.Context) (Status, error) {
	var s Status
	err := r.db.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM inbox WHERE state = 'waiting'),
		(SELECT count(*) FROM inbox WHERE state = 'context'),
		(SELECT count(*) FROM inbox WHERE state = 'claimed'),
		(SELECT count(*) FROM inbox WHERE state = 'dead'),
		(SELECT count(*) FROM outbox WHERE state = 'pending' OR state = 'sending'),
		(SELECT count(*) FROM outbox WHERE state = 'pending' AND held = 1),
		(SELECT count(*) FROM outbox WHERE state = 'given_up'),
		coalesce((SELECT size FROM audit_head), 0),
		(SELECT count(*) FROM audit WHERE id > coalesce((SELECT last FROM audit_head), 0))`).
		Scan(&s.Waiting, &s.Context, &s.Claimed, &s.Dead, &s.Pending, &s.Held, &s.GivenUp, &s.Entries, &s.Unsigned)
	if err == nil {
		s.Live, err = liveRuns(ctx, r.db, "")
	}
	if err != nil {
		return s, fmt.Errorf("count what is open: %w", explain(r.path, err))
	}
	return s, nil
}

// AuditEntries is Rows under the name that the commands use.
func (r *Reader) AuditEntries(ctx context.Context, f audit.Filter) iter.Seq2[audit.Row, error] {
	return r.Rows(ctx, f)
}

// Check reads the whole file and reports damage, with ErrCorrupt in the chain.
// It takes some seconds for each gigabyte.
func (r *Reader) Check(ctx context.Context) error {
	if r.postgres {
		return r.db.PingContext(ctx) // the server looks after its own files
	}
	var verdict string
	err := r.db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict)
	if err != nil {
		return explain(r.path, err)
	}
	if verdict != "ok" {
		return corrupt(r.path, verdict)
	}
	return nil
}
