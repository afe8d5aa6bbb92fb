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
)

// Past is a message that was dealt with before this store had it.
type Past struct {
	chat.Inbound
	// Open says that nobody answered it: it becomes context of the next run.
	Open bool
}

// maxPast is how many are taken in one transaction, so that nothing waits long.
const maxPast = 500

// AddPast keeps messages of a group that another program had, at most 500 at once. One
// that is here already stays as it is, whatever became of it; so a network that gives a
// message again starts nothing by it. It says how many are new, and records them as one
// act. keep is how many are kept as context.
func (s *Store) AddPast(ctx context.Context, g chat.Group, past []Past, keep int, from string) (fresh int, err error) {
	if len(past) > maxPast {
		return 0, fmt.Errorf("store: %d messages at once, and at most %d; this is a fault of the caller", len(past), maxPast)
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		fresh = 0
		for _, p := range past {
			is, err := addPast(ctx, t, g, p, s.now())
			if err != nil {
				return err
			}
			fresh += is
		}
		if err := pruneContext(ctx, t, g, keep); err != nil || fresh == 0 {
			return err
		}
		return addEntry(ctx, t, acted(s.now(), g, "import", fmt.Sprintf("%d messages", fresh), from))
	})
	if err != nil {
		return 0, fmt.Errorf("keep messages of the past: %w", err)
	}
	return fresh, nil
}

func addPast(ctx context.Context, t *tx, g chat.Group, p Past, now time.Time) (int, error) {
	if p.From.Channel == "" || p.From.Chat == "" || p.ID == "" {
		return 0, errors.New("a message needs a channel, a chat and an id")
	}
	body, err := json.Marshal(p.Inbound)
	if err != nil {
		return 0, err
	}
	state, reason, at := ignored, "it was dealt with before it came here", p.Sent
	if p.Open {
		state, reason = kept, "nobody had answered it before it came here"
	}
	if at.IsZero() || at.After(now) {
		at = now
	}
	res, err := t.exec(ctx, `INSERT INTO inbox (channel, chat, message, grp, state, trigger, reason, body, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (channel, chat, message) DO NOTHING`, p.From.Channel, p.From.Chat, p.ID, g, state, 0, reason, string(body), at.UnixNano())
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// Adopt gives a group a conversation of its agent's that another program began, unless
// it has one, and says whether that is the group's now.
func (s *Store) Adopt(ctx context.Context, g chat.Group, session, from string) (is bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		var has string
		err := t.row(ctx, []any{&has}, `SELECT agent_session FROM conversations WHERE grp = ? AND thread = ''`, g)
		if is = has == session; err != nil && !errors.Is(err, sql.ErrNoRows) || has != "" {
			return err
		}
		if _, err := t.exec(ctx, `INSERT INTO conversations (grp, thread, agent_session, used) VALUES (?, '', ?, ?)
			ON CONFLICT (grp, thread) DO UPDATE SET agent_session = excluded.agent_session, used = excluded.used`, g, session, s.now().UnixNano()); err != nil {
			return err
		}
		is = true
		return addEntry(ctx, t, acted(s.now(), g, "import", "conversation "+session, from))
	})
	if err != nil {
		return false, fmt.Errorf("adopt a conversation: %w", err)
	}
	return is, nil
}

func acted(at time.Time, g chat.Group, act, target, detail string) audit.Entry {
	return audit.Entry{At: at, Kind: audit.OwnerActed, Group: g, Data: audit.OwnerActedData{Act: act, Target: target, Detail: detail}}
}
