package store

import (
	"testing"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/router"
)

// What is for the host stays open until it is done, and is counted for each process
// that takes it up.
func TestForTheHost(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	first := accept(t, s, "main", "pause", router.Do)
	second := accept(t, s, "main", "yes", router.Answer)
	state := func(id string) string {
		return one[string](t, s, `SELECT state FROM inbox WHERE message = ?`, id)
	}
	if state("pause") != "host" || state("yes") != "host" {
		t.Fatalf("stored as %s, %s", state("pause"), state("yes"))
	}
	for n := 1; n <= 2; n++ {
		left, err := s.HostLeft(ctx)
		check(t, err)
		if len(left) != 2 || left[0].Row != first.Row || left[1].Row != second.Row || left[0].Attempts != n {
			t.Fatalf("look %d: %+v", n, left)
		}
	}
	check(t, s.HostDone(ctx, first.Row))
	check(t, s.HostDone(ctx, first.Row)) // again, as after a crash
	if left, err := s.HostLeft(ctx); err != nil || len(left) != 1 || state("pause") != "done" {
		t.Errorf("left %+v, %v; it is %s", left, err, state("pause"))
	}
	if p, err := s.Prune(ctx, Keep{Messages: time.Now().Add(time.Hour)}); err != nil || p.Messages != 1 {
		t.Errorf("pruned %+v, %v: what is open stays", p, err)
	}
}

// A good answer is done with the end of its question, in one transaction: neither
// without the other.
func TestAnAnswerIsDoneWithItsQuestion(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	d := deskOn(s, s)
	a, err := d.Put(ctx, question, time.Hour, nil)
	check(t, err)
	row := accept(t, s, "main", "yes", router.Answer).Row
	by := theOwner
	by.Row = row
	end := approval.Ended{ID: a.ID, State: approval.Approved, By: by, Follow: true, Entry: audit.Entry{At: noon, Kind: audit.ApprovalEnded}}
	over := end
	over.ID++
	if err := s.EndQuestions(ctx, []approval.Ended{end, over}, nil); err == nil {
		t.Fatal("a question that is not there ended")
	}
	if left, err := s.HostLeft(ctx); err != nil || len(left) != 1 {
		t.Fatalf("the answer is done, and its question open: %+v, %v", left, err)
	}
	if _, err := d.Answer(ctx, approval.Reply{Code: a.Code, Yes: true}, by); err != nil {
		t.Fatal(err)
	}
	if left, err := s.HostLeft(ctx); err != nil || len(left) != 0 {
		t.Errorf("left %+v, %v", left, err)
	}
}
