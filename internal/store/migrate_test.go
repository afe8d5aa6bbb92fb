package store

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

var update = flag.Bool("update", false, "write the fixture of the newest schema if there is none")

// Each schema that was ever released lies in testdata as a dump with something
// in every table. It must come up to date with nothing lost. To add the dump of
// a new schema, run the test with -update; a released one is never written again.
func TestEverySchemaComesUpToDate(t *testing.T) {
	ctx := t.Context()
	newest, err := newestSchema(migrationFiles, "migrations")
	check(t, err)
	for _, v := range numbers(t) {
		t.Run(fmt.Sprint("schema ", v), func(t *testing.T) {
			fixture := filepath.Join("testdata", fmt.Sprintf("schema-%d.sql", v))
			if *update && v == newest {
				if _, err := os.Stat(fixture); err != nil {
					writeFixture(t, fixture)
				}
			}
			script, err := os.ReadFile(fixture)
			check(t, err)
			dir := t.TempDir()
			restore(t, dir, string(script))

			s := openTest(t, dir)
			if got := one[int64](t, s, `SELECT user_version FROM pragma_user_version`); got != newest {
				t.Errorf("schema %d, want %d", got, newest)
			}
			if diff := cmp.Diff(schemaOf(t, newStore(t)), schemaOf(t, s)); diff != "" {
				t.Errorf("not the schema of a new store:\n%s", diff)
			}
			job := claim(t, s, "main", "after")
			if len(job.Messages) != 2 || job.Messages[1].Text != "text of waiting" {
				t.Errorf("messages %+v", job.Messages)
			}
			if got := due(t, s, noon); got != "k1" {
				t.Errorf("due %q", got)
			}
			st, err := s.Remembered(ctx, "main", "")
			if err != nil || st.AgentSession != "abc" {
				t.Errorf("%+v, %v", st, err)
			}
			if ran, err := s.RanClaude(ctx, "main"); err != nil || !ran {
				t.Errorf("the group ran claude: %v, %v", ran, err)
			}
			if uid, err := s.UID(ctx, "main", 7000, 10); err != nil || uid != 7000 {
				t.Errorf("uid %d, %v", uid, err)
			}
			if v, err := s.Meta(ctx, "uid.range"); v != "7000+10" || err != nil {
				t.Errorf("meta %q, %v", v, err)
			}
			if v >= 3 {
				kept, _, err := s.Questions(ctx)
				check(t, err)
				rights, err := s.Rights(ctx)
				if err != nil || len(kept) != 1 || kept[0].Title != "words" || len(rights) != 1 || rights[0].Subject != "example.com:443" {
					t.Errorf("questions %+v, rights %+v, %v", kept, rights, err)
				}
			}
			if v >= 6 {
				if c, err := s.Task(ctx, "t1"); err != nil || c.Prompt != "words" || c.Next.IsZero() {
					t.Errorf("the task is %+v, %v", c, err)
				}
			}
			verifier, err := audit.ReadPublic(filepath.Join("testdata", fmt.Sprintf("schema-%d.pub", v)))
			check(t, err)
			rep, err := audit.Verify(ctx, s, verifier)
			if err != nil || rep.Size != 5 || rep.Erased != 1 || rep.Unsequenced != 2 {
				t.Errorf("%+v, %v", rep, err)
			}
		})
	}
}

// writeFixture dumps a store with something in every table.
func writeFixture(t *testing.T, path string) {
	ctx, s := t.Context(), newStore(t)
	bring(t, s, "r1", runner.Running)
	check(t, s.Finish(ctx, "r1", runner.Outcome{State: runner.Succeeded, At: noon, AgentSession: "abc"}, ended("r1", runner.Succeeded)))
	accept(t, s, "main", "context", router.Context)
	put(t, s, "k1", alice)
	_, err := s.UID(ctx, "main", 7000, 10)
	check(t, err)
	check(t, s.SetMeta(ctx, "uid.range", "7000+10"))
	// Without their audit entries, so that all fixtures have the same ones.
	check(t, s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO tasks (id, grp, state, next, body) VALUES ('t1', 'main', 'active', 1, '{"prompt":"words"}')`)
		if err == nil {
			_, err = t.exec(ctx, `INSERT INTO task_runs (task, due, state) VALUES ('t1', 1, 'succeeded')`)
		}
		return err
	}))
	check(t, s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO questions (code, hash, live, told, state, effect, since, until) VALUES ('k4m2-9x7a', 'h', 0, 1, 'open', '{"act":"chat","title":"words"}', 1, 2)`)
		if err == nil {
			_, err = t.exec(ctx, `INSERT INTO rights (kind, grp, subject, hash, until, by, origin, at) VALUES ('egress', 'main', 'example.com:443', '', 0, 'owner', 'console:main', 1)`)
		}
		return err
	}))
	key, err := audit.OpenKey(t.TempDir())
	check(t, err)
	_, err = audit.NewSequencer(s, key, nil).Sequence(ctx)
	check(t, err)
	accept(t, s, "main", "waiting", router.Run)
	_, err = s.Erase(ctx, []int64{1}, "fixture")
	check(t, err)
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(dump(t, s)), 0o644))
	check(t, os.WriteFile(strings.TrimSuffix(path, ".sql")+".pub", []byte(key.Public+"\n"), 0o644))
}

// dump writes a store as a script.
func dump(t *testing.T, s *Store) string {
	var b strings.Builder
	fmt.Fprintf(&b, "PRAGMA application_id = %d;\nPRAGMA user_version = %d;\n", applicationID, one[int64](t, s, `SELECT user_version FROM pragma_user_version`))
	var tables, rest []string
	check(t, each(t.Context(), s.Reader.db, func(rows *sql.Rows) error {
		var kind, name, text string
		err := rows.Scan(&kind, &name, &text)
		if kind == "table" {
			tables = append(tables, name)
			fmt.Fprintf(&b, "%s;\n", text)
		} else {
			rest = append(rest, text+";\n")
		}
		return err
	}, `SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY rowid`))
	for _, table := range tables {
		var cols []string
		check(t, each(t.Context(), s.Reader.db, func(rows *sql.Rows) error {
			var col string
			err := rows.Scan(&col)
			cols = append(cols, `quote("`+col+`")`)
			return err
		}, `SELECT name FROM pragma_table_info(?)`, table))
		check(t, each(t.Context(), s.Reader.db, func(rows *sql.Rows) error {
			var values string
			err := rows.Scan(&values)
			fmt.Fprintf(&b, "INSERT INTO %s VALUES (%s);\n", table, values)
			return err
		}, `SELECT `+strings.Join(cols, ` || ', ' || `)+` FROM `+table))
	}
	return b.String() + strings.Join(rest, "")
}

// restore makes a store's file from a script.
func restore(t *testing.T, dir, script string) {
	t.Helper()
	path := filepath.Join(dir, FileName)
	check(t, ensureFile(path))
	db, err := openWriter(path)
	check(t, err)
	_, err = db.ExecContext(context.Background(), script)
	check(t, err)
	check(t, db.Close())
}

// schemaOf gives the SQL of every table, index and trigger.
func schemaOf(t *testing.T, s *Store) map[string]string {
	t.Helper()
	schema := map[string]string{}
	check(t, each(t.Context(), s.Reader.db, func(rows *sql.Rows) error {
		var name, text string
		err := rows.Scan(&name, &text)
		schema[name] = text
		return err
	}, `SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'`))
	return schema
}

// numbers are those of all schemas, in order.
func numbers(t *testing.T) (out []int64) {
	t.Helper()
	files, err := migrationFiles.ReadDir("migrations")
	check(t, err)
	for _, f := range files {
		n, err := strconv.ParseInt(f.Name()[:5], 10, 64)
		if err != nil || len(out) > 0 && n <= out[len(out)-1] {
			t.Fatalf("%s has no number that follows those before: %v", f.Name(), err)
		}
		out = append(out, n)
	}
	return out
}

// Numbers grow, and each step says its own.
func TestMigrationsAreNumbered(t *testing.T) {
	files, err := migrationFiles.ReadDir("migrations")
	check(t, err)
	for i, n := range numbers(t) {
		f := files[i]
		text, err := migrationFiles.ReadFile("migrations/" + f.Name())
		check(t, err)
		if want := fmt.Sprintf("PRAGMA user_version = %d;", n); !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %s", f.Name(), want)
		}
		if strings.Contains(string(text), "+goose Down") {
			t.Errorf("%s has a way down: an older program refuses a newer store instead", f.Name())
		}
	}
}

func TestAuditRowsAreFixed(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	for i := range 3 {
		check(t, s.Record(ctx, audit.Entry{Kind: audit.OwnerActed, Group: chat.Group(fmt.Sprint("g", i)), Data: audit.OwnerActedData{Act: "secret"}}))
	}
	key, err := audit.OpenKey(t.TempDir())
	check(t, err)
	_, err = audit.NewSequencer(s, key, nil).Sequence(ctx)
	check(t, err)
	for _, q := range []string{
		`DELETE FROM audit`,
		`UPDATE audit SET kind = 'x' WHERE id = 1`,
		`UPDATE audit SET payload = '{}' WHERE id = 1`,
		`UPDATE audit SET payload = NULL WHERE id = 1`,
		`UPDATE audit SET payload = NULL, salt = NULL, at = 7 WHERE id = 1`,
		`INSERT INTO audit (id, at, kind, grp, run, session, commitment) VALUES (-1, 0, '', '', '', '', x'')`,
	} {
		if err := s.write(ctx, func(ctx context.Context, tx *tx) error { _, err := tx.exec(ctx, sqlOf(t, q)); return err }); err == nil {
			t.Errorf("%s was carried out", q)
		}
	}
	if n, err := s.Erase(ctx, []int64{2, 99}, "asked for"); n != 1 || err != nil {
		t.Errorf("erased %d, %v", n, err)
	}
	if n, err := s.Erase(ctx, []int64{2}, "again"); n != 0 || err != nil {
		t.Errorf("erased %d again, %v", n, err)
	}
	rep, err := audit.Verify(ctx, s, key.Verifier)
	if err != nil || rep.Erased != 1 || rep.Entries != 4 {
		t.Errorf("%+v, %v", rep, err)
	}
}

// An entry that is kept in parts stands behind them, and is erased with them.
func TestErasedWithItsParts(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	long := audit.RunStartedData{Grant: strings.Repeat("word ", audit.MaxPayload/2)}
	check(t, s.Record(ctx, audit.Entry{Kind: audit.OwnerActed}))
	check(t, s.Record(ctx, audit.Entry{Kind: audit.RunStarted, Data: long, Brief: audit.RunStartedData{Mode: "host"}}))
	kinds := func() (out []string) {
		for r, err := range s.Rows(ctx, audit.Filter{}) {
			check(t, err)
			out = append(out, fmt.Sprintf("%s %v", r.Kind, r.Erased()))
		}
		return out
	}
	want := "[owner.acted false part false part false part false part false part false part false run.started false]"
	if got := fmt.Sprint(kinds()); got != want {
		t.Fatalf("stored: %s", got)
	}
	n, err := s.Erase(ctx, []int64{8}, "asked for")
	check(t, err)
	want = "[owner.acted false part true part true part true part true part true part true run.started true owner.acted false]"
	if got := fmt.Sprint(kinds()); got != want || n != 7 {
		t.Errorf("erased %d: %s", n, got)
	}
}

// Tampering with the file itself, behind the triggers, is found by Verify.
func TestVerifyFindsWhatSomebodyWrote(t *testing.T) {
	attacks := map[string]struct {
		sql   string
		entry int64
	}{
		"payload":  {`UPDATE audit SET payload = '{"act":"nothing"}' WHERE id = 4`, 4},
		"group":    {`UPDATE audit SET grp = 'x' WHERE id = 4`, 4},
		"delete":   {`DELETE FROM audit WHERE id = 4`, 5},
		"insert":   {`INSERT INTO audit SELECT 0, at, kind, grp, run, session, payload, salt, commitment FROM audit WHERE id = 4`, 0},
		"renumber": {`UPDATE audit_leaf SET entry = 100 WHERE leaf = 3`, 4},
		"hash":     {`UPDATE audit_hash SET hash = zeroblob(32) WHERE pos = 0`, 1},
		"short":    {`UPDATE audit SET commitment = x'00' WHERE id = 4`, 4},
		"head":     {`UPDATE audit_head SET size = 3`, 0},
	}
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			ctx, s := t.Context(), newStore(t)
			for range 10 {
				check(t, s.Record(ctx, audit.Entry{Kind: audit.OwnerActed, Group: "main", Data: audit.OwnerActedData{Act: "something"}}))
			}
			key, err := audit.OpenKey(t.TempDir())
			check(t, err)
			_, err = audit.NewSequencer(s, key, nil).Sequence(ctx)
			check(t, err)
			_, err = audit.Verify(ctx, s, key.Verifier)
			check(t, err)
			check(t, s.write(ctx, func(ctx context.Context, tx *tx) error {
				for _, q := range []string{`DROP TRIGGER audit_no_delete`, `DROP TRIGGER audit_only_erase`, `DROP TRIGGER audit_in_order`, a.sql} {
					if _, err := tx.conn.ExecContext(ctx, sqlOf(t, q)); err != nil {
						return err
					}
				}
				return nil
			}))
			_, err = audit.Verify(ctx, s, key.Verifier)
			bad, ok := err.(*audit.BadError)
			if !ok {
				t.Fatalf("not found: %v", err)
			}
			if bad.Entry != a.entry {
				t.Errorf("entry %d named, want %d: %v", bad.Entry, a.entry, err)
			}
		})
	}
}
