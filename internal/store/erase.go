package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
)

// ErrAtWork refuses to erase messages that an agent is working on: they would come
// to it empty after a crash.
var ErrAtWork = errors.New("an agent is working on messages of this person")

// Erasure names what to erase: what a sender of a channel wrote.
type Erasure struct {
	Channel chat.ChannelID
	Sender  chat.SenderID
	// Group bounds it to one group, "" for all.
	Group chat.Group
	// Runs erases, beyond the person's own words, what agents said and did in the
	// runs that no other person began: replies, arguments of tools, questions.
	Runs bool
	// Try counts and changes nothing.
	Try bool
}

// Erased is how much was erased.
type Erased struct {
	Messages int // of the person
	Unasked  int // of these, how many waited for a run, which they no longer do
	Quotes   int // messages of others of which quoted words were taken out
	Entries  int // of the audit log
	Runs     int
	Replies  int // messages that went out
}

// EraseSender removes the words of a person from messages, from replies, and from
// the payloads of the audit log, and leaves an entry that says so. Which message
// there was, when, and what came of it stays, and the log, its exports and the
// receipts of runs still verify. ErrAtWork is in the error if nothing was done for
// that reason.
func (s *Store) EraseSender(ctx context.Context, e Erasure) (Erased, error) {
	var out Erased
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		out = Erased{}
		if err := s.eraseSender(ctx, t, e, &out); err != nil {
			return err
		}
		if e.Try {
			return errTried
		}
		return nil
	})
	if errors.Is(err, errTried) {
		return out, nil
	}
	if err != nil {
		return Erased{}, fmt.Errorf("erase what %s:%s wrote: %w", e.Channel, e.Sender, err)
	}
	return out, s.emptyLog(ctx)
}

// errTried undoes what was only tried.
var errTried = errors.New("only tried")

func (s *Store) eraseSender(ctx context.Context, t *tx, e Erasure, out *Erased) error {
	all, err := inboxOf(ctx, t, `SELECT id, state, run, body FROM inbox WHERE channel = ? AND (? = '' OR grp = ?)
		AND json_extract(body, '$.sender.id') = ?`, e.Channel, e.Group, e.Group, e.Sender)
	if err != nil {
		return err
	}
	for _, w := range all {
		if w.state == "claimed" {
			return fmt.Errorf("%w, in run %s", ErrAtWork, w.run)
		}
	}
	if err := eraseQuotes(ctx, t, e, all, out); err != nil {
		return err
	}
	if err := eraseMessages(ctx, t, all, out); err != nil {
		return err
	}
	tasks, err := eraseTasks(ctx, t, e)
	if err != nil {
		return err
	}
	if err := eraseName(ctx, t, e); err != nil {
		return err
	}
	ids, err := collect(ctx, t, `SELECT id FROM audit WHERE kind = 'inbound' AND payload IS NOT NULL AND (? = '' OR grp = ?)
		AND json_extract(payload, '$.from.channel') = ? AND json_extract(payload, '$.sender.id') = ?`, e.Group, e.Group, e.Channel, e.Sender)
	if err != nil {
		return err
	}
	ids = append(ids, tasks...)
	if e.Runs {
		more, err := eraseRuns(ctx, t, e, runsOf(all), out)
		if err != nil {
			return err
		}
		ids = append(ids, more...)
	}
	if ids, err = withParts(ctx, t, ids); err != nil {
		return err
	}
	erased, err := eraseEntries(ctx, t, ids)
	if err != nil {
		return err
	}
	out.Entries = len(erased)
	what := fmt.Sprintf("%d messages, %d quotes of them, %d replies", out.Messages, out.Quotes, out.Replies)
	brief := audit.OwnerActedData{Act: "erase", Target: string(e.Channel) + ":" + string(e.Sender), Detail: what}
	data := brief
	data.Entries = erased
	return addEntry(ctx, t, audit.Entry{At: s.now(), Kind: audit.OwnerActed, Group: e.Group, Data: data, Brief: brief})
}

// collect gives the ids that a query finds.
func collect(ctx context.Context, t *tx, query string, args ...any) ([]int64, error) {
	var out []int64
	err := each(ctx, t, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		out = append(out, id)
		return err
	}, query, args...)
	return out, err
}

// written is a message as it lies in the inbox.
type written struct {
	row   int64
	state string
	run   chat.RunID
	in    chat.Inbound
}

func inboxOf(ctx context.Context, t *tx, query string, args ...any) ([]written, error) {
	var out []written
	err := each(ctx, t, func(rows *sql.Rows) error {
		var w written
		var run sql.NullString
		var body string
		if err := rows.Scan(&w.row, &w.state, &run, &body); err != nil {
			return err
		}
		w.run = chat.RunID(run.String)
		if err := json.Unmarshal([]byte(body), &w.in); err != nil {
			return fmt.Errorf("%w: message %d cannot be read: %w", ErrCorrupt, w.row, err)
		}
		out = append(out, w)
		return nil
	}, query, args...)
	return out, err
}

// runsOf are the runs that worked on messages.
func runsOf(all []written) []chat.RunID {
	var runs []chat.RunID
	for _, w := range all {
		if w.run != "" && !slices.Contains(runs, w.run) {
			runs = append(runs, w.run)
		}
	}
	return runs
}

func putBody(ctx context.Context, t *tx, w written) error {
	body, err := json.Marshal(w.in)
	if err == nil {
		_, err = t.exec(ctx, `UPDATE inbox SET body = ? WHERE id = ?`, string(body), w.row)
	}
	return err
}

// eraseMessages takes the words out of the person's messages, and their name. What
// waited for a run waits no longer.
func eraseMessages(ctx context.Context, t *tx, all []written, out *Erased) error {
	for _, w := range all {
		if w.in.Text == "" && w.in.Quotes == nil && w.in.Sender.Name == "" {
			continue // erased before
		}
		w.in.Text, w.in.Quotes, w.in.Sender.Name, w.in.Ask = "", nil, "", chat.Ask{}
		if err := putBody(ctx, t, w); err != nil {
			return err
		}
		out.Messages++
		if w.state == waiting {
			out.Unasked++
		}
		if _, err := t.exec(ctx, `UPDATE inbox SET state = 'ignored', reason = 'its words were erased'
			WHERE id = ? AND (state = 'waiting' OR state = 'context' OR state = 'dead')`, w.row); err != nil {
			return err
		}
	}
	return nil
}

// eraseName takes the person's name out of what the owner decided about them. The
// decision stays, under the sender's id.
func eraseName(ctx context.Context, t *tx, e Erasure) error {
	all, err := strangers(ctx, t)
	if err != nil {
		return err
	}
	for _, who := range all {
		if who.Sender != string(e.Channel)+":"+string(e.Sender) || e.Group != "" && who.Group != e.Group || who.Name == "" {
			continue
		}
		who.Name = ""
		value, err := json.Marshal(who)
		if err == nil {
			_, err = t.exec(ctx, `UPDATE meta SET value = ? WHERE key = ?`, string(value), who.key())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eraseQuotes takes the person's words out of what others quoted of them in the
// same channel. A quote names its author as people see it, which proves nothing, so
// it is known by its words: those that stand in a message of the person.
func eraseQuotes(ctx context.Context, t *tx, e Erasure, theirs []written, out *Erased) error {
	quoting, err := inboxOf(ctx, t, `SELECT id, state, run, body FROM inbox WHERE channel = ? AND (? = '' OR grp = ?)
		AND json_extract(body, '$.sender.id') <> ? AND json_extract(body, '$.quotes') IS NOT NULL`, e.Channel, e.Group, e.Group, e.Sender)
	if err != nil {
		return err
	}
	for _, w := range quoting {
		n := 0
		for i, q := range w.in.Quotes {
			words := strings.TrimSpace(q.Text)
			if words != "" && slices.ContainsFunc(theirs, func(o written) bool { return strings.Contains(o.in.Text, words) }) {
				w.in.Quotes[i] = chat.Quote{Text: "(erased)", Forwarded: q.Forwarded}
				n++
			}
		}
		if n == 0 {
			continue
		}
		out.Quotes += n
		if err := putBody(ctx, t, w); err != nil {
			return err
		}
	}
	return nil
}

// ofRuns are the kinds of entry that hold what an agent said and did.
const ofRuns = `'tool.called', 'host_tool.called', 'mcp.called', 'agent.unasked', 'approval.asked', 'approval.ended'`

// eraseRuns takes the words out of what agents said and did in runs that nobody
// else began. It gives the audit entries that hold them. What is still to be
// delivered stays.
func eraseRuns(ctx context.Context, t *tx, e Erasure, runs []chat.RunID, out *Erased) ([]int64, error) {
	var ids []int64
	for _, run := range runs {
		var others int
		if err := t.row(ctx, []any{&others}, `SELECT count(*) FROM inbox WHERE run IS NOT NULL AND run = ? AND trigger = 1
			AND (channel <> ? OR json_extract(body, '$.sender.id') <> ?)`, run, e.Channel, e.Sender); err != nil {
			return nil, err
		}
		if others > 0 {
			continue
		}
		out.Runs++
		res, err := t.exec(ctx, `UPDATE outbox SET text = '' WHERE run <> '' AND run = ? AND text <> '' AND (state = 'sent' OR state = 'given_up')`, run)
		if err != nil {
			return nil, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return nil, err
		}
		out.Replies += int(n)
		more, err := collect(ctx, t, `SELECT id FROM audit WHERE run <> '' AND run = ? AND payload IS NOT NULL AND kind IN (`+ofRuns+`)`, run)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
	}
	return ids, nil
}

// emptyLog moves what the write-ahead log holds into the file, and empties it: the
// old words are in neither then. Free space of the file is overwritten as it
// becomes free (secure_delete).
func (s *Store) emptyLog(ctx context.Context) error {
	if s.postgres {
		return nil // its pages and logs are the server's, see docs/postgres.md
	}
	db, err := openWriter(s.path)
	if err != nil {
		return err
	}
	defer db.Close()
	var busy, pages, moved int
	if err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &moved); err != nil {
		return fmt.Errorf("the words are erased, but the log of %s could not be emptied: %w", s.path, explain(s.path, err))
	}
	if busy != 0 {
		return fmt.Errorf("the words are erased, but somebody reads %s: its log holds them until it is emptied; do this once more", s.path)
	}
	return nil
}
