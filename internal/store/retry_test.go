package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

var family = chat.Address{Channel: "net", Chat: "family"}

func troubleAt(until time.Time) *runner.Trouble {
	return &runner.Trouble{
		Key: "model/", Class: agent.ClassRateLimit, Text: "the limit is reached", Since: noon, Until: until,
		Notices: []chat.Outbound{{To: family, Kind: chat.Notice, Text: "it waits", Group: "main"}},
	}
}

func notices(t *testing.T, s *Store) (out []string) {
	t.Helper()
	due, err := s.Due(t.Context(), noon.Add(1000*time.Hour), 100)
	check(t, err)
	for _, p := range due {
		out = append(out, p.To.String()+": "+p.Text)
	}
	return out
}

// A trouble is kept, tells each chat once, lets one try it at a time, and when it is
// over everything that waited goes on and each chat is told once more. All of it
// survives the process.
func TestTrouble(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := openTest(t, dir)
	reopen := func() {
		t.Helper()
		check(t, s.Close())
		s = openTest(t, dir)
	}
	meet := func(run chat.RunID, until time.Time) {
		t.Helper()
		check(t, s.Finish(ctx, run, runner.Outcome{State: runner.Failed, At: noon, Error: "limit", Trouble: troubleAt(until)}, ended(run, runner.Failed)))
		reopen()
	}
	far := time.Now().Add(100 * time.Hour)
	bring(t, s, "r1", runner.Running)
	meet("r1", far)
	if g, err := s.Waiting(ctx); err != nil || len(g) != 0 {
		t.Fatalf("waiting: %v, %v", g, err)
	}
	if at, err := s.Opens(ctx); err != nil || !at.Equal(far.UTC().Round(0)) {
		t.Errorf("it opens at %v, %v", at, err)
	}
	if found, err := s.TryNow(ctx, "model/"); !found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	now := time.Now().Add(time.Second)
	for i, want := range []bool{true, false} {
		if got, err := s.Try(ctx, "model/", now, now.Add(time.Minute)); got != want || err != nil {
			t.Errorf("try %d: %v, %v", i, got, err)
		}
	}
	m := claim(t, s, "main", "r2").Messages
	if len(m) != 1 || m[0].Attempts != 0 || m[0].Cut != "r1" {
		t.Fatalf("taken up again: %+v", m)
	}
	check(t, move(t, s, "r2", "starting"))
	check(t, move(t, s, "r2", "running"))
	second := troubleAt(far)
	second.Anew, second.Since = true, noon.Add(time.Hour)
	check(t, s.Finish(ctx, "r2", runner.Outcome{State: runner.Failed, At: noon, Error: "limit", Trouble: second}, ended("r2", runner.Failed)))
	reopen()
	all, err := s.Troubles(ctx)
	check(t, err)
	if len(all) != 1 || all[0].Tries != 2 || !all[0].Since.Equal(noon) {
		t.Errorf("troubles %+v", all)
	}
	if d := cmp.Diff([]string{"net:family: it waits"}, notices(t, s)); d != "" {
		t.Errorf("told (-want +got):\n%s", d)
	}
	if found, err := s.Over(ctx, "model/", "it goes again", noon); !found || err != nil {
		t.Fatalf("%v, %v", found, err)
	}
	if found, err := s.Over(ctx, "model/", "it goes again", noon); found || err != nil {
		t.Errorf("over twice: %v, %v", found, err)
	}
	reopen()
	if d := cmp.Diff([]string{"net:family: it waits", "net:family: it goes again"}, notices(t, s)); d != "" {
		t.Errorf("told (-want +got):\n%s", d)
	}
	if m := claim(t, s, "main", "r3").Messages; len(m) != 1 || m[0].Attempts != 0 || m[0].Again != 1 {
		t.Errorf("after it: %+v", m)
	}
}

// What an earlier run did is not done again by one that has the same messages: the
// same call as often as it was made, and no oftener. Others' calls are theirs.
func TestEffects(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := openTest(t, dir)
	hi, bye := Call{Tool: "send_message", Hash: "hi", Brief: "hi"}, Call{Tool: "send_message", Hash: "bye", Brief: "bye"}
	begin := func(run chat.RunID, c Call) Begun {
		t.Helper()
		b, err := s.BeginEffect(ctx, run, c)
		check(t, err)
		return b
	}
	crash := func() {
		t.Helper()
		check(t, s.Close())
		s = openTest(t, dir)
		_, err := again(s).Recover(ctx, queue.MaxAttempts, noon)
		check(t, err)
	}
	restart := func(run chat.RunID) {
		t.Helper()
		if claim(t, s, "main", run) == nil {
			t.Fatal("there is nothing to do")
		}
		check(t, move(t, s, run, "starting"))
		check(t, move(t, s, run, "running"))
	}
	bring(t, s, "r1", runner.Running)
	first, second := begin("r1", hi), begin("r1", hi)
	if first.Key == second.Key || first.Done || second.Done {
		t.Fatalf("two calls of one run: %+v, %+v", first, second)
	}
	check(t, s.EndEffect(ctx, first, true, "sent"))
	check(t, s.EndEffect(ctx, begin("r1", bye), false, "")) // certainly not done
	called := audit.Entry{Kind: audit.ToolCalled, Group: "main", Run: "r1", Data: audit.ToolCalledData{Tool: "mcp__shop__buy"}}
	for n := range maxCalls + 1 { // the host does not see what comes of them
		check(t, s.RecordCall(ctx, called, "mcp__shop__buy", fmt.Sprint("call ", n)))
	}
	crash()
	restart("r2")
	told, err := s.Effects(ctx, "r2")
	check(t, err)
	if len(told) != 2+maxCalls || !told[0].Sure || told[1].Sure || told[0].Brief != "hi" {
		t.Errorf("told %+v", told)
	} else if first, last := told[2], told[1+maxCalls]; first.Brief != "call 1" || last.Brief != fmt.Sprint("call ", maxCalls) || last.Sure || last.Tool != "mcp__shop__buy" {
		t.Errorf("told of calls from %+v to %+v", first, last)
	}
	var lost *LostError
	if err := s.RecordCall(ctx, called, "mcp__shop__buy", "by a run that was cut off"); err != nil && !errors.As(err, &lost) {
		t.Errorf("a call of a run that is over: %v", err)
	}
	if b := begin("r2", hi); !b.Done || b.Answer != "sent" || b.Key != first.Key {
		t.Errorf("the first again: %+v", b)
	}
	if b := begin("r2", bye); b.Done || b.Key == first.Key {
		t.Errorf("what did not happen: %+v", b)
	}
	crash() // in the middle of taking it up
	restart("r3")
	if b := begin("r3", hi); !b.Done {
		t.Errorf("after two crashes: %+v", b)
	}
	b := begin("r3", hi)
	if b.Done || b.Key != second.Key {
		t.Errorf("what may have happened has another key: %+v", b)
	}
	check(t, s.EndEffect(ctx, b, true, "sent"))
	if b := begin("r3", hi); b.Done || b.Key == first.Key || b.Key == second.Key {
		t.Errorf("one more than before: %+v", b)
	}
	check(t, move(t, s, "r3", "succeeded"))
	if n := one[int64](t, s, `SELECT count(*) FROM effects`); n != 0 {
		t.Errorf("%d effects are kept of messages that are done", n)
	}
	bring(t, s, "r4", runner.Running)
	if b := begin("r4", hi); b.Done {
		t.Errorf("other messages: %+v", b)
	}
	var state *StateError
	if _, err := s.BeginEffect(ctx, "r3", hi); !errors.As(err, &state) {
		t.Errorf("a run that is over: %v", err)
	}
}

// A message that ends the process each time is given up alone: those that were cut off
// with it are answered, also if the process ends each time, and it can be taken up
// again or dropped.
func TestPoison(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := openTest(t, dir)
	for i := range 4 {
		accept(t, s, "main", fmt.Sprint("m", i), router.Run)
	}
	const poison = "text of m1"
	answered := map[string]bool{}
	var lost []queue.Lost
	for n := 0; ; n++ {
		if n > 20 {
			t.Fatal("it does not come to an end")
		}
		run := chat.RunID(fmt.Sprint("r", n))
		j, err := s.Claim(ctx, "main", run, noon)
		check(t, err)
		if j == nil {
			break
		}
		check(t, move(t, s, run, "starting"))
		check(t, move(t, s, run, "running"))
		ends := false
		for _, m := range j.Messages {
			ends = ends || m.Text == poison
		}
		if !ends {
			check(t, move(t, s, run, "succeeded"))
			for _, m := range j.Messages {
				answered[m.Text] = true
			}
			continue
		}
		check(t, s.Close())
		s = openTest(t, dir)
		back, err := again(s).Recover(ctx, queue.MaxAttempts, noon)
		check(t, err)
		lost = append(lost, back.Lost...)
	}
	if len(answered) != 3 || len(lost) != 1 || lost[0].Text != poison {
		t.Fatalf("answered %v, lost %+v", answered, lost)
	}
	stuck, err := s.StuckMessages(ctx)
	check(t, err)
	if len(stuck) != 1 || !stuck[0].Dead || stuck[0].Row != lost[0].Row || !strings.Contains(stuck[0].Reason, "ended each time") {
		t.Fatalf("listed %+v", stuck)
	}
	acted := audit.Entry{At: noon, Kind: audit.OwnerActed, Data: audit.OwnerActedData{Act: "dead retry"}}
	_, err = s.Unstick(ctx, lost[0].Row, Again, acted)
	check(t, err)
	if m := claim(t, s, "main", "again").Messages; len(m) != 1 || m[0].Attempts != 0 || m[0].Again != 1 {
		t.Errorf("taken up again: %+v", m)
	}
	o := runner.Outcome{State: runner.Failed, At: noon, Error: "it ended", Dead: []int64{lost[0].Row}}
	check(t, move(t, s, "again", "starting"))
	check(t, move(t, s, "again", "running"))
	check(t, s.Finish(ctx, "again", o, ended("again", runner.Failed)))
	if _, err := s.Unstick(ctx, lost[0].Row, Drop, acted); err != nil {
		t.Error(err)
	}
	if _, err := s.Unstick(ctx, lost[0].Row, Drop, acted); !errors.Is(err, ErrNotFound) {
		t.Errorf("a second time: %v", err)
	}
	if stuck, _ := s.StuckMessages(ctx); len(stuck) != 0 {
		t.Errorf("listed %+v", stuck)
	}
}

// Of a group's queue one sender has at most half, so that others find room.
func TestOneSenderDoesNotFillTheQueue(t *testing.T) {
	s, full := newStore(t), 0
	for i := range 20 {
		in := message(fmt.Sprint("m", i), "x")
		in.From, in.Sender = family, chat.Sender{ID: "mallory"}
		if i >= 15 {
			in.Sender.ID = "bob"
		}
		acc, err := s.Accept(t.Context(), in, router.Verdict{Group: "family", Action: router.Run}, 10, 11)
		check(t, err)
		if acc.Full {
			full++
		}
	}
	if full != 9 { // 6 of mallory's and 5 of bob's are in
		t.Errorf("%d were not taken", full)
	}
}

// What was said is what was asked and answered since the conversation began, and
// nothing of an isolated one.
func TestSaid(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	say := func(text, answer string, ask chat.Ask) {
		t.Helper()
		run := chat.NewRunID()
		in := message(string(run), text)
		in.From, in.Ask = chat.Address{Channel: chat.Console, Chat: "main"}, ask
		_, err := s.Accept(ctx, in, router.Verdict{Group: "main", Action: router.Run}, 10, 0)
		check(t, err)
		claim(t, s, "main", run)
		check(t, move(t, s, run, "starting"))
		check(t, move(t, s, run, "running"))
		o := runner.Outcome{State: runner.Succeeded, At: noon, Replies: []chat.Outbound{{To: in.From, Kind: chat.Reply, Text: answer, Run: run, Group: "main", Key: "run:" + string(run)}}}
		check(t, s.Finish(ctx, run, o, ended(run, runner.Succeeded)))
	}
	said := func() (out []string) {
		t.Helper()
		all, err := s.Said(ctx, "main", "", 10)
		check(t, err)
		for _, x := range all {
			out = append(out, x.Messages[0].Text+" "+x.Answer)
		}
		return out
	}
	say("a", "1", chat.Ask{})
	say("secret", "2", chat.Ask{Conversation: chat.Isolated})
	say("b", "3", chat.Ask{})
	if d := cmp.Diff([]string{"a 1", "b 3"}, said()); d != "" {
		t.Error(d)
	}
	say("/clear", "new", chat.Ask{})
	say("c", "4", chat.Ask{})
	if d := cmp.Diff([]string{"c 4"}, said()); d != "" {
		t.Error(d)
	}
	say("d", "5", chat.Ask{Conversation: chat.Anew})
	say("e", "6", chat.Ask{})
	if d := cmp.Diff([]string{"d 5", "e 6"}, said()); d != "" {
		t.Error(d)
	}
}
