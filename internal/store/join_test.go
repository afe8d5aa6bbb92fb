package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// A message that joins a run is the run's: counted, recorded, done with it. What
// the agent never saw waits again, as one that it was not given.
func TestJoin(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	bring(t, s, "r1", runner.Running)
	accept(t, s, "main", "before", router.Context)
	accept(t, s, "main", "more", router.Run)
	accept(t, s, "main", "after", router.Context)
	next, err := s.Next(ctx, "main")
	check(t, err)
	if len(next) != 2 || next[0].Text != "text of before" || next[1].Text != "text of more" {
		t.Fatalf("next %+v", next)
	}
	entry := audit.Entry{At: noon, Kind: audit.RunJoined, Run: "r1"}
	join := func(msgs []queue.Message) bool {
		ok, err := s.Join(ctx, "r1", msgs, nil, entry)
		check(t, err)
		return ok
	}
	if join(next[1:]) || join(append(next[:2:2], queue.Message{Row: 99})) {
		t.Error("others than the next joined")
	}
	if n := len(kinds(t, s)); !join(next) || len(kinds(t, s)) != n+1 {
		t.Error("the next did not join, or that is not recorded")
	}
	if again, err := s.Next(ctx, "main"); len(again) != 0 || err != nil {
		t.Errorf("next %+v, %v", again, err)
	}
	accept(t, s, "main", "unread", router.Run)
	unread, err := s.Next(ctx, "main")
	check(t, err)
	if !join(unread) {
		t.Fatal("the next did not join")
	}
	row := unread[len(unread)-1].Row
	check(t, s.Finish(ctx, "r1", runner.Outcome{State: runner.Cancelled, At: noon, Unread: []int64{row, 12345}}, ended("r1", runner.Cancelled)))
	job := claim(t, s, "main", "r2")
	if len(job.Messages) != 1 || job.Messages[0].Row != row || job.Messages[0].Again != 1 || job.Messages[0].Cut != "" || job.Messages[0].Attempts != 0 {
		t.Errorf("claimed %+v", job.Messages)
	}
	var state *StateError
	if _, err := s.Join(ctx, "r1", next, nil, entry); !errors.As(err, &state) {
		t.Errorf("joining a run that ended: %v", err)
	}
}

// Who joins a run counts as a run of its own where runs are counted.
func TestJoinedCount(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	accept(t, s, "main", "one", router.Run)
	claim(t, s, "main", "r1")
	check(t, s.Start(ctx, "r1", runner.Start{Mode: "host", Agent: "claude", At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted}))
	check(t, s.Running(ctx, "r1"))
	for _, id := range []string{"two", "three"} {
		accept(t, s, "main", id, router.Run)
	}
	next, err := s.Next(ctx, "main")
	check(t, err)
	if ok, err := s.Join(ctx, "r1", next, nil, audit.Entry{At: noon, Kind: audit.RunJoined}); !ok || err != nil {
		t.Fatalf("joined %v, %v", ok, err)
	}
	if n, _, err := s.HostRuns(ctx, "main", noon.Add(-time.Hour)); n != 3 || err != nil {
		t.Errorf("%d runs, %v; want 3", n, err)
	}
}

// A run that is cut off tells the next one what it had and where: also the first
// run of a conversation, and one in a conversation of its own.
func TestCutOff(t *testing.T) {
	for _, isolated := range []bool{false, true} {
		ctx, s := t.Context(), newStore(t)
		accept(t, s, "main", "one", router.Run)
		claim(t, s, "main", "r1")
		talk := runner.Conversation{Session: "abc", Isolated: isolated}
		check(t, s.Start(ctx, "r1", runner.Start{At: noon, Conversation: talk}, audit.Entry{At: noon, Kind: audit.RunStarted}))
		_, err := again(s).Recover(ctx, 3, noon)
		check(t, err)
		accept(t, s, "main", "two", router.Run)
		job := claim(t, s, "main", "r2")
		if job.Resume != "abc" || len(job.Messages) != 2 || job.Messages[0].Cut != "r1" || job.Messages[1].Cut != "" {
			t.Errorf("isolated %v: claimed %+v", isolated, job)
		}
		check(t, s.Release(ctx, "r2")) // before it began: nothing changes
		if job := claim(t, s, "main", "r3"); job.Resume != "abc" || job.Messages[0].Cut != "r1" || job.Messages[1].Cut != "" {
			t.Errorf("isolated %v: claimed again %+v", isolated, job)
		}
		want := "abc"
		if isolated {
			want = ""
		}
		st, err := s.Remembered(ctx, "main", "")
		check(t, err)
		if d := cmp.Diff(want, st.AgentSession); d != "" {
			t.Errorf("isolated %v: the group's session: %s", isolated, d)
		}
		talk.Session = "def"
		check(t, s.Start(ctx, "r3", runner.Start{At: noon, Conversation: runner.Conversation{Forget: true}}, audit.Entry{At: noon, Kind: audit.RunStarted}))
		if st, err = s.Remembered(ctx, "main", ""); st.AgentSession != "" || err != nil {
			t.Errorf("not forgotten: %+v, %v", st, err)
		}
		check(t, s.Converse(ctx, "r3", talk))
		if st, err = s.Remembered(ctx, "main", ""); (st.AgentSession == "def") == isolated || err != nil {
			t.Errorf("isolated %v: %+v, %v", isolated, st, err)
		}
	}
}
