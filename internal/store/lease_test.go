package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// again is the store as the next process has it, after the one before died.
func again(s *Store) *Store {
	s.owner = newOwner()
	return s
}

// beside is the store as a process on another machine has it at the same time.
func beside(s *Store, owner string) *Store {
	s.alone = false
	return &Store{Reader: s.Reader, now: func() time.Time { return s.now() }, owner: owner, db: s.db, w: s.w}
}

// A holder that was frozen for longer than its lease finds, when it goes on, that it
// can change nothing: not its run, not the messages, not what is set aside for it,
// not what is remembered of the group, and it can say nothing in its name.
func TestAStaleHolderChangesNothing(t *testing.T) {
	acts := map[string]func(context.Context, *Store) error{
		"start":   func(ctx context.Context, s *Store) error { return move2(ctx, s, runner.Starting) },
		"running": func(ctx context.Context, s *Store) error { return s.Running(ctx, "r1") },
		"finish":  func(ctx context.Context, s *Store) error { return move2(ctx, s, runner.Succeeded) },
		"fail":    func(ctx context.Context, s *Store) error { return move2(ctx, s, runner.Failed) },
		"release": func(ctx context.Context, s *Store) error { return s.Release(ctx, "r1") },
		"hold": func(ctx context.Context, s *Store) error {
			return s.Hold(ctx, "r1", runner.Hold{Key: "k"}, audit.Entry{At: noon, Kind: audit.RunHeld})
		},
		"converse": func(ctx context.Context, s *Store) error {
			return s.Converse(ctx, "r1", runner.Conversation{Session: "stale"})
		},
		"join": func(ctx context.Context, s *Store) error {
			_, err := s.Join(ctx, "r1", nil, nil, audit.Entry{At: noon, Kind: audit.RunJoined})
			return err
		},
		"grow": func(ctx context.Context, s *Store) error {
			return s.Grow(ctx, "r1", runner.Reservation{Set: grant.Amount{Tokens: 1 << 40}})
		},
		"speak": func(ctx context.Context, s *Store) error {
			_, err := s.Put(ctx, chat.Outbound{To: alice, Kind: chat.Tool, Text: "stale", Run: "r1", Key: "stale"}, noon)
			return err
		},
		"ended": func(ctx context.Context, s *Store) error { return s.Ended(ctx, "main", "", "stale") },
		"told":  func(ctx context.Context, s *Store) error { return s.Told(ctx, "main", "", "stale") },
	}
	for _, at := range []runner.State{runner.Queued, runner.Running} {
		ctx, frozen := t.Context(), newStore(t)
		bring(t, frozen, "r1", at)
		other := beside(frozen, "other")
		now := noon
		frozen.now = func() time.Time { return now }
		if back, err := other.Recover(ctx, 3, now); err != nil || len(back.Runs) != 0 {
			t.Fatalf("a run was taken from a holder that lives: %+v, %v", back, err)
		}
		now = now.Add(LeaseTime)
		back, err := other.Recover(ctx, 3, now)
		if diff := cmp.Diff(queue.TakenBack{Runs: []chat.RunID{"r1"}}, back); diff != "" || err != nil {
			t.Fatal(diff, err)
		}
		job := claim(t, other, "main", "r2")
		if job.Fence != 2 {
			t.Errorf("the second claim is number %d", job.Fence)
		}
		check(t, other.Start(ctx, "r2", runner.Start{At: now}, audit.Entry{At: now, Kind: audit.RunStarted}))
		before := contents(t, frozen)
		for name, act := range acts {
			var lost *LostError
			if err := act(ctx, frozen); !errors.Is(err, queue.ErrLost) || !errors.As(err, &lost) || lost.Holder != "other" {
				t.Errorf("%s of a %s run by its stale holder: %v", name, at, err)
			}
		}
		if diff := cmp.Diff(before, contents(t, frozen)); diff != "" {
			t.Errorf("a stale holder changed:\n%s", diff)
		}
		check(t, other.Running(ctx, "r2"))
		check(t, other.Finish(ctx, "r2", runner.Outcome{State: runner.Succeeded, At: now}, ended("r2", runner.Succeeded)))
	}
}

// move2 is move for r1, by a holder that may be stale.
func move2(ctx context.Context, s *Store, to runner.State) error {
	if to == runner.Starting {
		return s.Start(ctx, "r1", runner.Start{At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted})
	}
	return s.Finish(ctx, "r1", runner.Outcome{State: to, At: noon, AgentSession: "stale"}, ended("r1", to))
}

// contents are all rows that a run has to do with.
func contents(t *testing.T, s *Store) (all []string) {
	t.Helper()
	for _, table := range []string{"inbox", "runs", "outbox", "groups", "meta", "reservations", "told", "audit"} {
		check(t, each(t.Context(), s.Reader.db, func(rows *sql.Rows) error {
			names, err := rows.Columns()
			check(t, err)
			values := make([]any, len(names))
			for i := range values {
				values[i] = new(any)
			}
			err = rows.Scan(values...)
			row := table
			for _, v := range values {
				row += fmt.Sprintf(" %v", *v.(*any))
			}
			all = append(all, row)
			return err
		}, `SELECT * FROM `+table+` ORDER BY 1`))
	}
	return all
}

// Even if a run could come back to an old owner, the number of its claim would not.
func TestAnOldFenceIsRefused(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	bring(t, s, "r1", runner.Running)
	check(t, s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := nextFence(ctx, t, "main")
		return err
	}))
	if err := s.Release(ctx, "r1"); !errors.Is(err, queue.ErrLost) {
		t.Errorf("got %v", err)
	}
}

func TestBeatsKeepARun(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	other := beside(s, "other")
	now := noon
	s.now = func() time.Time { return now }
	if held, err := s.Beat(ctx, "us"); held != nil || err != nil {
		t.Errorf("holds %v, %v", held, err)
	}
	bring(t, s, "r1", runner.Running)
	id := put(t, s, "k", alice)
	check(t, s.Sending(ctx, id, now))
	for range 5 {
		now = now.Add(LeaseTime - 1)
		held, err := s.Beat(ctx, "us")
		if diff := cmp.Diff([]chat.RunID{"r1"}, held); diff != "" || err != nil {
			t.Fatal(diff, err)
		}
		if back, err := other.Recover(ctx, 3, now); err != nil || len(back.Runs)+back.Sent != 0 {
			t.Fatalf("taken from a holder that beats: %+v, %v", back, err)
		}
	}
	now = now.Add(LeaseTime)
	if back, err := other.Recover(ctx, 3, now); err != nil || len(back.Runs) != 1 || back.Sent != 1 {
		t.Fatalf("%+v, %v", back, err)
	}
	if held, err := s.Beat(ctx, "us"); len(held) != 0 || err != nil {
		t.Errorf("still holds %v, %v", held, err)
	}
	// What it was sending is another's to send, and it cannot say what became of it.
	check(t, other.Sending(ctx, id, now))
	for name, err := range map[string]error{
		"sent": s.Sent(ctx, id, "n", now), "retry": s.Retry(ctx, id, "why", now), "given up": s.GiveUp(ctx, id, "why", now), "held": s.Held(ctx, id),
	} {
		if !errors.Is(err, queue.ErrLost) {
			t.Errorf("%s by the stale holder: %v", name, err)
		}
	}
	check(t, other.Sent(ctx, id, "n", now))
}

// What the agent of a run that was taken over still costs is money that was spent.
func TestAStaleHoldersCostsCountForTheGroup(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	bring(t, s, "r1", runner.Running)
	other := beside(s, "other")
	s.now = func() time.Time { return noon.Add(LeaseTime) }
	_, err := other.Recover(ctx, 3, noon)
	check(t, err)
	check(t, s.Spend(ctx, "r1", "main", "2026-05-01", Use{Model: "m", Output: 7}))
	costs, err := s.Costs(ctx, CostFilter{})
	if err != nil || len(costs) != 1 || costs[0].Group != "main" || costs[0].Sender != "" || costs[0].Output != 7 {
		t.Errorf("%+v, %v", costs, err)
	}
}

func TestNamedLeases(t *testing.T) {
	ctx, a := t.Context(), newStore(t)
	b := beside(a, "b")
	now := noon
	a.now = func() time.Time { return now }
	take := func(s *Store, wantFence int64, want bool) {
		t.Helper()
		fence, held, err := s.Acquire(ctx, "x", s.owner, time.Minute)
		if err != nil || held != want || held && fence != wantFence {
			t.Errorf("%s: %d, %v, %v; want %d, %v", s.owner, fence, held, err, wantFence, want)
		}
	}
	take(a, 1, true)
	take(b, 0, false)
	now = now.Add(59 * time.Second)
	take(a, 1, true) // renewed
	now = now.Add(59 * time.Second)
	take(b, 0, false)
	now = now.Add(2 * time.Second)
	take(b, 2, true)
	take(a, 0, false)
	check(t, a.ReleaseLease(ctx, "x", "us")) // not its own
	take(a, 0, false)
	check(t, b.ReleaseLease(ctx, "x", "b"))
	take(a, 3, true)
	// The process that has the store to itself waits for no dead one.
	b.alone = true
	take(b, 4, true)
}

func TestOneOfManyTakesALease(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	var work sync.WaitGroup
	var mu sync.Mutex
	n := 0
	for i := range 8 {
		node := beside(s, newOwner())
		work.Go(func() {
			_, held, err := node.Acquire(ctx, "x", node.owner, time.Minute)
			if err != nil {
				t.Error(i, err)
			}
			if held {
				mu.Lock()
				n++
				mu.Unlock()
			}
		})
	}
	work.Wait()
	if n != 1 {
		t.Errorf("%d hold the lease", n)
	}
}

// Who lost the sequencer's lease signs nothing more, whatever it read before.
func TestOnlyTheSequencersHolderAppends(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	other := beside(s, "other")
	key, err := audit.OpenKey(t.TempDir())
	check(t, err)
	accept(t, s, "main", "1", router.Run)
	_, _, err = other.Acquire(ctx, Sequencer, "other", time.Minute)
	check(t, err)
	if _, err := audit.NewSequencer(s, key, nil).Sequence(ctx); !errors.Is(err, queue.ErrLost) {
		t.Errorf("got %v", err)
	}
	if n, err := audit.NewSequencer(other, key, nil).Sequence(ctx); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
