package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
)

// Right is a lasting answer of the owner: something that is allowed until it is
// taken back or its time is over. Rights lie here, outside every grant, and only
// an answer of the owner makes one.
type Right struct {
	ID int64 `json:"id"`
	// Kind says what it is a right to, see the constants.
	Kind string `json:"kind"`
	// Group is for whom. Empty is nobody's in particular, as for a chat.
	Group chat.Group `json:"group,omitempty"`
	// Subject is what exactly, in the spelling of its kind: a sender, HOST:PORT, the
	// name of a server, the address of a chat. A kind, a group and a subject have
	// one right at most: a new one takes the place of the old.
	Subject string `json:"subject"`
	// Hash binds it to the content that was shown, "" where there is none.
	Hash string `json:"hash,omitempty"`
	// Until is its end, zero for none.
	Until time.Time `json:"until,omitzero"`
	// By is who allowed it, From the chat in which they did.
	By   string    `json:"by"`
	From string    `json:"from"`
	At   time.Time `json:"at"`
}

// The kinds of right.
const (
	RightSender = "sender" // may speak in the group
	RightEgress = "egress" // HOST:PORT may be reached by the group
	RightMCP    = "mcp"    // a server with the tools of Hash may be used
	RightChat   = "chat"   // an address that no group has may be written to
	RightToken  = "token"  // a program that has the token of this Hash may speak in the group, as Subject
	RightFolder = "folder" // the settings in a folder, with this Hash, may be obeyed
)

var rightKinds = []string{RightSender, RightEgress, RightMCP, RightChat, RightFolder, RightToken}

// Over says that a right's time has come to its end.
func (r Right) Over(now time.Time) bool { return !r.Until.IsZero() && !now.Before(r.Until) }

// Allow keeps a right, with the audit entry, and gives its id. One that is there
// already for the same kind, group and subject is replaced and keeps its id; if
// nothing about it is new, nothing is written. So the same answer counts once,
// however often it is carried out.
func (s *Store) Allow(ctx context.Context, r Right, e audit.Entry) (int64, error) {
	if !slices.Contains(rightKinds, r.Kind) || r.Subject == "" || r.By == "" {
		return 0, fmt.Errorf("a right needs a kind (%q), a subject and who allowed it: %+v", rightKinds, r)
	}
	if r.At.IsZero() {
		r.At = s.now()
	}
	id := int64(0)
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		err := t.row(ctx, []any{&id}, `SELECT id FROM rights WHERE kind = ? AND grp = ? AND subject = ? AND hash = ? AND until = ? AND by = ? AND origin = ?`,
			r.Kind, r.Group, r.Subject, r.Hash, nanos(r.Until), r.By, r.From)
		if err == nil || !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		err = t.row(ctx, []any{&id}, `INSERT INTO rights (kind, grp, subject, hash, until, by, origin, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (kind, grp, subject) DO UPDATE SET hash = excluded.hash, until = excluded.until, by = excluded.by, origin = excluded.origin, at = excluded.at
			RETURNING id`, r.Kind, r.Group, r.Subject, r.Hash, nanos(r.Until), r.By, r.From, r.At.UnixNano())
		if err != nil {
			return err
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return 0, fmt.Errorf("keep a right to %s: %w", r.Subject, err)
	}
	return id, nil
}

// Disallow takes a right back, with the audit entry. It is ErrNotFound if there
// is none of that id.
func (s *Store) Disallow(ctx context.Context, id int64, e audit.Entry) error {
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		res, err := t.exec(ctx, `DELETE FROM rights WHERE id = ?`, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrNotFound)
		}
		return addEntry(ctx, t, e)
	})
	if err != nil {
		return fmt.Errorf("take back right %d: %w", id, err)
	}
	return nil
}

// Rights lists all of them, those whose time is over included, oldest first.
func (r *Reader) Rights(ctx context.Context) ([]Right, error) {
	var out []Right
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		var right Right
		var until, at sql.NullInt64
		err := rows.Scan(&right.ID, &right.Kind, &right.Group, &right.Subject, &right.Hash, &until, &right.By, &right.From, &at)
		right.Until, right.At = fromNanos(until), fromNanos(at)
		out = append(out, right)
		return err
	}, `SELECT id, kind, grp, subject, hash, until, by, origin, at FROM rights ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list the rights: %w", explain(r.path, err))
	}
	return out, nil
}

// nanos is a time as it is stored, 0 for none.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
