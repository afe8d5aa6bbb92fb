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
func (r *Reader) Said(ctx context.Context, g chat.Group, n int) ([]runner.Exchange, error) {
	var runs []chat.RunID
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		var id chat.RunID
		err := rows.Scan(&id)
		runs = append(runs, id)
		return err
	}, `SELECT id FROM runs WHERE grp = ? AND state = 'succeeded' ORDER BY row DESC LIMIT ?`, g, n)
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
