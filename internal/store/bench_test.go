package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"testing"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/store/storetest"
)

// BenchmarkAccept is how many messages a second become durable, each with its
// audit entry: from one channel that waits for each, and from many that share
// commits.
func BenchmarkAccept(b *testing.B) {
	for _, senders := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("%d at once", senders), func(b *testing.B) { benchAccept(b, newStore(b), senders) })
	}
}

// BenchmarkAcceptOnPostgres is the same on a server that does not wait for the disk:
// what the engine, its round trips and its lock cost.
func BenchmarkAcceptOnPostgres(b *testing.B) {
	pg, err := storetest.Start()
	check(b, err)
	b.Cleanup(func() { check(b, pg.Remove()) })
	for _, senders := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("%d at once", senders), func(b *testing.B) {
			address, err := pg.Nothing(b.Context())
			check(b, err)
			s, err := Open(b.Context(), b.TempDir(), Options{Database: address})
			check(b, err)
			defer s.Close()
			benchAccept(b, s, senders)
		})
	}
}

func benchAccept(b *testing.B, s *Store, senders int) {
	ctx := b.Context()
	var n atomic.Int64
	b.SetParallelism(senders) // times GOMAXPROCS
	b.ResetTimer()
	one := func() {
		i := n.Add(1)
		in := message(fmt.Sprint(i), "a message of usual length, some eighty characters of text in a chat, or so")
		if _, err := s.Accept(ctx, in, router.Verdict{Group: chat.Group(fmt.Sprint("g", i%64)), Action: router.Run}, 50, 0); err != nil {
			b.Error(err)
		}
	}
	if senders == 1 {
		for b.Loop() {
			one()
		}
	} else {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one()
			}
		})
	}
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkOpen is a start with an up-to-date store, and its end.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		s, err := Open(b.Context(), dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkClaim is one message's way through inbox and queue with a long history.
func BenchmarkClaim(b *testing.B) {
	s := newStore(b)
	ctx := b.Context()
	history(b, s, 100_000)
	i := 0
	for b.Loop() {
		i++
		g := chat.Group(fmt.Sprint("g", i%64))
		run := chat.RunID(fmt.Sprint("r", i))
		_, err := s.Accept(ctx, message(fmt.Sprint("m", i), "hello"), router.Verdict{Group: g, Action: router.Run}, 50, 100)
		check(b, err)
		_, err = s.Waiting(ctx)
		check(b, err)
		claim(b, s, g, run)
		check(b, s.Finish(ctx, run, failed, ended(run, failed.State)))
	}
}

// BenchmarkVerify100k checks a store's log of 100,000 entries, beside reading the
// same rows and hashing them once, without the tree.
func BenchmarkVerify100k(b *testing.B) {
	const n = 100_000
	s := newStore(b)
	ctx := b.Context()
	history(b, s, n)
	key, err := audit.OpenKey(b.TempDir())
	check(b, err)
	_, err = audit.NewSequencer(s, key, nil).Sequence(ctx)
	check(b, err)
	b.Run("store", func(b *testing.B) {
		for b.Loop() {
			rep, err := audit.Verify(ctx, s, key.Verifier)
			if err != nil || rep.Size != n {
				b.Fatal(rep, err)
			}
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
	b.Run("sha256", func(b *testing.B) {
		for b.Loop() {
			sum := sha256.New()
			for r, err := range s.Rows(ctx, audit.Filter{}) {
				check(b, err)
				sum.Write(r.Record())
				sum.Write(r.Payload)
			}
			sum.Sum(nil)
		}
	})
}

var failed = runner.Outcome{State: runner.Failed, At: noon}

// history fills the store with done messages and their entries.
func history(b *testing.B, s *Store, n int) {
	b.Helper()
	check(b, s.write(b.Context(), func(ctx context.Context, t *tx) error {
		for i := range n {
			m := message(fmt.Sprint("old", i), "a message of usual length, some eighty characters of text in a chat, or so")
			if _, err := t.exec(ctx, `INSERT INTO inbox (channel, chat, message, grp, state, trigger, reason, body, run, at)
				VALUES ('console', 'main', ?, ?, 'done', 1, '', '{}', ?, 0)`, m.ID, fmt.Sprint("g", i%64), fmt.Sprint("old", i)); err != nil {
				return err
			}
			if err := addEntry(ctx, t, audit.Entry{At: noon, Kind: audit.Inbound, Group: "main", Data: audit.InboundData{
				From: m.From, ID: m.ID, Sender: m.Sender, Text: m.Text, Verdict: "run", Reason: "the owner's own chat"}}); err != nil {
				return err
			}
		}
		return nil
	}))
}
