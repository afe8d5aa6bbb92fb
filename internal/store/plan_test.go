package store

import (
	"database/sql"
	"strings"
	"testing"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/runner"
)

// Every statement of a day's work finds its rows by an index: none becomes
// slower because there is more history. The plan of what the writer prepared
// is read back from its own cache, so a new statement is tested as soon as
// something here runs it.
func TestHotQueriesUseIndexes(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	accept(t, s, "main", "context", "context")
	bring(t, s, "r1", runner.Running)
	check(t, move(t, s, "r1", "succeeded"))
	bring(t, s, "r2", runner.Queued)
	check(t, s.Release(ctx, "r2"))
	claim(t, s, "main", "r3")
	_, err := again(s).Recover(ctx, 3, noon)
	check(t, err)
	a, b := put(t, s, "a", alice), put(t, s, "b", bob)
	for _, err := range []error{
		s.Sending(ctx, a, noon), s.Retry(ctx, a, "", noon), s.Held(ctx, a), s.Unhold(ctx, alice),
		s.Sending(ctx, a, noon), s.Sent(ctx, a, "", noon), s.GiveUp(ctx, b, "", noon),
	} {
		check(t, err)
	}
	_, err = s.UID(ctx, "main", 1000, 10)
	check(t, err)
	key, err := audit.OpenKey(t.TempDir())
	check(t, err)
	_, err = audit.NewSequencer(s, key, nil).Sequence(ctx)
	check(t, err)
	_, err = s.Erase(ctx, []int64{1}, "test")
	check(t, err)

	queries := map[string]string{
		"Waiting": waitingQuery, "Due": dueQuery + inOrder, "NextDue": nextDueQuery, "HostRuns": hostRunsQuery,
		"live runs": liveRunsQuery + ` ORDER BY +row`, "Opens": opensQuery, "Average": averageQuery,
		"a run":    `SELECT ` + runColumns + ` FROM runs WHERE id = ?`,
		"messages": `SELECT ` + messageColumns + ` FROM inbox WHERE run = ? ORDER BY id`,
		"replies":  `SELECT id FROM outbox WHERE run <> '' AND run = ? ORDER BY id`,
		"hashes":   `SELECT pos, hash FROM audit_hash WHERE pos IN (1, 2, 3)`,
	}
	for kind, q := range ofAccount {
		queries["account "+kind] = q
	}
	queries["entries of a run"], _ = rowsQuery(audit.Filter{Run: "r1"})
	queries["entries after"], _ = rowsQuery(audit.Filter{After: 7, Limit: 10, Since: noon, Group: chat.Main})
	for q := range s.w.stmts {
		queries[q] = q
	}
	if len(queries) < 40 {
		t.Errorf("only %d statements", len(queries))
	}
	for name, q := range queries {
		for _, step := range plan(t, s, q) {
			if strings.HasPrefix(step, "SCAN") && !allowedScan(step) || strings.Contains(step, "AUTOMATIC") {
				t.Errorf("%s: %s\n%s", name, step, q)
			}
		}
	}
}

// allowedScan names what may be read whole: one-row tables, constant rows, the
// log itself where the question is about all of it, partial indexes that hold only
// what is open, and what a LIMIT inside bounds.
func allowedScan(step string) bool {
	for _, ok := range []string{"SCAN audit_head", "SCAN CONSTANT ROW", "SCAN (subquery", "SCAN reservations", "SCAN arrivals", "SCAN told", "USING INDEX runs_live", "USING INDEX inbox_open", "USING INDEX outbox_open", "USING INDEX outbox_ready"} {
		if strings.Contains(step, ok) {
			return true
		}
	}
	return false
}

func plan(t *testing.T, s *Store, query string) []string {
	t.Helper()
	for _, word := range []string{"BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK", "PRAGMA"} {
		if strings.HasPrefix(query, word) {
			return nil
		}
	}
	args := make([]any, strings.Count(query, "?"))
	for i := range args {
		args[i] = 1
	}
	var steps []string
	err := each(t.Context(), s.Reader.db, func(rows *sql.Rows) error {
		var id, parent, unused int
		var step string
		err := rows.Scan(&id, &parent, &unused, &step)
		steps = append(steps, step)
		return err
	}, `EXPLAIN QUERY PLAN `+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return steps
}

// The fields of Waiting's and Due's answers come in order without a sort of
// history; this is what their indexes are for.
func TestHotQueriesDoNotSort(t *testing.T) {
	s := newStore(t)
	for name, q := range map[string]string{"Due": dueQuery + inOrder, "messages": `SELECT id FROM inbox WHERE run = ? ORDER BY id`} {
		for _, step := range plan(t, s, q) {
			if strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s: %s", name, step)
			}
		}
	}
}
