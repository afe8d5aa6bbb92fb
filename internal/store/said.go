package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/runner"
)

// Said is runner.Store's. It goes by the runs of the group, each by its index.
func (r *Reader) Said(ctx context.Context, g chat.Group, thread chat.Thread, n int) ([]runner.Exchange, error) {
	var runs []chat.RunID
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		var id chat.RunID
		err := rows.Scan(&id)
		runs = append(runs, id)
		return err
	}, `SELECT id FROM runs WHERE grp = ? AND thread = ? AND state = 'succeeded' ORDER BY row DESC LIMIT ?`, g, thread, n)
	var out []runner.Exchange
	for _, id := range runs {
		var x runner.Exchange
		if err == nil {
			x, err = r.exchange(ctx, id)
		}
		if err != nil {
			return nil, fmt.Errorf("read what was said in %s: %w", g, explain(r.path, err))
		}
		last := queue.Job{Messages: x.Messages}
		if text := last.Last().Text; last.Last().Alone() && (text == "/clear" || text == "/new") || last.Conversation() == chat.Anew {
			if last.Conversation() == chat.Anew {
				out = append(out, x)
			}
			break
		}
		if last.Conversation() == chat.Ongoing && len(x.Messages) > 0 {
			out = append(out, x)
		}
	}
	slices.Reverse(out)
	return out, nil
}

// lookedThrough is among how many messages that went out last Began looks for one.
const lookedThrough = 2000

// Began is runner.Store's. What an agent was never meant to see, such as a stranger's
// message, a command, a pairing code or a question of the host's, is no beginning. What went out longer ago than that is not found: the network's
// ids are in no index, which would cost each message more than this is worth.
func (r *Reader) Began(ctx context.Context, g chat.Group, thread chat.Address) (x runner.Exchange, ok bool, err error) {
	base, first := thread.Base(), thread.Beginning()
	if first == "" {
		return x, false, nil
	}
	var run chat.RunID
	err = each(ctx, r.db, func(rows *sql.Rows) error {
		m, err := scanMessage(rows, &run)
		x.Messages, ok = append(x.Messages, m), true
		return err
	}, `SELECT CASE trigger WHEN 1 THEN coalesce(run, '') ELSE '' END, `+messageColumns+` FROM inbox WHERE channel = ? AND chat = ? AND message = ? AND grp = ?
		AND (run IS NOT NULL OR state IN ('waiting', 'context'))`, base.Channel, base.Chat, first, g)
	if err == nil && !ok {
		err = each(ctx, r.db, func(rows *sql.Rows) error {
			ok = true
			return rows.Scan(&run, &x.Answer)
		}, `SELECT run, text FROM outbox WHERE id > (SELECT coalesce(max(id), 0) FROM outbox) - ? AND channel = ? AND chat = ? AND network = ? AND grp = ?
			AND kind IN (?, ?)`, lookedThrough, base.Channel, base.Chat, first, g, chat.Reply, chat.Tool)
	}
	if err == nil && run != "" {
		var whole runner.Exchange
		if whole, err = r.exchange(ctx, run); err == nil && (len(whole.Messages) > 0 || whole.Answer != "") {
			x = whole
		}
	}
	if err != nil {
		return x, false, fmt.Errorf("read what %s began with: %w", thread, explain(r.path, err))
	}
	return x, ok, nil
}

func (r *Reader) exchange(ctx context.Context, run chat.RunID) (x runner.Exchange, err error) {
	err = each(ctx, r.db, func(rows *sql.Rows) error {
		m, err := scanMessage(rows)
		x.Messages = append(x.Messages, m)
		return err
	}, `SELECT `+messageColumns+` FROM inbox WHERE run = ? AND trigger = 1 ORDER BY id`, run)
	if err != nil {
		return x, err
	}
	return x, each(ctx, r.db, func(rows *sql.Rows) error {
		var text string
		err := rows.Scan(&text)
		x.Answer += text
		return err
	}, `SELECT text FROM outbox WHERE run = ? AND kind = ? ORDER BY id`, run, chat.Reply)
}
