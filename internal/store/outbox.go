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
	"nanoclaw/internal/outbox"
)

// Outbox states.
const (
	pending = "pending"
	sending = "sending"
	sent    = "sent"
	givenUp = "given_up"
)

// held is no state: what is pending may be.
const held = "held"

const outboundColumns = `id, channel, chat, kind, text, run, grp, key, failed, last, attempts, extra`

// scanOutbound reads these columns, and into beside those that follow them.
func scanOutbound(rows *sql.Rows, beside ...any) (outbox.Pending, error) {
	var p outbox.Pending
	var more string
	err := rows.Scan(append([]any{&p.ID, &p.To.Channel, &p.To.Chat, &p.Kind, &p.Text, &p.Run, &p.Group, &p.Key, &p.Failed, &p.Last, &p.Attempts, &more}, beside...)...)
	if err != nil || more == "" {
		return p, err
	}
	var x extra
	err = json.Unmarshal([]byte(more), &x)
	p.File, p.Code, p.React = x.File, x.Code, x.React
	return p, err
}

// extra is what few messages have.
type extra struct {
	File *chat.File `json:"file,omitempty"`
	Code string     `json:"code,omitempty"`

	React chat.MessageID `json:"react,omitempty"`
}

// extraOf is the extra of a message as it is kept, "" for none.
func extraOf(m chat.Outbound) (string, error) {
	if m.File == nil && m.Code == "" && m.React == "" {
		return "", nil
	}
	b, err := json.Marshal(extra{m.File, m.Code, m.React})
	return string(b), err
}

// Put is outbox.Store's. If the key is stored already it gives what is stored.
func (s *Store) Put(ctx context.Context, m chat.Outbound, at time.Time) (chat.Outbound, error) {
	var out chat.Outbound
	err := s.write(ctx, func(ctx context.Context, t *tx) (err error) {
		if err := s.oursToSpeak(ctx, t, m); err != nil {
			return err
		}
		out, err = putOutbound(ctx, t, m, at)
		return err
	})
	if err != nil {
		return chat.Outbound{}, fmt.Errorf("store a message to %s: %w", m.To, err)
	}
	return out, nil
}

func putOutbound(ctx context.Context, t *tx, m chat.Outbound, at time.Time) (chat.Outbound, error) {
	if m.Key == "" || m.To.Channel == "" || m.To.Chat == "" {
		return m, errors.New("a message to send needs an address and a key: without a key it could go out twice")
	}
	var old *chat.Outbound
	err := each(ctx, t, func(rows *sql.Rows) error {
		p, err := scanOutbound(rows)
		old = &p.Outbound
		return err
	}, `SELECT `+outboundColumns+` FROM outbox WHERE key = ?`, m.Key)
	if err != nil || old != nil {
		if old != nil {
			m = *old
		}
		return m, err
	}
	more, err := extraOf(m)
	if err != nil {
		return m, err
	}
	err = t.row(ctx, []any{&m.ID}, `INSERT INTO outbox (key, channel, chat, kind, text, grp, run, failed, last, extra, state, due, at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?) RETURNING id`,
		m.Key, m.To.Channel, m.To.Chat, m.Kind, m.Text, m.Group, m.Run, m.Failed, m.Last, more, at.UnixNano(), at.UnixNano())
	if err != nil {
		return m, err
	}
	return m, addEntry(ctx, t, outboxEntry(audit.Outbox, outbox.Pending{Outbound: m}, at))
}

func outboxEntry(k audit.Kind, p outbox.Pending, at time.Time) audit.Entry {
	return audit.Entry{At: at, Kind: k, Group: p.Group, Run: p.Run, Data: audit.OutboxData{
		ID: p.ID, To: p.To, Kind: p.Kind, Bytes: len(p.Text), Tries: p.Attempts,
	}}
}

// older is the condition that an older message of the same chat is undelivered.
const older = `SELECT 1 FROM outbox p WHERE p.channel = o.channel AND p.chat = o.chat AND p.id < o.id
	AND (p.state = 'pending' OR p.state = 'sending')`

const (
	dueQuery = `SELECT ` + outboundColumns + ` FROM outbox o
	WHERE o.state = 'pending' AND o.held = 0 AND (o.due <= ? OR o.due > ?)
	AND NOT EXISTS (` + older + ` AND (p.state = 'sending' OR p.held = 1 OR p.due > ? AND p.due <= ?))`
	// A bare parameter of LIMIT, or one that is compared as a partial index compares, lets
	// SQLite parse the whole statement anew for each value, since the value may change the
	// plan (sqlite3_prepare_v2). What each pass asks is parsed once: a cast is no parameter.
	inOrder = ` ORDER BY o.id LIMIT CAST(? AS bigint)`
)

// Due is outbox.Store's. A message that is being sent keeps later ones of its
// chat back too, so that they arrive in order.
func (s *Store) Due(ctx context.Context, now time.Time, n int) ([]outbox.Pending, error) {
	var due []outbox.Pending
	and, args := s.deliverable()
	soon, never := now.UnixNano(), now.Add(outbox.Longest).UnixNano()
	args = append(append([]any{soon, never, soon, never}, args...), n)
	err := each(ctx, s.Reader.db, func(rows *sql.Rows) error {
		p, err := scanOutbound(rows)
		due = append(due, p)
		return err
	}, dueQuery+and+inOrder, args...)
	if err != nil {
		return nil, fmt.Errorf("list messages to deliver: %w", explain(s.path, err))
	}
	return due, nil
}

const nextDueQuery = `SELECT min(o.due) FROM outbox o WHERE o.state = 'pending' AND o.held = 0 AND NOT EXISTS (` + older + `)`

// NextDue is outbox.Store's. Messages behind an older one of their chat do not
// count, since they can go out only after it.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	var due sql.NullInt64
	and, args := s.deliverable()
	if err := s.Reader.db.QueryRowContext(ctx, nextDueQuery+and, args...).Scan(&due); err != nil {
		return time.Time{}, fmt.Errorf("find the next message to deliver: %w", explain(s.path, err))
	}
	return fromNanos(due), nil
}

// moveOutbox changes a message's state in a transaction: it checks that the
// message may come to it, and gives it as it was to do.
func (s *Store) moveOutbox(ctx context.Context, id int64, to string, do func(context.Context, *tx, outbox.Pending, string) error) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		var p *outbox.Pending
		var is, owner string
		if err := each(ctx, t, func(rows *sql.Rows) error {
			got, err := scanOutbound(rows)
			p = &got
			return err
		}, `SELECT `+outboundColumns+` FROM outbox WHERE id = ?`, id); err != nil {
			return err
		}
		if p == nil {
			return ErrNotFound
		}
		if err := t.row(ctx, []any{&is, &owner}, `SELECT state, owner FROM outbox WHERE id = ?`, id); err != nil {
			return err
		}
		if !may("outbox", is, to) && !(to == held && (is == pending || is == sending)) {
			return &StateError{What: fmt.Sprintf("message %d", id), Is: is, Want: to}
		}
		if is == sending && owner != s.owner {
			return &LostError{What: fmt.Sprintf("message %d", id), Holder: owner}
		}
		return do(ctx, t, *p, is)
	})
	if err != nil {
		return fmt.Errorf("mark message %d to send as %s: %w", id, to, err)
	}
	return nil
}

// Sending is outbox.Store's.
func (s *Store) Sending(ctx context.Context, id int64, at time.Time) error {
	return s.moveOutbox(ctx, id, sending, func(ctx context.Context, t *tx, _ outbox.Pending, _ string) error {
		_, err := t.exec(ctx, `UPDATE outbox SET state = 'sending', held = 0, attempts = attempts + 1, due = ?, owner = ?, beat = ? WHERE id = ?`,
			at.UnixNano(), s.owner, s.now().UnixNano(), id)
		return err
	})
}

// Sent is outbox.Store's.
func (s *Store) Sent(ctx context.Context, id int64, network chat.MessageID, at time.Time) error {
	return s.moveOutbox(ctx, id, sent, func(ctx context.Context, t *tx, p outbox.Pending, _ string) error {
		if _, err := t.exec(ctx, `UPDATE outbox SET state = 'sent', held = 0, network = ?, cause = '', ended = ? WHERE id = ?`, network, at.UnixNano(), id); err != nil {
			return err
		}
		e := outboxEntry(audit.Delivered, p, at)
		data, _ := e.Data.(audit.OutboxData)
		data.Network = network
		e.Data = data
		return addEntry(ctx, t, e)
	})
}

// Retry is outbox.Store's.
func (s *Store) Retry(ctx context.Context, id int64, cause string, next time.Time) error {
	return s.moveOutbox(ctx, id, pending, func(ctx context.Context, t *tx, _ outbox.Pending, _ string) error {
		_, err := t.exec(ctx, `UPDATE outbox SET state = 'pending', held = 0, cause = ?, due = ? WHERE id = ?`, cause, next.UnixNano(), id)
		return err
	})
}

// Held is outbox.Store's. It takes back the attempt that Sending counted. If
// somebody connected during that attempt the message stays due, see Unhold.
func (s *Store) Held(ctx context.Context, id int64) error {
	return s.moveOutbox(ctx, id, held, func(ctx context.Context, t *tx, _ outbox.Pending, is string) error {
		counted := is == sending
		_, err := t.exec(ctx, `UPDATE outbox SET state = 'pending', held = CASE held WHEN 2 THEN 0 ELSE 1 END, attempts = attempts - ? WHERE id = ?`, counted, id)
		return err
	})
}

// GiveUp is outbox.Store's.
func (s *Store) GiveUp(ctx context.Context, id int64, cause string, at time.Time) error {
	return s.moveOutbox(ctx, id, givenUp, func(ctx context.Context, t *tx, p outbox.Pending, _ string) error {
		if _, err := t.exec(ctx, `UPDATE outbox SET state = 'given_up', held = 0, cause = ?, ended = ? WHERE id = ?`, cause, at.UnixNano(), id); err != nil {
			return err
		}
		e := outboxEntry(audit.GivenUp, p, at)
		data, _ := e.Data.(audit.OutboxData)
		data.Cause = cause
		e.Data = data
		return addEntry(ctx, t, e)
	})
}

// Unhold is outbox.Store's. On a message that is being sent it leaves a 2: the
// attempt may still find nobody, and must then not be held for a connection
// that has already come.
func (s *Store) Unhold(ctx context.Context, to chat.Address) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `UPDATE outbox SET held = CASE state WHEN 'sending' THEN 2 ELSE 0 END
			WHERE channel = ? AND chat = ? AND (state = 'pending' OR state = 'sending')`, to.Channel, to.Chat)
		return err
	})
	if err != nil {
		return fmt.Errorf("free the messages to %s: %w", to, err)
	}
	return nil
}
