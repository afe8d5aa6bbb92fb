package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// Every pair of run states: what is not an arrow of the picture is refused, with
// both names, and leaves nothing behind.
func TestRunTransitions(t *testing.T) {
	froms := []runner.State{runner.Queued, runner.Starting, runner.Running, runner.Succeeded, runner.Failed, runner.Cancelled}
	want := map[runner.State]string{
		runner.Queued:    "starting refused failed cancelled interrupted released",
		runner.Starting:  "running refused failed cancelled interrupted released",
		runner.Running:   "succeeded failed cancelled interrupted released",
		runner.Succeeded: "", runner.Failed: "", runner.Cancelled: "",
	}
	for _, from := range froms {
		for _, to := range []string{"starting", "running", "succeeded", "refused", "failed", "cancelled", "interrupted", "released", "queued"} {
			t.Run(fmt.Sprintf("%s to %s", from, to), func(t *testing.T) {
				s := newStore(t)
				bring(t, s, "r1", from)
				entries := len(kinds(t, s))
				err := move(t, s, "r1", to)
				if strings.Contains(" "+want[from]+" ", " "+to+" ") {
					check(t, err)
					return
				}
				var se *StateError
				if !errors.As(err, &se) {
					t.Fatalf("got %v", err)
				}
				if diff := cmp.Diff(&StateError{What: "run r1", Is: string(from), Want: to}, se); diff != "" {
					t.Error(diff)
				}
				if !strings.Contains(err.Error(), string(from)) || !strings.Contains(err.Error(), to) {
					t.Errorf("%q does not name both states", err)
				}
				if info, err := s.Run(t.Context(), "r1"); err != nil || info.State != from {
					t.Errorf("the run became %s, %v", info.State, err)
				}
				if n := len(kinds(t, s)); n != entries {
					t.Errorf("%d audit entries were left", n-entries)
				}
			})
		}
	}
}

func move(t *testing.T, s *Store, run chat.RunID, to string) error {
	ctx := t.Context()
	switch to {
	case "starting":
		return s.Start(ctx, run, runner.Start{At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted})
	case "running":
		return s.Running(ctx, run)
	case "released":
		return s.Release(ctx, run)
	}
	return s.Finish(ctx, run, runner.Outcome{State: runner.State(to), At: noon}, ended(run, runner.State(to)))
}

func TestUnknownRows(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	_, runErr := s.Run(ctx, "r0")
	for name, err := range map[string]error{
		"start": move(t, s, "r0", "starting"), "running": move(t, s, "r0", "running"), "finish": move(t, s, "r0", "failed"),
		"release": move(t, s, "r0", "released"), "read": runErr,
		"sending": s.Sending(ctx, 7, noon), "sent": s.Sent(ctx, 7, "", noon), "retry": s.Retry(ctx, 7, "", noon),
		"held": s.Held(ctx, 7), "give up": s.GiveUp(ctx, 7, "", noon),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOneLiveRunForAGroup(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	accept(t, s, "main", "1", router.Run)
	claim(t, s, "main", "r1")
	accept(t, s, "main", "2", router.Run)
	if j, err := s.Claim(ctx, "main", "r2", noon); j != nil || err != nil {
		t.Errorf("a second run was claimed: %+v, %v", j, err)
	}
	if g, err := s.Waiting(ctx); len(g) != 0 || err != nil {
		t.Errorf("waiting: %v, %v", g, err)
	}
	// The database holds it too, whatever the code does.
	err := s.write(ctx, func(ctx context.Context, tx *tx) error {
		_, err := tx.exec(ctx, `INSERT INTO runs (id, grp, state, queued) VALUES ('r9', 'main', 'running', 0)`)
		return err
	})
	if err == nil {
		t.Error("two live runs of a group were stored")
	}
	check(t, move(t, s, "r1", "failed"))
	if n := len(claim(t, s, "main", "r3").Messages); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestClaimNeedsATrigger(t *testing.T) {
	s := newStore(t)
	accept(t, s, "main", "1", router.Context)
	accept(t, s, "main", "2", router.Ignore)
	accept(t, s, "main", "3", router.Refuse)
	if j, err := s.Claim(t.Context(), "main", "r1", noon); j != nil || err != nil {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestWaitingIsFair(t *testing.T) {
	s := newStore(t)
	for i, g := range []chat.Group{"c", "a", "b", "a", "c"} {
		accept(t, s, g, fmt.Sprint(i), router.Run)
	}
	got, err := s.Waiting(t.Context())
	check(t, err)
	if diff := cmp.Diff([]chat.Group{"c", "a", "b"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRelease(t *testing.T) {
	for _, from := range []runner.State{runner.Queued, runner.Running} {
		t.Run(string(from), func(t *testing.T) {
			s := newStore(t)
			accept(t, s, "main", "context", router.Context)
			bring(t, s, "r1", from)
			check(t, s.Release(t.Context(), "r1"))
			info, err := s.Run(t.Context(), "r1")
			switch {
			case from == runner.Queued && !errors.Is(err, ErrNotFound):
				t.Errorf("the run is still there: %v", err)
			case from == runner.Running && info.State != runner.Interrupted:
				t.Errorf("the run is %s", info.State)
			}
			job := claim(t, s, "main", "r2")
			if len(job.Messages) != 2 || job.Messages[0].Trigger || !job.Messages[1].Trigger {
				t.Fatalf("messages %+v", job.Messages)
			}
			for _, m := range job.Messages {
				if m.Attempts != 0 {
					t.Errorf("message %d counts %d attempts", m.Row, m.Attempts)
				}
			}
		})
	}
}

func TestRecover(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := openTest(t, dir)
	accept(t, s, "main", "ctx", router.Context)
	bring(t, s, "r1", runner.Running)
	accept(t, s, "family", "f", router.Run)
	claim(t, s, "family", "r2") // queued
	out, err := s.Put(ctx, chat.Outbound{To: chat.Address{Channel: "c", Chat: "d"}, Kind: chat.Reply, Text: "x", Key: "k"}, noon)
	check(t, err)
	check(t, s.Sending(ctx, out.ID, noon))
	check(t, s.Close())

	for attempt := 1; ; attempt++ {
		s = openTest(t, dir)
		at := noon.Add(time.Minute)
		s.OnLost(func(l queue.Lost) chat.Outbound {
			return chat.Outbound{To: l.To, Kind: chat.Notice, Text: "given up: " + l.Text, Key: fmt.Sprint("lost:", l.Row), Failed: true}
		})
		back, err := again(s).Recover(ctx, 3, at)
		lost := back.Lost
		check(t, err)
		if attempt == 3 {
			want := []queue.Lost{
				{Row: 2, Run: "again2 0", Group: "main", To: message("", "").From, Text: "text of for r1"},
				{Row: 3, Run: "again2 1", Group: "family", To: message("", "").From, Text: "text of f"},
			}
			if diff := cmp.Diff(want, lost); diff != "" {
				t.Error(diff)
			}
			// Each chat is told in the same transaction: a crash after it loses no word.
			due, err := s.Due(ctx, at, 10)
			check(t, err)
			var told []string
			for _, d := range due {
				told = append(told, d.Text)
			}
			if diff := cmp.Diff([]string{"x", "given up: text of for r1", "given up: text of f"}, told); diff != "" {
				t.Error(diff)
			}
			break
		}
		if len(lost) != 0 {
			t.Fatalf("attempt %d: lost %+v", attempt, lost)
		}
		due, err := s.Due(ctx, at, 10)
		if err != nil || len(due) != 1 || due[0].Attempts != 1 {
			t.Fatalf("what was being sent is not due again: %+v, %v", due, err)
		}
		for i, g := range []chat.Group{"main", "family"} {
			job := claim(t, s, g, chat.RunID(fmt.Sprint("again", attempt, i)))
			for _, m := range job.Messages {
				if m.Attempts != attempt {
					t.Errorf("message %d: %d attempts, want %d", m.Row, m.Attempts, attempt)
				}
			}
		}
		check(t, s.Close())
	}
	if g, err := s.Waiting(ctx); len(g) != 0 || err != nil {
		t.Errorf("dead messages wait: %v, %v", g, err)
	}
	runs, err := s.ListRuns(ctx, RunFilter{})
	check(t, err)
	for _, r := range runs {
		if r.State != runner.Interrupted || r.Error == "" {
			t.Errorf("run %s is %s, %q", r.ID, r.State, r.Error)
		}
	}
	if len(runs) != 6 {
		t.Errorf("%d runs", len(runs))
	}
	n := 0
	for _, k := range kinds(t, s) {
		if k == audit.RunEnded {
			n++
		}
	}
	if n != 6 {
		t.Errorf("%d ends in the audit log, want 6", n)
	}
	// Nothing live is left, so nothing happens a second time.
	if back, err := again(s).Recover(ctx, 3, noon); err != nil || len(back.Runs)+len(back.Lost) != 0 {
		t.Errorf("second recovery: %+v, %v", back, err)
	}
}

func TestFinishOfAnInterruptedRunLosesNothing(t *testing.T) {
	s := newStore(t)
	bring(t, s, "r1", runner.Running)
	check(t, move(t, s, "r1", "interrupted"))
	if m := claim(t, s, "main", "r2").Messages; len(m) != 1 || m[0].Attempts != 1 {
		t.Errorf("%+v", m)
	}
}

func TestFinishIsAllOrNothing(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	bring(t, s, "r1", runner.Running)
	o := runner.Outcome{State: runner.Succeeded, At: noon, AgentSession: "new", Replies: []chat.Outbound{
		{To: chat.Address{Channel: "c", Chat: "d"}, Key: "1"},
		{To: chat.Address{Channel: "c", Chat: "d"}}, // no key: refused
	}}
	if err := s.Finish(ctx, "r1", o, ended("r1", runner.Succeeded)); err == nil {
		t.Fatal("a reply without a key was stored")
	}
	info, err := s.Run(ctx, "r1")
	check(t, err)
	st, err := s.Remembered(ctx, "main", "")
	check(t, err)
	if n := one[int](t, s, `SELECT count(*) FROM outbox`); n != 0 || info.State != runner.Running || st.AgentSession != "" || len(kinds(t, s)) != 2 {
		t.Errorf("%d replies, run %s, session %q, entries %v", n, info.State, st.AgentSession, kinds(t, s))
	}
}

func TestAgentSession(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	steps := []struct {
		o    runner.Outcome
		want string
	}{
		{runner.Outcome{AgentSession: "a"}, "a"},
		{runner.Outcome{}, "a"},
		{runner.Outcome{AgentSession: "b"}, "b"},
		{runner.Outcome{ForgetSession: true}, ""},
	}
	for i, step := range steps {
		run := chat.RunID(fmt.Sprint("r", i))
		bring(t, s, run, runner.Running)
		step.o.State, step.o.At = runner.Succeeded, noon
		check(t, s.Finish(ctx, run, step.o, ended(run, runner.Succeeded)))
		st, err := s.Remembered(ctx, "main", "")
		if err != nil || st.AgentSession != step.want {
			t.Errorf("step %d: %+v, %v", i, st, err)
		}
		if ran, err := s.RanClaude(ctx, "main"); err != nil || !ran {
			t.Errorf("step %d: the group ran claude: %v, %v", i, ran, err)
		}
	}
}

func TestListRuns(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	for i := range 4 {
		run := chat.RunID(fmt.Sprint("r", i))
		bring(t, s, run, runner.Running)
		if i < 3 {
			check(t, move(t, s, run, "succeeded"))
		}
	}
	tests := []struct {
		name   string
		filter RunFilter
		want   string
	}{
		{"all", RunFilter{}, "r3 r2 r1 r0"},
		{"live", RunFilter{Live: true}, "r3"},
		{"page", RunFilter{Before: 3, Limit: 1, Group: "main"}, "r1"},
		{"other group", RunFilter{Group: "x"}, ""},
	}
	for _, tc := range tests {
		runs, err := s.ListRuns(ctx, tc.filter)
		check(t, err)
		var ids []string
		for _, r := range runs {
			ids = append(ids, string(r.ID))
		}
		if got := strings.Join(ids, " "); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	msgs, err := s.RunMessages(ctx, "r1")
	if err != nil || len(msgs) != 1 || msgs[0].Text != "text of for r1" {
		t.Errorf("%+v, %v", msgs, err)
	}
}

// TestRunningRecordsTogether: what a run may not do is not recorded as done.
func TestRunningRecordsTogether(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	bring(t, s, "r1", runner.Queued)
	before := kinds(t, s)
	var no *StateError
	if err := s.Running(ctx, "r1", audit.Entry{At: noon, Kind: audit.SessionStarted, Run: "r1"}); !errors.As(err, &no) {
		t.Errorf("running without a start: %v", err)
	}
	if diff := cmp.Diff(before, kinds(t, s)); diff != "" {
		t.Error(diff)
	}
	check(t, s.Start(ctx, "r1", runner.Start{At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted, Run: "r1"}))
	check(t, s.Running(ctx, "r1", audit.Entry{At: noon, Kind: audit.SessionStarted, Run: "r1"}))
	if diff := cmp.Diff(append(before, audit.RunStarted, audit.SessionStarted), kinds(t, s)); diff != "" {
		t.Error(diff)
	}
}

// TestStandingRunsAtOnce: where the boundary stands already, a run is started and
// runs in one change, and remembers that its group's agent was Claude Code.
func TestStandingRunsAtOnce(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	bring(t, s, "r1", runner.Queued)
	check(t, s.Start(ctx, "r1", runner.Start{At: noon, Agent: "claude", Standing: true}, audit.Entry{At: noon, Kind: audit.RunStarted, Run: "r1"}))
	runs, err := s.ListRuns(ctx, RunFilter{})
	if err != nil || len(runs) != 1 || runs[0].State != runner.Running {
		t.Fatalf("%+v, %v; want one that runs", runs, err)
	}
	if ran, err := s.RanClaude(ctx, runs[0].Group); err != nil || !ran {
		t.Errorf("its group ran claude: %v, %v", ran, err)
	}
}
