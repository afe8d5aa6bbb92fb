package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// noon is when all tests happen.
var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func openTest(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := openAs(t, dir, Options{Now: func() time.Time { return noon }, Owner: "us"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func newStore(t testing.TB) *Store { return openTest(t, t.TempDir()) }

func message(id, text string) chat.Inbound {
	return chat.Inbound{
		From:   chat.Address{Channel: "console", Chat: "main"},
		ID:     chat.MessageID(id),
		Sender: chat.Sender{ID: "owner", Owner: true},
		Text:   text,
		Sent:   noon,
	}
}

func accept(t testing.TB, s *Store, g chat.Group, id string, a router.Action) router.Accepted {
	t.Helper()
	acc, err := s.Accept(t.Context(), message(id, "text of "+id), router.Verdict{Group: g, Action: a, Reason: "test"}, 50, 100)
	if err != nil {
		t.Fatal(err)
	}
	return acc
}

func claim(t testing.TB, s *Store, g chat.Group, run chat.RunID) *queue.Job {
	t.Helper()
	j, err := s.Claim(t.Context(), g, run, noon)
	if err != nil {
		t.Fatal(err)
	}
	if j == nil {
		t.Fatalf("nothing to claim for %s", g)
	}
	return j
}

// bring makes a run in a state by the usual way.
func bring(t testing.TB, s *Store, run chat.RunID, to runner.State) {
	t.Helper()
	accept(t, s, "main", "for "+string(run), router.Run)
	claim(t, s, "main", run)
	if to == runner.Queued {
		return
	}
	ctx := t.Context()
	check(t, s.Start(ctx, run, runner.Start{Mode: "host", Agent: "claude", Session: "s1", At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted, Group: "main", Run: run}))
	if to == runner.Starting {
		return
	}
	check(t, s.Running(ctx, run))
	if to == runner.Running {
		return
	}
	check(t, s.Finish(ctx, run, runner.Outcome{State: to, At: noon}, ended(run, to)))
}

func ended(run chat.RunID, st runner.State) audit.Entry {
	return audit.Entry{At: noon, Kind: audit.RunEnded, Group: "main", Run: run, Data: audit.RunEndedData{State: string(st)}}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// one reads a single value by SQL.
func one[T any](t testing.TB, s *Store, query string, args ...any) T {
	t.Helper()
	var v T
	if err := s.Reader.db.QueryRowContext(context.Background(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func kinds(t testing.TB, s *Store) []audit.Kind {
	t.Helper()
	var out []audit.Kind
	for r, err := range s.Rows(t.Context(), audit.Filter{}) {
		check(t, err)
		out = append(out, r.Kind)
	}
	return out
}

func TestPathOfAMessage(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	accept(t, s, "main", "m1", router.Context)
	accept(t, s, "main", "m2", router.Run)
	groups, err := s.Waiting(ctx)
	check(t, err)
	if diff := cmp.Diff([]chat.Group{"main"}, groups); diff != "" {
		t.Fatal(diff)
	}
	job := claim(t, s, "main", "r1")
	want := &queue.Job{Run: "r1", Group: "main", Claimed: noon, Fence: 1, Messages: []queue.Message{
		{Row: 1, Inbound: message("m1", "text of m1")},
		{Row: 2, Inbound: message("m2", "text of m2"), Trigger: true},
	}}
	if diff := cmp.Diff(want, job); diff != "" {
		t.Fatal(diff)
	}
	check(t, s.Start(ctx, "r1", runner.Start{Mode: "host", Agent: "claude", Session: "s1", At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted, Group: "main", Run: "r1", Session: "s1"}))
	check(t, s.Running(ctx, "r1"))
	reply := chat.Outbound{To: chat.Address{Channel: "console", Chat: "main"}, Kind: chat.Reply, Text: "hello", Run: "r1", Group: "main", Key: "r1/1", Last: true}
	check(t, s.Finish(ctx, "r1", runner.Outcome{State: runner.Succeeded, At: noon, Replies: []chat.Outbound{reply}, AgentSession: "abc", CostUSD: 0.5, InputTokens: 7, OutputTokens: 8, ToolCalls: 2}, ended("r1", runner.Succeeded)))

	due, err := s.Due(ctx, noon, 10)
	check(t, err)
	if len(due) != 1 || due[0].Text != "hello" || due[0].ID == 0 || !due[0].Last {
		t.Fatalf("due: %+v", due)
	}
	check(t, s.Sending(ctx, due[0].ID, noon))
	check(t, s.Sent(ctx, due[0].ID, "net-1", noon))

	st, err := s.Remembered(ctx, "main", "")
	check(t, err)
	if diff := cmp.Diff(runner.Remembered{AgentSession: "abc"}, st); diff != "" {
		t.Error(diff)
	}
	if ran, err := s.RanClaude(ctx, "main"); err != nil || !ran {
		t.Errorf("the group ran claude: %v, %v", ran, err)
	}
	info, err := s.Run(ctx, "r1")
	check(t, err)
	wantInfo := RunInfo{Row: 1, ID: "r1", Group: "main", State: runner.Succeeded, Mode: "host", Agent: "claude", Session: "s1",
		Queued: noon, Started: noon, Ended: noon, Owner: "us", Fence: 1, Beat: noon, CostUSD: 0.5, InputTokens: 7, OutputTokens: 8, ToolCalls: 2}
	if diff := cmp.Diff(wantInfo, info); diff != "" {
		t.Error(diff)
	}
	wantKinds := []audit.Kind{audit.Inbound, audit.Inbound, audit.RunStarted, audit.RunEnded, audit.Outbox, audit.Delivered}
	if diff := cmp.Diff(wantKinds, kinds(t, s)); diff != "" {
		t.Error(diff)
	}
	status, err := s.Status(ctx)
	check(t, err)
	if diff := cmp.Diff(Status{Unsigned: 6}, status); diff != "" {
		t.Error(diff)
	}
}

func TestAcceptIsIdempotent(t *testing.T) {
	s := newStore(t)
	first := accept(t, s, "main", "m1", router.Run)
	again := accept(t, s, "other", "m1", router.Refuse)
	if !first.Fresh || again.Fresh || first.Row != again.Row {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if n := len(kinds(t, s)); n != 1 {
		t.Errorf("%d audit entries for one message", n)
	}
	if g := one[string](t, s, `SELECT grp FROM inbox`); g != "main" {
		t.Errorf("the second delivery changed the group to %s", g)
	}
}

func TestAcceptRefusesAMessageWithoutIdentity(t *testing.T) {
	s := newStore(t)
	for _, in := range []chat.Inbound{{}, {ID: "x"}, {From: chat.Address{Channel: "c", Chat: "d"}}} {
		if _, err := s.Accept(t.Context(), in, router.Verdict{Action: router.Run}, 1, 1); err == nil {
			t.Errorf("%+v was stored", in)
		}
	}
}

func TestContextIsBounded(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	for i := range 10 {
		_, err := s.Accept(ctx, message(fmt.Sprint(i), fmt.Sprint(i)), router.Verdict{Group: "main", Action: router.Context}, 3, 10)
		check(t, err)
	}
	accept(t, s, "main", "go", router.Run)
	var texts []string
	j := claim(t, s, "main", "r1")
	for _, m := range j.Messages {
		texts = append(texts, m.Text)
	}
	if j.Pushed != 7 {
		t.Errorf("%d were pushed out, and the agent is told of %d", 7, j.Pushed)
	}
	if diff := cmp.Diff([]string{"7", "8", "9", "text of go"}, texts); diff != "" {
		t.Error(diff)
	}
}

func TestQueueIsBounded(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	var got []router.Accepted
	for i := range 4 {
		acc, err := s.Accept(ctx, message(fmt.Sprint(i), "x"), router.Verdict{Group: "main", Action: router.Run}, 3, 2)
		check(t, err)
		got = append(got, acc)
	}
	want := []router.Accepted{{Row: 1, Fresh: true}, {Row: 2, Fresh: true}, {Row: 3, Fresh: true, Full: true}, {Row: 4, Fresh: true, Full: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(claim(t, s, "main", "r1").Messages); n != 2 {
		t.Errorf("%d messages claimed, want 2", n)
	}
	if why := one[string](t, s, `SELECT reason FROM inbox WHERE id = 3`); why != "the queue of main is full: 2 messages wait already" {
		t.Errorf("reason %q", why)
	}
}

func TestUID(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := openTest(t, dir)
	for i, g := range []chat.Group{"main", "family", "work", "family"} {
		want := []int{7000, 7001, 7002, 7001}[i]
		if got, err := s.UID(ctx, g, 7000, 3); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", g, got, err, want)
		}
	}
	if _, err := s.UID(ctx, "late", 7000, 3); err == nil {
		t.Error("a uid was given twice")
	}
	if _, err := s.UID(ctx, "main", 9000, 3); err == nil {
		t.Error("a uid outside the range was given")
	}
	check(t, s.Close())
	s = openTest(t, dir)
	if got, err := s.UID(ctx, "work", 7000, 3); err != nil || got != 7002 {
		t.Errorf("after reopening: %d, %v", got, err)
	}
}

func TestHostRuns(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	for i, mode := range []string{"host", "container", "host", "host"} {
		run := chat.RunID(fmt.Sprint("r", i))
		accept(t, s, "g", fmt.Sprint(i), router.Run)
		claim(t, s, "g", run)
		at := noon.Add(time.Duration(i) * time.Hour)
		check(t, s.Start(ctx, run, runner.Start{Mode: mode, At: at}, audit.Entry{At: at, Kind: audit.RunStarted}))
		check(t, s.Finish(ctx, run, runner.Outcome{State: runner.Failed, At: at}, audit.Entry{At: at, Kind: audit.RunEnded}))
	}
	n, oldest, err := s.HostRuns(ctx, "g", noon.Add(time.Minute))
	if err != nil || n != 2 || !oldest.Equal(noon.Add(2*time.Hour)) {
		t.Errorf("%d since %v, %v", n, oldest, err)
	}
	if n, oldest, err = s.HostRuns(ctx, "other", noon); err != nil || n != 0 || !oldest.IsZero() {
		t.Errorf("other: %d, %v, %v", n, oldest, err)
	}
}

func TestMeta(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	if v, err := s.Meta(ctx, "uid.range"); v != "" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	check(t, s.SetMeta(ctx, "uid.range", "a"))
	check(t, s.SetMeta(ctx, "uid.range", "b"))
	if v, err := s.Meta(ctx, "uid.range"); v != "b" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

func TestOnAudit(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	var calls atomic.Int32
	s.OnAudit(func() { calls.Add(1) })
	check(t, s.Record(ctx, audit.Entry{Kind: audit.HostStarted}))
	check(t, s.SetMeta(ctx, "k", "v"))
	check(t, s.SetMeta(ctx, "k", "w")) // the call after a commit is over by now
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

func TestFilesAreTheOwners(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	accept(t, s, "main", "m1", router.Run)
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		fi, err := e.Info()
		check(t, err)
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", e.Name(), fi.Mode().Perm())
		}
	}
	if len(entries) != 4 { // file, log, index of the log, lock
		t.Errorf("%d files", len(entries))
	}
	check(t, s.Close())
	check(t, os.Chmod(filepath.Join(dir, FileName), 0o644))
	if _, err := Open(t.Context(), dir, Options{}); err == nil {
		t.Error("a store that others can read was opened")
	}
}
