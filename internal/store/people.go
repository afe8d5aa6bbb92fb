package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
)

// Stranger is a sender of whom the owner was asked, or whom they denied. Whom they
// let in has a right, see RightSender.
type Stranger struct {
	Group chat.Group `json:"group"`
	// Sender is the identity, as CHANNEL:SENDER.
	Sender string `json:"sender"`
	// Name is what they call themselves.
	Name string `json:"name,omitempty"`
	// From is the chat in which they wrote.
	From   string    `json:"from,omitempty"`
	Denied bool      `json:"denied,omitempty"`
	At     time.Time `json:"at"`
}

const strangerKey = "stranger:"

func (s Stranger) key() string { return strangerKey + string(s.Group) + ":" + s.Sender }

// NoteStranger remembers that the owner was asked about somebody. What is known
// of them already stays.
func (s *Store) NoteStranger(ctx context.Context, who Stranger) error {
	value, err := json.Marshal(who)
	if err != nil {
		return err
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING`, who.key(), string(value))
		return err
	})
	if err != nil {
		return fmt.Errorf("remember who was asked about: %w", err)
	}
	return nil
}

// DenyStranger remembers the owner's no, and refuses what of that sender waits in
// the group, with the audit entry.
func (s *Store) DenyStranger(ctx context.Context, who Stranger, e audit.Entry) error {
	who.Denied = true
	value, err := json.Marshal(who)
	if err != nil {
		return err
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, who.key(), string(value))
		if err == nil {
			err = refuseWaiting(ctx, t, who)
		}
		if err != nil {
			return err
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return fmt.Errorf("deny a sender: %w", err)
	}
	return nil
}

// ForgetStranger forgets what was decided about somebody. With refuse, what of
// them waits in the group is refused. It says whether there was something to forget.
func (s *Store) ForgetStranger(ctx context.Context, who Stranger, refuse bool, e audit.Entry) (bool, error) {
	var found bool
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		res, err := t.exec(ctx, `DELETE FROM meta WHERE key = ?`, who.key())
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err == nil && refuse {
			err = refuseWaiting(ctx, t, who)
		}
		if found = n > 0; err != nil || !found && !refuse {
			return err
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return false, fmt.Errorf("forget a sender: %w", err)
	}
	return found, nil
}

// RefuseWaiting takes from a group what a sender wrote and no run has taken up.
func (s *Store) RefuseWaiting(ctx context.Context, who Stranger) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error { return refuseWaiting(ctx, t, who) })
	if err != nil {
		return fmt.Errorf("refuse what a sender wrote: %w", err)
	}
	return nil
}

// refuseWaiting takes from a group what a sender wrote and no run has taken up:
// it was stored when they could speak, and would still come into a prompt.
func refuseWaiting(ctx context.Context, t *tx, who Stranger) error {
	channel, sender, _ := strings.Cut(who.Sender, ":")
	_, err := t.exec(ctx, `UPDATE inbox SET state = 'refused', reason = 'the owner decided that its sender does not speak here any more'
		WHERE grp = ? AND channel = ? AND state IN ('waiting', 'context') AND json_extract(body, '$.sender.id') = ?`,
		who.Group, channel, sender)
	return err
}

// Strangers lists them, by group and identity.
func (r *Reader) Strangers(ctx context.Context) ([]Stranger, error) {
	out, err := strangers(ctx, r.db)
	if err != nil {
		return nil, fmt.Errorf("list who was asked about: %w", explain(r.path, err))
	}
	return out, nil
}

func strangers(ctx context.Context, q querier) ([]Stranger, error) {
	var out []Stranger
	err := each(ctx, q, func(rows *sql.Rows) error {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			return err
		}
		var who Stranger
		if err := json.Unmarshal([]byte(value), &who); err != nil || who.key() != key {
			return fmt.Errorf("%w: what was decided about a sender cannot be read: %q", ErrCorrupt, key)
		}
		out = append(out, who)
		return nil
	}, `SELECT key, value FROM meta WHERE key >= 'stranger:' AND key < 'stranger;' ORDER BY key`)
	return out, err
}
