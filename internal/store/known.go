package store

import (
	"context"
	"fmt"

	"nanoclaw/internal/chat"
)

// Known says whether a message is stored already, whatever became of it.
func (r *Reader) Known(ctx context.Context, from chat.Address, id chat.MessageID) (bool, error) {
	var n int
	err := r.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM inbox WHERE channel = ? AND chat = ? AND message = ?)`, from.Channel, from.Chat, id).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for a message of %s: %w", from, explain(r.path, err))
	}
	return n != 0, nil
}
