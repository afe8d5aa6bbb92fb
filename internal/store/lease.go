package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/runner"
)

// LeaseTime is how long a holder that was not heard of keeps what it holds, and
// BeatEvery how often one that lives is heard of: several beats may be late before
// anybody takes over, and the take-over is soon enough for who waits for an answer.
const (
	LeaseTime = 8 * time.Second
	BeatEvery = 2 * time.Second
)

// Sequencer names the lease of the one process that sequences the audit log.
const Sequencer = "sequencer"

// LostError refuses a change by a process that does not hold what it would change:
// it was silent for too long, and another took over. It matches queue.ErrLost.
type LostError struct {
	What   string // such as "run r7k2m"
	Holder string // who has it, "" for nobody
}

func (e *LostError) Error() string {
	by := "by nobody"
	if e.Holder != "" {
		by = "by " + e.Holder
	}
	return fmt.Sprintf("%s is no longer held by this process, but %s", e.What, by)
}

// Is makes it one of queue.ErrLost.
func (e *LostError) Is(target error) bool { return target == queue.ErrLost }

// newOwner is a name that no other process ever has.
func newOwner() string { return "owner-" + rand.Text() }

// Owner is the name under which this store claims runs.
func (s *Store) Owner() string { return s.owner }

// ours gives a run if this process is its present holder, and a *LostError if it is
// not. Every change of a run, or on behalf of one, asks it in its own transaction.
// Two numbers are compared, though the id of a run belongs to one claim alone: the
// group's may have grown since, and who has an old one must not act for the group.
func (s *Store) ours(ctx context.Context, t *tx, run chat.RunID) (RunInfo, error) {
	r, err := runRow(ctx, t, run)
	if err != nil {
		return r, err
	}
	if r.Owner != s.owner {
		return r, &LostError{What: "run " + string(run), Holder: r.Owner}
	}
	if !live(r.State) {
		return r, nil
	}
	var fence int64
	if err := t.row(ctx, []any{&fence}, `SELECT fence FROM groups WHERE grp = ?`, r.Group); err != nil {
		return r, err
	}
	if fence != r.Fence {
		return r, &LostError{What: fmt.Sprintf("claim %d of group %s", r.Fence, r.Group)}
	}
	return r, nil
}

func live(st runner.State) bool {
	return st == runner.Queued || st == runner.Starting || st == runner.Running
}

// oursToSpeak refuses what an agent says in a run that somebody else took over.
func (s *Store) oursToSpeak(ctx context.Context, t *tx, m chat.Outbound) error {
	if m.Run == "" || m.Kind != chat.Tool {
		return nil
	}
	_, err := s.ours(ctx, t, m.Run)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// oursOrNobodys refuses a change of what is remembered of a group whose run another
// process holds.
func (s *Store) oursOrNobodys(ctx context.Context, t *tx, g chat.Group) error {
	var owner string
	err := t.row(ctx, []any{&owner}, `SELECT owner FROM runs WHERE grp = ? AND `+liveStates, g)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil && owner != s.owner {
		err = &LostError{What: "group " + string(g), Holder: owner}
	}
	return err
}

// nextFence is the number of a new claim of a group.
func nextFence(ctx context.Context, t *tx, g chat.Group) (fence int64, err error) {
	err = t.row(ctx, []any{&fence}, `INSERT INTO groups (grp, fence) VALUES (?, 1)
		ON CONFLICT (grp) DO UPDATE SET fence = groups.fence + 1 RETURNING fence`, g)
	return fence, err
}

const holdsQuery = `SELECT EXISTS (SELECT 1 FROM runs WHERE ` + liveStates + ` AND owner = ?)
	OR EXISTS (SELECT 1 FROM outbox WHERE state = 'sending' AND owner = ?)`

// Beat says that an owner lives, and gives the runs that it holds. A run that it
// works on and that is not among them was taken over. If it holds nothing, nothing
// is written.
func (s *Store) Beat(ctx context.Context, owner string) (held []chat.RunID, err error) {
	var some bool
	if err := s.Reader.db.QueryRowContext(ctx, holdsQuery, owner, owner).Scan(&some); err != nil {
		return nil, fmt.Errorf("look at what %s holds: %w", owner, explain(s.path, err))
	}
	if !some && s.node == "" {
		return nil, nil
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		held = nil
		now := s.now().UnixNano()
		if err := s.beatNode(ctx, t, now); err != nil || !some {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE runs SET beat = ? WHERE owner = ? AND `+liveStates, now, owner); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE outbox SET beat = ? WHERE owner = ? AND state = 'sending'`, now, owner); err != nil {
			return err
		}
		return each(ctx, t, func(rows *sql.Rows) error {
			var run chat.RunID
			err := rows.Scan(&run)
			held = append(held, run)
			return err
		}, `SELECT id FROM runs WHERE owner = ? AND `+liveStates, owner)
	})
	if err != nil {
		return nil, fmt.Errorf("say that %s lives: %w", owner, err)
	}
	return held, nil
}

// Acquire takes a lease for an owner, or keeps it for longer, until ttl from now.
// It is not held if another has it. The number grows each time the lease changes
// hands. A store that one process has to itself has no living holder but that one.
func (s *Store) Acquire(ctx context.Context, name, owner string, ttl time.Duration) (fence int64, held bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		fence, held = 0, false
		var holder string
		var until int64
		now := s.now()
		err := t.row(ctx, []any{&holder, &fence, &until}, `SELECT owner, fence, until FROM leases WHERE name = ?`, name)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if holder != "" && holder != owner && !s.alone && until > now.UnixNano() {
			return nil
		}
		if holder != owner {
			fence++
		}
		held = true
		_, err = t.exec(ctx, `INSERT INTO leases (name, owner, fence, until, since) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET since = CASE leases.owner WHEN excluded.owner THEN leases.since ELSE excluded.since END,
			owner = excluded.owner, fence = excluded.fence, until = excluded.until`,
			name, owner, fence, now.Add(ttl).UnixNano(), now.UnixNano())
		return err
	})
	if err != nil {
		return 0, false, fmt.Errorf("take the lease %s: %w", name, err)
	}
	return fence, held, nil
}

// ReleaseLease gives a lease back, if the owner has it.
func (s *Store) ReleaseLease(ctx context.Context, name, owner string) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `UPDATE leases SET owner = '', until = 0 WHERE name = ? AND owner = ?`, name, owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("give the lease %s back: %w", name, err)
	}
	return nil
}

// leased refuses a change that belongs to the holder of a lease, if another has it.
func (s *Store) leased(ctx context.Context, t *tx, name string) error {
	var holder string
	err := t.row(ctx, []any{&holder}, `SELECT owner FROM leases WHERE name = ?`, name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil && holder != "" && holder != s.owner {
		err = &LostError{What: "the lease " + name, Holder: holder}
	}
	return err
}

// Shared says that other processes may change this store at the same time.
func (s *Store) Shared() bool { return !s.alone }
