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
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
)

// Inbox states.
const (
	waiting = "waiting"
	kept    = "context"
	ignored = "ignored"
	refused = "refused"
	hosts   = "host" // for the host, which has not done it yet
)

// Accept is router.Store's. A max of 0 or less means no bound.
func (s *Store) Accept(ctx context.Context, in chat.Inbound, v router.Verdict, keep, max int) (router.Accepted, error) {
	if in.From.Channel == "" || in.From.Chat == "" || in.ID == "" {
		return router.Accepted{}, errors.New("store: a message needs a channel, a chat and an id: without them it cannot be known again")
	}
	body, err := json.Marshal(in)
	if err != nil {
		return router.Accepted{}, fmt.Errorf("store: encode a message: %w", err)
	}
	var acc router.Accepted
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		acc = router.Accepted{}
		return s.accept(ctx, t, in, body, v, keep, max, &acc)
	})
	if err != nil {
		return router.Accepted{}, fmt.Errorf("store the message: %w", err)
	}
	return acc, nil
}

func (s *Store) accept(ctx context.Context, t *tx, in chat.Inbound, body []byte, v router.Verdict, keep, max int, acc *router.Accepted) error {
	err := t.row(ctx, []any{&acc.Row}, `SELECT id FROM inbox WHERE channel = ? AND chat = ? AND message = ?`,
		in.From.Channel, in.From.Chat, in.ID)
	if !errors.Is(err, sql.ErrNoRows) {
		return err // stored already, or a failure
	}
	state, err := inboxState(v)
	if err != nil {
		return err
	}
	if state == waiting && max > 0 {
		var n int
		if err := t.row(ctx, []any{&n}, `SELECT count(*) FROM inbox WHERE state = 'waiting' AND grp = ?`, v.Group); err != nil {
			return err
		}
		full := n >= max
		if full {
			v.Reason = fmt.Sprintf("the queue of %s is full: %d messages wait already", v.Group, n)
		} else if !in.Sender.Owner && n >= (max+1)/2 { // of one sender at most half, so that others find room
			of, err := waitingOf(ctx, t, v.Group, in)
			if err != nil {
				return err
			}
			if full = of >= (max+1)/2; full {
				v.Reason = fmt.Sprintf("%d messages of this sender wait in %s already, half of what may", of, v.Group)
			}
		}
		if full {
			acc.Full, state, v.Action = true, ignored, router.Ignore
		}
	}
	now, due, hold := s.now(), int64(0), ""
	if state == waiting {
		var full bool
		if due, hold, full, err = s.rated(ctx, t, in, v.Group, max, now); err != nil {
			return err
		}
		if full {
			acc.Full, state, due = true, ignored, 0
			v.Action, v.Reason = router.Ignore, "too much waits already of what came too fast"
		} else if hold != "" {
			v.Reason += "; it waits until " + time.Unix(0, due).UTC().Format(time.RFC3339) + ": " + hold
		}
	}
	err = t.row(ctx, []any{&acc.Row}, `INSERT INTO inbox (channel, chat, message, grp, state, trigger, reason, body, at, due, hold)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
		in.From.Channel, in.From.Chat, in.ID, v.Group, state, state == waiting, v.Reason, string(body), now.UnixNano(), due, hold)
	if err != nil {
		return err
	}
	acc.Fresh = true
	if state == kept {
		if err := pruneContext(ctx, t, v.Group, keep); err != nil {
			return err
		}
	}
	return addEntry(ctx, t, audit.Entry{At: now, Kind: audit.Inbound, Group: v.Group, Data: audit.InboundData{
		From: in.From, ID: in.ID, Row: acc.Row, Sender: in.Sender, Text: in.Text,
		Verdict: string(v.Action), Reason: v.Reason,
	}})
}

// waitingOf counts the messages of a group that wait for a run, of the sender of one.
// What is held has a bound of its own for each reason.
func waitingOf(ctx context.Context, t *tx, g chat.Group, in chat.Inbound) (n int, err error) {
	err = t.row(ctx, []any{&n}, `SELECT count(*) FROM inbox WHERE state = 'waiting' AND grp = ? AND due = 0 AND channel = ? AND json_extract(body, '$.sender.id') = ?`,
		g, in.From.Channel, in.Sender.ID)
	return n, err
}

func inboxState(v router.Verdict) (string, error) {
	switch v.Action {
	case router.Run:
		return waiting, nil
	case router.Context:
		return kept, nil
	case router.Answer, router.Do:
		return hosts, nil
	case router.Ignore:
		return ignored, nil
	case router.Refuse:
		if v.Pairing != "" { // the agent never sees it, but the host has to try the code
			return hosts, nil
		}
		return refused, nil
	}
	return "", fmt.Errorf("store: %q is not an action for a message; this is a fault of the caller", v.Action)
}

// pruneContext keeps the newest context of a group, and counts what it pushes out.
func pruneContext(ctx context.Context, t *tx, g chat.Group, keep int) error {
	res, err := t.exec(ctx, `UPDATE inbox SET state = 'ignored', reason = 'pushed out by newer context'
		WHERE id IN (SELECT id FROM inbox WHERE state = 'context' AND grp = ? ORDER BY id DESC LIMIT ? OFFSET ?)`,
		g, math.MaxInt64, keep)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil || n == 0 {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO groups (grp, pushed) VALUES (?, ?) ON CONFLICT (grp) DO UPDATE SET pushed = groups.pushed + excluded.pushed`, g, n)
	return err
}

// takePushed gives how much context was pushed out since it was asked last.
func takePushed(ctx context.Context, t *tx, g chat.Group) (n int, err error) {
	err = t.row(ctx, []any{&n}, `SELECT coalesce(max(pushed), 0) FROM groups WHERE grp = ?`, g)
	if err != nil || n == 0 {
		return 0, err
	}
	_, err = t.exec(ctx, `UPDATE groups SET pushed = 0 WHERE grp = ?`, g)
	return n, err
}

// messageColumns are what scanMessage reads.
const messageColumns = `id, trigger, attempts, cut, again, consent, body`

// scanMessage reads them, with other columns before them.
func scanMessage(rows *sql.Rows, before ...any) (queue.Message, error) {
	var m queue.Message
	var body string
	if err := rows.Scan(append(before, &m.Row, &m.Trigger, &m.Attempts, &m.Cut, &m.Again, &m.Consent, &body)...); err != nil {
		return m, err
	}
	if err := json.Unmarshal([]byte(body), &m.Inbound); err != nil {
		return m, fmt.Errorf("%w: message %d cannot be read: %w", ErrCorrupt, m.Row, err)
	}
	return m, nil
}

// fromNanos reads a stored time; 0 and NULL are the zero time.
func fromNanos(n sql.NullInt64) time.Time {
	if !n.Valid || n.Int64 == 0 {
		return time.Time{}
	}
	return time.Unix(0, n.Int64).UTC()
}
