package store

import (
	"context"
	"fmt"
	"testing"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// BenchmarkMessage is all that one message costs the store, from its coming in to its
// answer's going out, with little behind it and with much.
func BenchmarkMessage(b *testing.B) {
	for _, of := range []struct{ messages, groups int }{{1_000, 10}, {1_000_000, 10_000}} {
		b.Run(fmt.Sprintf("%d messages of %d groups", of.messages, of.groups), func(b *testing.B) {
			ctx, s := b.Context(), newStore(b)
			past(b, s, of.messages, of.groups)
			i := 0
			for b.Loop() {
				i++
				g, run := chat.Group(fmt.Sprint("g", i%of.groups)), chat.RunID(fmt.Sprint("r", i))
				_, err := s.Accept(ctx, message(fmt.Sprint("m", i), "hello"), router.Verdict{Group: g, Action: router.Run}, 50, 100)
				check(b, err)
				_, err = s.Waiting(ctx)
				check(b, err)
				claim(b, s, g, run)
				_, err = s.Opens(ctx)
				check(b, err)
				_, err = s.Remembered(ctx, g, "")
				check(b, err)
				_, err = s.Average(ctx, g)
				check(b, err)
				check(b, s.Start(ctx, run, runner.Start{At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted, Group: g, Run: run}))
				check(b, s.Running(ctx, run))
				answer := chat.Outbound{To: alice, Kind: chat.Reply, Text: "hello", Run: run, Group: g, Key: "run:" + string(run)}
				check(b, s.Finish(ctx, run, runner.Outcome{State: runner.Succeeded, At: noon, Replies: []chat.Outbound{answer}}, ended(run, runner.Succeeded)))
				due, err := s.Due(ctx, noon, 10)
				if err != nil || len(due) != 1 {
					b.Fatal(due, err)
				}
				check(b, s.Sending(ctx, due[0].ID, noon))
				check(b, s.Sent(ctx, due[0].ID, "n", noon))
				_, err = s.NextDue(ctx)
				check(b, err)
			}
		})
	}
}

// past is a long life: messages that were answered, each with its run, its answer and
// its entries.
func past(b *testing.B, s *Store, messages, groups int) {
	b.Helper()
	const each = `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) `
	check(b, s.write(b.Context(), func(ctx context.Context, t *tx) error {
		for _, q := range []string{
			`INSERT INTO inbox (channel, chat, message, grp, state, trigger, reason, body, run, at)
				SELECT 'old', 'chat', 'old' || i, 'g' || (i % ?), 'done', 1, '', '{"text":"a message of usual length"}', 'old' || i, 0 FROM n`,
			`INSERT INTO runs (id, grp, state, queued, started, ended, owner, fence) SELECT 'old' || i, 'g' || (i % ?), 'succeeded', 0, 0, 0, 'old', i FROM n`,
			`INSERT INTO outbox (key, channel, chat, kind, text, grp, run, failed, last, state, due, at, ended)
				SELECT 'old' || i, 'c', 'alice', 'reply', 'an answer of usual length', 'g' || (i % ?), 'old' || i, 0, 1, 'sent', 0, 0, 0 FROM n`,
			`INSERT INTO audit (at, kind, grp, run, session, payload, salt, commitment)
				SELECT 0, 'inbound', 'g' || (i % ?), 'old' || i, '', '{"text":"a message of usual length"}', zeroblob(16), zeroblob(32) FROM n`,
		} {
			if _, err := t.exec(ctx, each+q, messages, groups); err != nil {
				return err
			}
		}
		for _, q := range []string{`INSERT INTO groups (grp, fence) SELECT 'g' || i, 1000000 FROM n`, `INSERT INTO conversations (grp, thread, agent_session) SELECT 'g' || i, '', 'session' FROM n`} {
			if _, err := t.exec(ctx, each+q, groups); err != nil {
				return err
			}
		}
		return nil
	}))
	check(b, s.emptyLog(b.Context())) // as a life of many small commits would have left it
}
