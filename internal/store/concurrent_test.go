package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// Many channels, a queue, an outbox and a sequencer at once: every message is
// run once, nothing is lost, and the log verifies.
func TestEverythingAtOnce(t *testing.T) {
	const groups, each = 4, 25
	ctx, dir := t.Context(), t.TempDir()
	s := openTest(t, dir)
	key, err := audit.OpenKey(dir)
	check(t, err)
	seq := audit.NewSequencer(s, key, nil)
	var kicks atomic.Int32
	s.OnAudit(func() { kicks.Add(1) })

	var wg sync.WaitGroup
	var runs atomic.Int32
	var consumed sync.Map
	for g := range groups {
		name := chat.Group(fmt.Sprint("g", g))
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%s-%d", name, i)
				for range 2 { // each network delivers twice
					if _, err := s.Accept(ctx, message(id, id), router.Verdict{Group: name, Action: router.Run}, 10, 0); err != nil {
						t.Error(err)
					}
				}
			}
		})
		wg.Go(func() {
			for n := 0; n < each; {
				run := chat.RunID(fmt.Sprint("r", runs.Add(1)))
				job, err := s.Claim(ctx, name, run, noon)
				if err != nil {
					t.Error(err)
					return
				}
				if job == nil {
					continue
				}
				for _, m := range job.Messages {
					if _, twice := consumed.LoadOrStore(m.Text, run); twice {
						t.Errorf("%s ran twice", m.Text)
					}
				}
				n += len(job.Messages)
				reply := chat.Outbound{To: chat.Address{Channel: "c", Chat: chat.ChatID(name)}, Kind: chat.Reply, Text: "x", Key: string(run), Run: run, Group: name}
				if err := errors.Join(
					s.Start(ctx, run, runner.Start{Mode: "host", At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted, Group: name, Run: run}),
					s.Running(ctx, run),
					s.Finish(ctx, run, runner.Outcome{State: runner.Succeeded, At: noon, Replies: []chat.Outbound{reply}}, ended(run, runner.Succeeded)),
				); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	stop := make(chan struct{})
	var background sync.WaitGroup
	background.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := seq.Sequence(ctx); err != nil {
				t.Error(err)
			}
			if _, err := audit.Verify(ctx, s, key.Verifier); err != nil {
				t.Error(err)
			}
		}
	})
	background.Go(func() {
		for {
			list, err := s.Due(ctx, noon, 8)
			if err != nil {
				t.Error(err)
			}
			for _, p := range list {
				if err := errors.Join(s.Sending(ctx, p.ID, noon), s.Sent(ctx, p.ID, "n", noon)); err != nil {
					t.Error(err)
				}
			}
			if len(list) > 0 {
				continue
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	wg.Wait()
	close(stop)
	background.Wait()

	if n := one[int](t, s, `SELECT count(*) FROM inbox WHERE state = 'done'`); n != groups*each {
		t.Errorf("%d messages done, want %d", n, groups*each)
	}
	if n := one[int](t, s, `SELECT count(*) FROM outbox WHERE state <> 'sent'`); n != 0 {
		t.Errorf("%d replies not sent", n)
	}
	if kicks.Load() == 0 {
		t.Error("the sequencer was never told")
	}
	_, err = seq.Sequence(ctx)
	check(t, err)
	rep, err := audit.Verify(ctx, s, key.Verifier)
	if err != nil || rep.Unsequenced != 0 || rep.Size != one[int64](t, s, `SELECT count(*) FROM audit`) {
		t.Errorf("%+v, %v", rep, err)
	}
}

// Changes that share a commit fail one by one: a bad one takes nothing of the
// others with it, and has left nothing itself.
func TestSharedCommitsFailAlone(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	block := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // holds the writer, so that the others gather behind it
		check(t, s.write(ctx, func(context.Context, *tx) error { <-block; return nil }))
	})
	boom := errors.New("boom")
	var good, bad atomic.Int32
	for i := range 40 {
		wg.Go(func() {
			err := s.write(ctx, func(ctx context.Context, tx *tx) error {
				if _, err := tx.exec(ctx, `INSERT INTO meta (key, value) VALUES (?, '')`, fmt.Sprint(i)); err != nil {
					return err
				}
				if i%4 == 0 {
					return boom
				}
				return nil
			})
			switch {
			case err == nil:
				good.Add(1)
			case errors.Is(err, boom):
				bad.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	time.Sleep(10 * time.Millisecond) // only makes it likelier that they share
	close(block)
	wg.Wait()
	if n := one[int32](t, s, `SELECT count(*) FROM meta`); n != 30 || good.Load() != 30 || bad.Load() != 10 {
		t.Errorf("%d rows, %d good, %d bad", n, good.Load(), bad.Load())
	}
}

// A commit that fails as a whole is reported to everybody in it.
func TestFailedCommitIsToldToAll(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	err := s.write(ctx, func(ctx context.Context, tx *tx) error {
		_, err := tx.conn.ExecContext(ctx, `ROLLBACK`) // as SQLite does by itself on some errors
		return err
	})
	if err == nil {
		t.Error("a change whose transaction is gone succeeded")
	}
	check(t, s.SetMeta(ctx, "after", "works"))
	if v, err := s.Meta(ctx, "after"); v != "works" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}
