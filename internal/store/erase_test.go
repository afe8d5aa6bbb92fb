package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// The words that each one wrote, so that a look at the file's bytes tells whose
// are left.
const (
	annsWords  = "canary-of-ann"
	bobsWords  = "canary-of-bob"
	toAnn      = "canary-to-ann"
	annsQuoted = "canary-of-ann in brief"
)

func from(group, id string, who chat.SenderID, text string, quotes ...chat.Quote) chat.Inbound {
	return chat.Inbound{From: chat.Address{Channel: "net", Chat: chat.ChatID(group)}, ID: chat.MessageID(id), Sender: chat.Sender{ID: who, Name: "name of " + string(who)}, Text: text, Quotes: quotes, Sent: noon}
}

// talk is a store in which Ann and Bob wrote, and agents answered.
func talk(t *testing.T, dir string) *Store {
	ctx, s := t.Context(), openTest(t, dir)
	say := func(g chat.Group, a router.Action, in chat.Inbound) {
		_, err := s.Accept(ctx, in, router.Verdict{Group: g, Action: a, Reason: "test"}, 50, 100)
		check(t, err)
	}
	run := func(g chat.Group, id chat.RunID) {
		claim(t, s, g, id)
		check(t, s.Start(ctx, id, runner.Start{Mode: "host", Agent: "claude", Session: "s1", At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted, Group: g, Run: id}))
		check(t, s.Running(ctx, id))
		check(t, s.Record(ctx, audit.Entry{At: noon, Kind: audit.ToolCalled, Group: g, Run: id, Data: audit.ToolCalledData{Tool: "Bash", Input: toAnn}}))
		check(t, s.Finish(ctx, id, runner.Outcome{State: runner.Succeeded, At: noon, Replies: []chat.Outbound{
			{To: chat.Address{Channel: "net", Chat: chat.ChatID(g)}, Kind: chat.Reply, Text: toAnn, Run: id, Group: g, Key: string(id)},
		}}, audit.Entry{At: noon, Kind: audit.RunEnded, Group: g, Run: id, Data: audit.RunEndedData{State: "succeeded"}}))
		due, err := s.Due(ctx, noon, 10)
		check(t, err)
		for _, m := range due {
			check(t, s.Sending(ctx, m.ID, noon))
			check(t, s.Sent(ctx, m.ID, "", noon))
		}
	}
	say("family", router.Context, from("family", "1", "ann", annsWords+" in brief and at length"))
	say("family", router.Run, from("family", "2", "ann", annsWords))
	run("family", "rann")
	say("family", router.Run, from("family", "3", "ann", annsWords))
	say("family", router.Run, from("family", "4", "bob", bobsWords, chat.Quote{Author: "name of ann", Text: annsQuoted}, chat.Quote{Text: "of somebody else"}))
	run("family", "rboth")
	say("work", router.Run, from("work", "5", "ann", annsWords))
	for _, who := range []chat.SenderID{"ann", "bob"} {
		check(t, s.NoteStranger(ctx, Stranger{Group: "family", Sender: "net:" + string(who), Name: "name of " + string(who)}))
	}
	return s
}

func sequence(t *testing.T, s *Store) *audit.Key {
	key, err := audit.OpenKey(t.TempDir())
	check(t, err)
	_, err = audit.NewSequencer(s, key, nil).Sequence(t.Context())
	check(t, err)
	return key
}

func TestEraseSender(t *testing.T) {
	ann := Erasure{Channel: "net", Sender: "ann"}
	tests := []struct {
		name string
		do   Erasure
		want Erased
		// gone and left are words that no file of the store holds afterwards, and
		// that one does.
		gone, left []string
	}{
		{"of all groups", ann, Erased{Messages: 4, Unasked: 1, Quotes: 1, Entries: 4}, []string{annsWords, "name of ann"}, []string{bobsWords, "name of bob", toAnn, "of somebody else"}},
		{"of one", Erasure{Channel: "net", Sender: "ann", Group: "work"}, Erased{Messages: 1, Unasked: 1, Entries: 1}, nil, []string{annsWords, bobsWords}},
		{"with the runs", Erasure{Channel: "net", Sender: "ann", Runs: true}, Erased{Messages: 4, Unasked: 1, Quotes: 1, Entries: 5, Runs: 1, Replies: 1}, []string{annsWords}, []string{bobsWords, toAnn}},
		{"only tried", Erasure{Channel: "net", Sender: "ann", Try: true}, Erased{Messages: 4, Unasked: 1, Quotes: 1, Entries: 4}, nil, []string{annsWords}},
		{"somebody of another channel", Erasure{Channel: "other", Sender: "ann"}, Erased{}, nil, []string{annsWords}},
		{"a pattern is no name", Erasure{Channel: "net", Sender: "%"}, Erased{}, nil, []string{annsWords}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, dir := t.Context(), t.TempDir()
			s := talk(t, dir)
			key := sequence(t, s)
			before := exportRun(t, s, key, audit.Filter{Run: "rann"})
			got, err := s.EraseSender(ctx, tt.do)
			check(t, err)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("erased (-want +got):\n%s", d)
			}
			_, err = audit.NewSequencer(s, key, nil).Sequence(ctx)
			check(t, err)
			if rep, err := audit.Verify(ctx, s, key.Verifier); err != nil || !tt.do.Try && rep.Erased != int64(tt.want.Entries) {
				t.Errorf("the log afterwards: %+v, %v", rep, err)
			}
			for name, file := range map[string][]byte{"one made before": before, "one made after": exportRun(t, s, key, audit.Filter{Run: "rann"})} {
				if _, err := audit.VerifyReceipt(bytes.NewReader(file), key.Verifier, func(audit.Row) {}); err != nil {
					t.Errorf("a receipt, %s: %v", name, err)
				}
			}
			if _, err := audit.VerifyExport(bytes.NewReader(exportRun(t, s, key, audit.Filter{})), key.Verifier); err != nil {
				t.Errorf("an export: %v", err)
			}
			checkEntry(t, s, tt.do, got)
			again, err := s.EraseSender(ctx, tt.do)
			if check(t, err); !tt.do.Try && (again.Messages != 0 || again.Entries != 0) {
				t.Errorf("once more: %+v", again)
			}
			checkBytes(t, dir, tt.gone, tt.left)
		})
	}
}

// checkEntry looks whether the log says what was erased.
func checkEntry(t *testing.T, s *Store, e Erasure, got Erased) {
	t.Helper()
	var last audit.OwnerActedData
	for r, err := range s.Rows(t.Context(), audit.Filter{Kinds: []audit.Kind{audit.OwnerActed}}) {
		check(t, err)
		check(t, json.Unmarshal(r.Payload, &last))
	}
	switch {
	case e.Try && last.Act != "":
		t.Errorf("what was only tried left the entry %+v", last)
	case !e.Try && (last.Act != "erase" || last.Target != string(e.Channel+":")+string(e.Sender) || len(last.Entries) != got.Entries):
		t.Errorf("the entry is %+v", last)
	}
}

// checkBytes looks into the store's files themselves, while it is open.
func checkBytes(t *testing.T, dir string, gone, left []string) {
	t.Helper()
	all := stored(t, dir)
	for _, w := range gone {
		if n := strings.Count(all, w); n > 0 {
			t.Errorf("%q is still there, %d times", w, n)
		}
	}
	for _, w := range left {
		if !strings.Contains(all, w) {
			t.Errorf("%q is gone", w)
		}
	}
}

// What an agent works on now is not erased, and neither is anything else then.
func TestEraseSenderAtWork(t *testing.T) {
	s := talk(t, t.TempDir())
	claim(t, s, "work", "rnow")
	got, err := s.EraseSender(t.Context(), Erasure{Channel: "net", Sender: "ann"})
	if !errors.Is(err, ErrAtWork) || !strings.Contains(err.Error(), "rnow") || got != (Erased{}) {
		t.Errorf("%+v, %v", got, err)
	}
	if n := one[int](t, s, `SELECT count(*) FROM inbox WHERE body LIKE '%`+annsWords+`%'`); n != 5 {
		t.Errorf("the words stand in %d messages, want 5", n)
	}
}
