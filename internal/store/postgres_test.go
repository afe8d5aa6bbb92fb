package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
	"nanoclaw/internal/store/storetest"
)

// onBoth are the tests that must hold on both engines: under their own names they
// run on SQLite, under TestOnPostgres on PostgreSQL.
var onBoth = map[string]func(*testing.T){
	"TestForTheHost": TestForTheHost, "TestAnAnswerIsDoneWithItsQuestion": TestAnAnswerIsDoneWithItsQuestion,
	"TestATaskIsDueOnce": TestATaskIsDueOnce, "TestATaskHasARunOfItsOwn": TestATaskHasARunOfItsOwn, "TestOverlap": TestOverlap, "TestAQueueThatIsFull": TestAQueueThatIsFull,
	"TestATaskThatFailsRests": TestATaskThatFailsRests, "TestALostRun": TestALostRun, "TestDropTask": TestDropTask, "TestTheLastTime": TestTheLastTime,
	"TestAStaleHolderChangesNothing":           TestAStaleHolderChangesNothing,
	"TestAStaleHoldersCostsCountForTheGroup":   TestAStaleHoldersCostsCountForTheGroup,
	"TestAnOldFenceIsRefused":                  TestAnOldFenceIsRefused,
	"TestBeatsKeepARun":                        TestBeatsKeepARun,
	"TestEraseTasks":                           TestEraseTasks,
	"TestModel":                                TestModel,
	"TestThreads":                              TestThreads,
	"TestRest":                                 TestRest,
	"TestNamedLeases":                          TestNamedLeases,
	"TestOneOfManyTakesALease":                 TestOneOfManyTakesALease,
	"TestOnlyTheSequencersHolderAppends":       TestOnlyTheSequencersHolderAppends,
	"TestPrune":                                TestPrune,
	"TestPruneAfterAClockThatWasAhead":         TestPruneAfterAClockThatWasAhead,
	"TestTheDatabaseHoldsTheMoves":             TestTheDatabaseHoldsTheMoves,
	"TestEffects":                              TestEffects,
	"TestOneSenderDoesNotFillTheQueue":         TestOneSenderDoesNotFillTheQueue,
	"TestPoison":                               TestPoison,
	"TestSaid":                                 TestSaid,
	"TestTrouble":                              TestTrouble,
	"TestAcceptIsIdempotent":                   TestAcceptIsIdempotent,
	"TestAcceptRefusesAMessageWithoutIdentity": TestAcceptRefusesAMessageWithoutIdentity,
	"TestAgentSession":                         TestAgentSession,
	"TestAuditRowsAreFixed":                    TestAuditRowsAreFixed,
	"TestCancelledChangesDoNothing":            TestCancelledChangesDoNothing,
	"TestClaimNeedsATrigger":                   TestClaimNeedsATrigger,
	"TestContextIsBounded":                     TestContextIsBounded,
	"TestCutOff":                               TestCutOff,
	"TestEndsBindTheRun":                       TestEndsBindTheRun,
	"TestEraseSender":                          TestEraseSender,
	"TestEraseSenderAtWork":                    TestEraseSenderAtWork,
	"TestErasedWithItsParts":                   TestErasedWithItsParts,
	"TestEverythingAtOnce":                     TestEverythingAtOnce,
	"TestExtend":                               TestExtend,
	"TestFate":                                 TestFate,
	"TestEntriesAreHeard":                      TestEntriesAreHeard,
	"TestFinishIsAllOrNothing":                 TestFinishIsAllOrNothing,
	"TestFinishOfAnInterruptedRunLosesNothing": TestFinishOfAnInterruptedRunLosesNothing,
	"TestHeldMessagesWaitForSomebody":          TestHeldMessagesWaitForSomebody,
	"TestHoldAndAnswer":                        TestHoldAndAnswer,
	"TestHostRuns":                             TestHostRuns,
	"TestJoin":                                 TestJoin,
	"TestJoinCounts":                           TestJoinCounts,
	"TestJoinedCount":                          TestJoinedCount,
	"TestKilledWriterLosesNothing":             TestKilledWriterLosesNothing,
	"TestLeasesEnd":                            TestLeasesEnd,
	"TestListRuns":                             TestListRuns,
	"TestLockHoldsInOneProcess":                TestLockHoldsInOneProcess,
	"TestLockNamesItsHolder":                   TestLockNamesItsHolder,
	"TestLockSurvivesARestart":                 TestLockSurvivesARestart,
	"TestMessagesThatComeTooFast":              TestMessagesThatComeTooFast,
	"TestMeta":                                 TestMeta,
	"TestOnAudit":                              TestOnAudit,
	"TestOneLiveRunForAGroup":                  TestOneLiveRunForAGroup,
	"TestOutboxIsAudited":                      TestOutboxIsAudited,
	"TestOutboxOrder":                          TestOutboxOrder,
	"TestOutboxTransitions":                    TestOutboxTransitions,
	"TestPathOfAMessage":                       TestPathOfAMessage,
	"TestPutIsIdempotent":                      TestPutIsIdempotent,
	"TestQuestionOfADeadRunIsWithdrawn":        TestQuestionOfADeadRunIsWithdrawn,
	"TestQuestionsSurviveAKill":                TestQuestionsSurviveAKill,
	"TestQueueIsBounded":                       TestQueueIsBounded,
	"TestReaderBesideAWriter":                  TestReaderBesideAWriter,
	"TestReceipt":                              TestReceipt,
	"TestReceiptHidesNothing":                  TestReceiptHidesNothing,
	"TestReceiptOfErasedWords":                 TestReceiptOfErasedWords,
	"TestRecover":                              TestRecover,
	"TestRefuseWaiting":                        TestRefuseWaiting,
	"TestRelease":                              TestRelease,
	"TestReservationsDoNotRace":                TestReservationsDoNotRace,
	"TestRights":                               TestRights,
	"TestRunReplies":                           TestRunReplies,
	"TestRunTransitions":                       TestRunTransitions,
	"TestRunningRecordsTogether":               TestRunningRecordsTogether,
	"TestStandingRunsAtOnce":                   TestStandingRunsAtOnce,
	"TestSettle":                               TestSettle,
	"TestSharedCommitsFailAlone":               TestSharedCommitsFailAlone,
	"TestStrangers":                            TestStrangers, "TestAddPast": TestAddPast, "TestAdopt": TestAdopt,
	"TestUID":                          TestUID,
	"TestUnholdDuringAnAttempt":        TestUnholdDuringAnAttempt,
	"TestUnknownRows":                  TestUnknownRows,
	"TestUnsaid":                       TestUnsaid,
	"TestUnsaidBehindHeld":             TestUnsaidBehindHeld,
	"TestVerifyFindsWhatSomebodyWrote": TestVerifyFindsWhatSomebodyWrote,
	"TestWaitingIsFair":                TestWaitingIsFair,
	"TestWordsAreData":                 TestWordsAreData,
}

// ofOne are the tests of one engine, with the reason.
var ofOne = map[string]string{
	"TestCheckFindsDamage":              "of SQLite's file",
	"TestClose":                         "of SQLite's files",
	"TestDamageAfterACrash":             "of SQLite's file",
	"TestEmptyFileIsANewStore":          "of SQLite's file",
	"TestEverySchemaComesUpToDate":      "of schemas before there was another engine",
	"TestFailedCommitIsToldToAll":       "breaks the commit in SQLite's way; TestServerGoesAway is its like",
	"TestFilesAreTheOwners":             "of SQLite's file",
	"TestHotQueriesDoNotSort":           "of SQLite's planner",
	"TestHotQueriesUseIndexes":          "of SQLite's planner",
	"TestMigrationsAreNumbered":         "of SQLite's header; TestBothSchemasAreTheSame is its like",
	"TestNewerSchemaInTheLog":           "of SQLite's file; TestPostgresIsRefused is its like",
	"TestOddFolderNames":                "of SQLite's file",
	"TestOnlyWhatMayWaitForTheDiskDoes": "of SQLite's log: PostgreSQL is always waited for",
	"TestPoolKeepsABoundedNumber":       "PostgreSQL's driver keeps them",
	"TestPoolKeepsNoComposedQuery":      "PostgreSQL's driver keeps them",
	"TestWhatEachPassAsksIsParsedOnce":  "of SQLite's parser",
	"TestTheDocumentHasTheMoves":        "of a document",
	"TestUnusableFilesAreLeftAlone":     "of SQLite's file",
	"TestOnPostgres":                    "runs the others",
	"TestEveryTestIsOfAnEngine":         "of no engine",
	"TestRebind":                        "of no engine",
}

// server is the one that the tests of this process share, and stores are the
// addresses on it that belong to their folders.
var (
	server = sync.OnceValues(storetest.Start)
	stores sync.Map
)

func postgres(t testing.TB) *storetest.Server {
	t.Helper()
	s, err := server()
	check(t, err)
	return s
}

// TestOnPostgres runs what must hold on both engines, and what is PostgreSQL's own,
// on a server that it starts.
func TestOnPostgres(t *testing.T) {
	pg := postgres(t)
	t.Cleanup(func() { check(t, pg.Remove()) })
	for name, test := range onBoth {
		t.Run(name, test)
	}
	for name, test := range onPostgres {
		t.Run(name, test)
	}
}

// onPG says that a test runs under TestOnPostgres.
func onPG(t testing.TB) bool { return strings.HasPrefix(t.Name(), "TestOnPostgres/") }

// databaseOf is the address of the store that belongs to a folder of a test: "" for
// the file in it, but under TestOnPostgres one of the server's.
func databaseOf(t testing.TB, dir string) string {
	t.Helper()
	if !onPG(t) {
		return ""
	}
	if address, ok := stores.Load(dir); ok {
		return address.(string)
	}
	address, err := postgres(t).Store(context.Background())
	check(t, err)
	stores.Store(dir, address)
	t.Cleanup(func() { check(t, postgres(t).Reuse(context.Background(), address)) })
	return address
}

// nothingIn has the store of a folder be one that was never opened. It is not used
// again.
func nothingIn(t testing.TB, dir string) (address string) {
	t.Helper()
	if onPG(t) {
		var err error
		address, err = postgres(t).Nothing(context.Background())
		check(t, err)
		stores.Store(dir, address)
	}
	return address
}

// openAs is Open on the engine of the test.
func openAs(t testing.TB, dir string, o Options) (*Store, error) {
	t.Helper()
	o.Database = databaseOf(t, dir)
	return Open(t.Context(), dir, o)
}

// readerAs is OpenReader on the engine of the test.
func readerAs(t testing.TB, dir string) (*Reader, error) {
	t.Helper()
	if database := databaseOf(t, dir); database != "" {
		return OpenDatabaseReader(t.Context(), database)
	}
	return OpenReader(t.Context(), dir)
}

// A test that is in neither list would hold on SQLite alone, and nobody would know.
func TestEveryTestIsOfAnEngine(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	check(t, err)
	for _, f := range files {
		file, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
		check(t, err)
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Test") || fn.Name.Name == "TestMain" {
				continue
			}
			if _, alone := ofOne[fn.Name.Name]; (onBoth[fn.Name.Name] != nil) == alone {
				t.Errorf("%s must be in one of the lists of postgres_test.go: in onBoth if it holds on both engines", fn.Name.Name)
			}
		}
	}
}

func TestRebind(t *testing.T) {
	for query, want := range map[string]string{
		`SELECT 1`:                               `SELECT 1`,
		`SELECT ?, ? WHERE x = ?`:                `SELECT $1, $2 WHERE x = $3`,
		`SELECT '?', ?, "a?b"`:                   `SELECT '?', $1, "a?b"`,
		`SELECT 'it''s ?', ? -- what?` + "\n, ?": `SELECT 'it''s ?', $1 -- what?` + "\n, $2",
		`SELECT /* ? */ ? /* ?`:                  `SELECT /* ? */ $1 /* ?`,
		`SELECT '?`:                              `SELECT '?`,
	} {
		if got := rebind(query); got != want {
			t.Errorf("%q became %q, want %q", query, got, want)
		}
	}
}

// onPostgres are the tests of PostgreSQL alone.
var onPostgres = map[string]func(*testing.T){
	"BothSchemasAreTheSame": bothSchemasAreTheSame,
	"PostgresIsRefused":     postgresIsRefused,
	"NodesShareAStore":      nodesShareAStore,
	"ServerGoesAway":        serverGoesAway,
}

// bothSchemasAreTheSame compares tables and columns of the two engines, and the number.
func bothSchemasAreTheSame(t *testing.T) {
	lite, err := Open(t.Context(), t.TempDir(), Options{})
	check(t, err)
	defer lite.Close()
	pg := newStore(t)
	columns := func(s *Store, query string) map[string]string {
		all := map[string]string{}
		check(t, each(t.Context(), s.Reader.db, func(rows *sql.Rows) error {
			var table, column, kind string
			err := rows.Scan(&table, &column, &kind)
			all[table+"."+column] = kind
			return err
		}, query))
		return all
	}
	want := columns(lite, `SELECT m.name, c.name, CASE c.type WHEN 'INTEGER' THEN 'bigint' WHEN 'REAL' THEN 'double precision' WHEN 'BLOB' THEN 'bytea' ELSE 'text' END
		FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE 'goose%'`)
	got := columns(pg, `SELECT table_name, column_name, CASE WHEN collation_name = 'C' OR data_type <> 'text' THEN data_type ELSE 'text without COLLATE "C"' END
		FROM information_schema.columns WHERE table_schema = current_schema() AND table_name NOT LIKE 'goose%' AND table_name <> 'marks'`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("SQLite has -, PostgreSQL +: each step in migrations needs its like in migrations/postgres\n%s", diff)
	}
	liteNewest, err := newestSchema(migrationFiles, "migrations")
	check(t, err)
	pgNewest, err := newestSchema(postgresFiles, postgresFolder)
	if err != nil || pgNewest != liteNewest {
		t.Errorf("the newest step is %d on SQLite, %d on PostgreSQL, %v", liteNewest, pgNewest, err)
	}
}

func postgresIsRefused(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	address := nothingIn(t, dir)
	run := func(query string) {
		cfg, err := parseDatabase(address)
		check(t, err)
		db := openPostgres(cfg, dialect{})
		_, err = db.ExecContext(ctx, query)
		check(t, err)
		check(t, db.Close())
	}
	refused := func(address, want string) {
		t.Helper()
		s, err := Open(ctx, dir, Options{Database: address})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	refused("mysql://u:hunter2@h/db", "postgres://")
	refused("postgres://u:hunter2@h:port/db", "address of the database")
	refused("postgres://u:hunter2@/db?host=%2Fnowhere", "cannot be reached")
	refused(strings.Replace(address, "nanoclaw@/postgres", "nanoclaw:hunter2@/none", 1), "createdb")
	run(`CREATE TABLE theirs (x int)`)
	refused(address, "another program")
	run(`DROP TABLE theirs`)
	s := openTest(t, dir)
	other, err := Open(ctx, t.TempDir(), Options{Database: address})
	var locked *LockedError
	if !errors.As(err, &locked) || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second process: %v, %v", other, err)
	}
	check(t, s.Close())
	run(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)`)
	refused(address, "schema 99")
}

// nodesShareAStore has several stores write to one database at once: each message is
// there once, ids grow with commits, and what one has stored the next one sees.
func nodesShareAStore(t *testing.T) {
	const nodes, messages = 3, 40
	ctx, address := t.Context(), databaseOf(t, t.TempDir())
	var all [nodes]*Store
	for i := range all {
		s, err := open(ctx, t.TempDir(), Options{Database: address, Owner: fmt.Sprint("node ", i)}, false)
		check(t, err)
		defer s.Close()
		all[i] = s
	}
	var done sync.WaitGroup
	var fresh atomic.Int64
	for _, s := range all {
		done.Go(func() {
			for m := range messages {
				id := fmt.Sprint(m) // every node is told of every message
				acc, err := s.Accept(ctx, message(id, id), router.Verdict{Group: "main", Action: router.Run}, 10, 0)
				if err != nil {
					t.Error(err)
				}
				if acc.Fresh {
					fresh.Add(1)
				}
			}
		})
	}
	done.Wait()
	if n := one[int64](t, all[0], `SELECT count(*) FROM inbox`); n != messages || fresh.Load() != n {
		t.Errorf("%d messages, stored %d times, want %d", n, fresh.Load(), messages)
	}
	won := 0
	for i, s := range all {
		j, err := s.Claim(ctx, "main", chat.RunID(fmt.Sprint("r", i)), noon)
		check(t, err)
		if j != nil {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d nodes claimed the group", won)
	}
	if fence, held, err := all[0].Acquire(ctx, "x", "node 0", time.Hour); !held || fence != 1 || err != nil {
		t.Errorf("%d, %v, %v", fence, held, err)
	}
	if _, held, err := all[1].Acquire(ctx, "x", "node 1", time.Hour); held || err != nil {
		t.Errorf("held twice, %v", err)
	}
}

// serverGoesAway stops the server and starts it again under load, once gently and once
// as a crash: every change waits for it, and each counts once.
func serverGoesAway(t *testing.T) {
	pg, err := storetest.Start() // its own: others use the common one
	check(t, err)
	t.Cleanup(func() { check(t, pg.Remove()) })
	address, err := pg.Store(t.Context())
	check(t, err)
	var mu sync.Mutex
	var told []string
	s, err := Open(t.Context(), t.TempDir(), Options{Database: address, OnLink: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprint(err != nil))
	}})
	check(t, err)
	defer s.Close()
	stop, count := make(chan bool), 0
	var done sync.WaitGroup
	done.Go(func() {
		for ; ; count++ {
			select {
			case <-stop:
				return
			default:
			}
			id := fmt.Sprint(count)
			acc, err := s.Accept(context.Background(), message(id, id), router.Verdict{Group: "main", Action: router.Run}, 10, 0)
			if err != nil || !acc.Fresh {
				t.Errorf("message %s: %+v, %v", id, acc, err)
				return
			}
		}
	})
	waitFor := func(n int) {
		for !t.Failed() && one[int](t, s, `SELECT count(*) FROM inbox`) < n {
			runtime.Gosched()
		}
	}
	for i, end := range []func() error{pg.Stop, pg.Crash} {
		waitFor(20 * (i + 1))
		check(t, end())
		check(t, pg.Run())
	}
	waitFor(one[int](t, s, `SELECT count(*) FROM inbox`) + 20)
	close(stop)
	done.Wait()
	if n := one[int](t, s, `SELECT count(*) FROM inbox`); n != count {
		t.Errorf("%d messages, stored %d times", n, count)
	}
	if n := one[int](t, s, `SELECT count(*) FROM audit`); n != count {
		t.Errorf("%d audit entries, %d messages", n, count)
	}
	mu.Lock()
	defer mu.Unlock()
	if all := strings.Join(told, " "); !strings.HasSuffix(all, "true false") {
		t.Errorf("told %s", all)
	}
}

// sqlOf writes a statement of a test in the words of the test's engine.
func sqlOf(t *testing.T, query string) string {
	if !onPG(t) {
		return query
	}
	if strings.HasPrefix(query, "DROP TRIGGER") {
		return `SET LOCAL session_replication_role = replica` // no triggers until the transaction ends
	}
	return strings.NewReplacer(`x''`, `''::bytea`, `x'00'`, `'\x00'::bytea`, `zeroblob(32)`, `decode(repeat('00', 32), 'hex')`).Replace(query)
}

// stored is all that a store has, as one text: the bytes of the files, or the rows
// of the tables.
func stored(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	if databaseOf(t, dir) == "" {
		names, err := filepath.Glob(filepath.Join(dir, FileName+"*"))
		check(t, err)
		for _, name := range names {
			f, err := os.ReadFile(name)
			check(t, err)
			b.Write(f)
		}
		return b.String()
	}
	cfg, err := parseDatabase(databaseOf(t, dir))
	check(t, err)
	db := openPostgres(cfg, dialect{})
	defer db.Close()
	var tables []string
	read := func(into func(string), query string) {
		check(t, each(t.Context(), db, func(rows *sql.Rows) error {
			var text string
			err := rows.Scan(&text)
			into(text)
			return err
		}, query))
	}
	read(func(s string) { tables = append(tables, s) }, `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`)
	for _, table := range tables {
		read(func(s string) { b.WriteString(s + "\n") }, `SELECT x::text FROM `+table+` x`)
	}
	return b.String()
}
