package store

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"nanoclaw/internal/chat"
)

// News is that something was stored, by whichever process.
type News struct {
	// What names what to look at: "group", "outbox", "tasks", "audit", "rights" or
	// "meta". It is "" for everything: some news may have been missed.
	What string
	// Group is the group, where it is about one.
	Group chat.Group
}

// Listen calls f for what any process stores, until ctx ends. News are only a reason to
// look: one that is lost while the server cannot be reached is made up for by one
// about everything. In a store that one process has to itself there is no news.
func (s *Store) Listen(ctx context.Context, f func(News)) {
	for s.node != "" && ctx.Err() == nil {
		err := s.listen(ctx, f)
		if ctx.Err() != nil {
			return
		}
		s.onLink(err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (s *Store) listen(ctx context.Context, f func(News)) error {
	cfg := s.listening.Copy()
	for name, value := range pgCommon {
		cfg.RuntimeParams[name] = value
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it is over
	var schema string
	if err := conn.QueryRow(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `LISTEN `+pgx.Identifier{channelOf(schema)}.Sanitize()); err != nil {
		return err
	}
	s.onLink(nil)
	f(News{})
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		what, rest, _ := strings.Cut(n.Payload, " ")
		f(News{What: what, Group: chat.Group(rest)})
	}
}

// channelOf is the name under which a schema's news are told: a hash, since a schema's
// name may be as long as a channel's (63 bytes, NOTIFY).
func channelOf(schema string) string {
	return fmt.Sprintf("nanoclaw.%x", md5.Sum([]byte(schema)))
}

const postKey = "post:"

// Post leaves a text for another process, by the name under which it claims things. The
// news of it are about "meta". What a dead process did not take goes with it.
func (s *Store) Post(ctx context.Context, owner, text string) error {
	return s.SetMeta(ctx, postKey+owner+":"+rand.Text(), text)
}

// Posted takes what others left for this process.
func (s *Store) Posted(ctx context.Context) ([]string, error) {
	mine := postKey + s.owner
	var some bool
	err := s.Reader.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM meta WHERE key >= ? AND key < ?)`, mine+":", mine+";").Scan(&some)
	if err != nil || !some {
		return nil, explain(s.path, err)
	}
	var texts []string
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		texts = nil
		return each(ctx, t, func(rows *sql.Rows) error {
			var text string
			err := rows.Scan(&text)
			texts = append(texts, text)
			return err
		}, `DELETE FROM meta WHERE key >= ? AND key < ? RETURNING value`, mine+":", mine+";")
	})
	return texts, err
}

// MetaOnce remembers a value unless there is one, and gives what is remembered: of
// several processes that begin at once the same to all.
func (s *Store) MetaOnce(ctx context.Context, key, value string) (kept string, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.exec(ctx, `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING`, key, value); err != nil {
			return err
		}
		return t.row(ctx, []any{&kept}, `SELECT value FROM meta WHERE key = ?`, key)
	})
	if err != nil {
		return "", fmt.Errorf("remember %q: %w", key, err)
	}
	return kept, nil
}
