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

// Paused is a group that the owner put to rest. The empty group is all of them.
type Paused struct {
	Group chat.Group `json:"group,omitempty"`
	At    time.Time  `json:"at"`
	// Reason is in the owner's or our own words.
	Reason string `json:"reason,omitempty"`
	// By is the admin who did it, empty for the owner.
	By string `json:"by,omitempty"`
}

const pausedKey = "paused:"

// Pause remembers that a group rests, with the audit entry. A group that rests
// already keeps its first reason.
func (s *Store) Pause(ctx context.Context, p Paused, e audit.Entry) error {
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.exec(ctx, `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING`, pausedKey+string(p.Group), string(value)); err != nil {
			return err
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return fmt.Errorf("pause group %s: %w", p.Group, err)
	}
	return nil
}

// Resume forgets that a group rests, with the audit entry. It says whether it did.
func (s *Store) Resume(ctx context.Context, g chat.Group, e audit.Entry) (bool, error) {
	var found bool
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		res, err := t.exec(ctx, `DELETE FROM meta WHERE key = ?`, pausedKey+string(g))
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if found = n > 0; err != nil || !found {
			return err
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return false, fmt.Errorf("resume group %s: %w", g, err)
	}
	return found, nil
}

// PausedGroups lists the groups that rest.
func (r *Reader) PausedGroups(ctx context.Context) ([]Paused, error) {
	var out []Paused
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			return err
		}
		var p Paused
		// What cannot be read still says which group rests.
		_ = json.Unmarshal([]byte(value), &p)
		p.Group = chat.Group(strings.TrimPrefix(key, pausedKey))
		out = append(out, p)
		return nil
	}, `SELECT key, value FROM meta WHERE key >= 'paused:' AND key < 'paused;' ORDER BY key`)
	if err != nil {
		return nil, fmt.Errorf("list the paused groups: %w", explain(r.path, err))
	}
	return out, nil
}
