package store

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	diff "github.com/google/go-cmp/cmp"
)

// The document and the code have the same table, and it names methods that exist.
func TestTheDocumentHasTheMoves(t *testing.T) {
	text, err := os.ReadFile("../../docs/state-machine.md")
	check(t, err)
	var told []arrow
	for line := range strings.Lines(string(text)) {
		c := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(c) != 6 || strings.TrimSpace(c[0]) == "row" || strings.HasPrefix(c[0], "---") {
			continue
		}
		for i := range c {
			c[i] = strings.TrimSpace(c[i])
		}
		states := func(s string) string { return strings.ReplaceAll(s, ", ", "|") }
		told = append(told, arrow{c[0], states(c[1]), states(c[2]), c[3], strings.TrimPrefix(c[4], "–")})
		if c[5] == "" {
			t.Errorf("nothing is said of a crash: %s", line)
		}
	}
	if diff := diff.Diff(moves, told, diff.AllowUnexported(arrow{})); diff != "" {
		t.Errorf("docs/state-machine.md and moves differ:\n%s", diff)
	}
	for _, m := range moves {
		for by := range strings.SplitSeq(m.by, ", ") {
			if _, ok := reflect.TypeFor[*Store]().MethodByName(by); !ok {
				t.Errorf("there is no method %s", by)
			}
		}
	}
}

// Every pair of states of every table: the database takes what is in the table of
// moves and refuses all else, also what the code would not try.
func TestTheDatabaseHoldsTheMoves(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	rows := map[string]string{
		"inbox":     `INSERT INTO inbox (id, channel, chat, message, grp, state, trigger, reason, body, at) VALUES (1, 'c', 'c', 'm', 'g', '%s', 1, '', '{}', 0)`,
		"runs":      `INSERT INTO runs (row, id, grp, state, queued) VALUES (1, 'r', 'g', '%s', 0)`,
		"outbox":    `INSERT INTO outbox (id, key, channel, chat, kind, text, grp, run, failed, last, state, due, at) VALUES (1, 'k', 'c', 'c', 'reply', '', '', '', 0, 0, '%s', 0, 0)`,
		"questions": `INSERT INTO questions (id, code, hash, live, told, state, effect, since, until) VALUES (1, 'c', 'h', 0, 0, '%s', '{}', 0, 0)`,
	}
	tried := 0
	for of, insert := range rows {
		states := statesOf(of)
		for _, from := range states {
			for _, to := range append(slices.Clone(states), gone) {
				if from == to {
					continue
				}
				change := fmt.Sprintf(`UPDATE %s SET state = '%s'`, of, to)
				if to == gone {
					change = `DELETE FROM ` + of
				}
				tried++
				_ = s.write(ctx, func(ctx context.Context, x *tx) error {
					_, err := x.exec(ctx, fmt.Sprintf(insert, from))
					check(t, err)
					if _, err = x.exec(ctx, change); (err == nil) != may(of, from, to) {
						t.Errorf("%s from %s to %s: %v", of, from, to, err)
					}
					return errTried // nothing of it is kept
				})
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d pairs", tried)
	}
}

// statesOf are the states that a table knows.
func statesOf(of string) (out []string) {
	for _, m := range moves {
		if m.of == of {
			out = append(out, strings.Split(m.from+"|"+m.to, "|")...)
		}
	}
	slices.SortFunc(out, cmp.Compare[string])
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(s string) bool { return s == made || s == gone })
}
