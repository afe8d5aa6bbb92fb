package store

import (
	"context"
	"database/sql"
	"fmt"

	"nanoclaw/internal/chat"
)

// Fate is what became of a stored message.
type Fate struct {
	// State is waiting, context, ignored, refused, claimed, done or dead.
	State string
	// Reason is the router's.
	Reason string
	// Run is the run that works or worked on it, "" for none.
	Run chat.RunID
}

// Fate tells what became of a message, or ErrNotFound.
func (r *Reader) Fate(ctx context.Context, a chat.Address, id chat.MessageID) (Fate, error) {
	var f Fate
	var run sql.NullString
	found := false
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(&f.State, &f.Reason, &run)
	}, `SELECT state, reason, run FROM inbox WHERE channel = ? AND chat = ? AND message = ?`, a.Channel, a.Chat, id)
	if err == nil && !found {
		err = ErrNotFound
	}
	if err != nil {
		return f, fmt.Errorf("read message %s of %s: %w", id, a, explain(r.path, err))
	}
	f.Run = chat.RunID(run.String)
	return f, nil
}

// Named is a message found by its network's name for it, and what became of it.
type Named struct {
	From chat.Address
	Fate
}

// FatesNamed finds messages by their id alone, which is unique in one chat and
// not among chats: ten at most. It reads the whole inbox, for a person who asks.
func (r *Reader) FatesNamed(ctx context.Context, id chat.MessageID) ([]Named, error) {
	var out []Named
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		var n Named
		var run sql.NullString
		err := rows.Scan(&n.From.Channel, &n.From.Chat, &n.State, &n.Reason, &run)
		n.Run = chat.RunID(run.String)
		out = append(out, n)
		return err
	}, `SELECT channel, chat, state, reason, run FROM inbox WHERE message = ? ORDER BY id LIMIT 10`, id)
	if err != nil {
		return nil, fmt.Errorf("look for message %s: %w", id, explain(r.path, err))
	}
	return out, nil
}

// Unsaid counts the messages of a run that are on their way. Those that were
// delivered or given up, are held for nobody, or wait for another attempt after
// a failure do not count, and neither do those behind such a one in their chat.
func (r *Reader) Unsaid(ctx context.Context, run chat.RunID) (int, error) {
	n, err := r.unsaid(ctx, `o.run <> '' AND o.run = ?`, string(run))
	if err != nil {
		return 0, fmt.Errorf("count what run %s has to say: %w", run, err)
	}
	return n, nil
}

// UnsaidKey is Unsaid for the one message that was stored under a key.
func (r *Reader) UnsaidKey(ctx context.Context, key string) (int, error) {
	n, err := r.unsaid(ctx, `o.key = ?`, key)
	if err != nil {
		return 0, fmt.Errorf("look whether a message is on its way: %w", err)
	}
	return n, nil
}

func (r *Reader) unsaid(ctx context.Context, which, value string) (int, error) {
	var n int
	err := r.db.QueryRowContext(ctx, `SELECT count(*) FROM outbox o WHERE `+which+`
		AND (o.state = 'sending' OR o.state = 'pending' AND o.held = 0 AND o.cause = '')
		AND NOT EXISTS (`+older+` AND p.state = 'pending' AND (p.held = 1 OR p.cause <> ''))`, value).Scan(&n)
	return n, explain(r.path, err)
}

// Ahead counts the messages that wait for a run of a group and came before one, and
// says whether that one waits itself and is not held back for a reason of its own.
func (r *Reader) Ahead(ctx context.Context, g chat.Group, a chat.Address, id chat.MessageID) (n int, waits bool, err error) {
	err = each(ctx, r.db, func(rows *sql.Rows) error {
		waits = true
		return rows.Scan(&n)
	}, `SELECT (SELECT count(*) FROM inbox b WHERE b.grp = i.grp AND b.state = 'waiting' AND b.due = 0 AND b.id < i.id)
		FROM inbox i WHERE i.channel = ? AND i.chat = ? AND i.message = ? AND i.grp = ? AND i.state = 'waiting' AND i.due = 0`,
		a.Channel, a.Chat, id, g)
	if err != nil {
		return 0, false, fmt.Errorf("count what waits before message %s of %s: %w", id, a, explain(r.path, err))
	}
	return n, waits, nil
}

// SaidTo gives what a run said to a chat, and what was said there under a key, in order.
func (r *Reader) SaidTo(ctx context.Context, a chat.Address, run chat.RunID, key string) ([]chat.Outbound, error) {
	var out []chat.Outbound
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		m := chat.Outbound{To: a, Run: run}
		err := rows.Scan(&m.ID, &m.Kind, &m.Text, &m.Failed, &m.Last)
		out = append(out, m)
		return err
	}, `SELECT id, kind, text, failed, last FROM outbox
		WHERE channel = ? AND chat = ? AND (run <> '' AND run = ? OR key = ?) ORDER BY id`, a.Channel, a.Chat, run, key)
	if err != nil {
		return nil, fmt.Errorf("read what was said to %s: %w", a, explain(r.path, err))
	}
	return out, nil
}
