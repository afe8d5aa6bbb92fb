package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
)

// childDesk makes the test binary a desk that asks, answers itself, and stands
// still where it is to be killed.
const childDesk = "NANOCLAW_STORE_TEST_DESK"

// haltingStore stands still at one of its steps.
type haltingStore struct {
	*Store
	where string
}

// halt is called where a process could die.
func (s haltingStore) halt(here string) {
	if s.where == here {
		fmt.Println("here")
		select {}
	}
}

func (s haltingStore) AskQuestion(ctx context.Context, k approval.Kept, e audit.Entry) (int64, error) {
	id, err := s.Store.AskQuestion(ctx, k, e)
	s.halt("asked")
	return id, err
}

func (s haltingStore) QuestionTold(ctx context.Context, id int64) error {
	s.halt("telling")
	err := s.Store.QuestionTold(ctx, id)
	s.halt("told")
	return err
}

func (s haltingStore) EndQuestions(ctx context.Context, ends []approval.Ended, l *approval.Lock) error {
	err := s.Store.EndQuestions(ctx, ends, l)
	s.halt("answered")
	return err
}

func (s haltingStore) DropQuestion(ctx context.Context, id int64) error {
	s.halt("handled")
	err := s.Store.DropQuestion(ctx, id)
	s.halt("forgotten")
	return err
}

var (
	theOwner = approval.Who{From: chat.Address{Channel: "console", Chat: "command"}, Sender: chat.Sender{ID: "owner", Owner: true}}
	question = approval.Effect{Act: "egress", Title: "May family reach example.com?", Group: "family", Grows: true, Parts: []approval.Part{{Name: "bytes", Value: "a\xff"}}}
)

// deskOn is a desk whose handler does two things that count once: it keeps a
// right, and it sends a message under a key.
func deskOn(s *Store, kept approval.Store) *approval.Desk {
	d := approval.New(approval.Options{Store: kept, Tell: func(ctx context.Context, a approval.Asked) error {
		_, err := s.Put(ctx, chat.Outbound{To: alice, Kind: chat.Question, Text: a.Text, Key: fmt.Sprint("question:", a.ID)}, noon)
		return err
	}})
	d.Handle("egress", func(ctx context.Context, e approval.Effect, st approval.State, by approval.Who) error {
		if _, err := s.Put(ctx, chat.Outbound{To: alice, Kind: chat.Notice, Text: string(st), Key: "end:" + e.Hash()}, noon); err != nil || st != approval.Approved {
			return err
		}
		_, err := s.Allow(ctx, Right{Kind: RightEgress, Group: e.Group, Subject: "example.com:443", By: string(by.Sender.ID), From: by.From.String()},
			audit.Entry{At: noon, Kind: audit.RightAllowed, Group: e.Group})
		return err
	})
	return d
}

// deskChild puts a question and answers it, until it stands still.
func deskChild(dir, where string) error {
	ctx := context.Background()
	s, err := Open(ctx, dir, Options{Database: os.Getenv(childDatabase)})
	if err != nil {
		return err
	}
	d := deskOn(s, haltingStore{s, where})
	if err := d.Start(ctx); err != nil {
		return err
	}
	if where == "waiting" {
		d.Ask(ctx, question, time.Hour, func(approval.Asked) error {
			haltingStore{s, where}.halt("waiting")
			return nil
		})
	}
	a, err := d.Put(ctx, question, time.Hour, nil)
	if err != nil {
		return err
	}
	haltingStore{s, where}.halt("open")
	_, err = d.Answer(ctx, approval.Reply{Code: a.Code, Yes: true}, theOwner)
	return fmt.Errorf("it went on: %w", err)
}

// killDesk has a child work on the store in dir until it stands still, and kills
// it there.
func killDesk(t *testing.T, dir, where string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childDesk+"="+where, childDatabase+"="+databaseOf(t, dir))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	lines := bufio.NewScanner(out)
	lines.Scan()
	check(t, cmd.Process.Kill()) // SIGKILL
	_ = cmd.Wait()
	if lines.Text() != "here" {
		t.Fatalf("the desk said %q", lines.Text())
	}
}

// Kill -9 between every two steps of a question: it is asked once, told once,
// ends once, and what follows counts once.
func TestQuestionsSurviveAKill(t *testing.T) {
	tests := []struct {
		where string
		open  bool // the question is open at the next start
	}{
		{"asked", true}, {"telling", true}, {"told", true}, {"open", true},
		{"answered", false}, {"handled", false}, {"forgotten", false},
	}
	for _, tt := range tests {
		t.Run(tt.where, func(t *testing.T) {
			dir := t.TempDir()
			killDesk(t, dir, tt.where)
			s := openTest(t, dir)
			defer s.Close()
			d := deskOn(s, s)
			check(t, d.Start(t.Context()))
			open := d.Open()
			if (len(open) == 1) != tt.open {
				t.Fatalf("open after the kill: %+v", open)
			}
			if tt.open {
				again, err := d.Put(t.Context(), question, time.Hour, nil)
				check(t, err)
				if again.Code != open[0].Code || again.ID != open[0].ID || !strings.Contains(again.Text, "⟨byte FF⟩") {
					t.Errorf("asked again it is another question: %+v", again)
				}
				_, err = d.Answer(t.Context(), approval.Reply{Code: open[0].Code, Yes: true}, theOwner)
				check(t, err)
			}
			for what, query := range map[string]string{
				"a question in the audit": `SELECT count(*) FROM audit WHERE kind = 'approval.asked'`,
				"an end in the audit":     `SELECT count(*) FROM audit WHERE kind = 'approval.ended'`,
				"a question told":         `SELECT count(*) FROM outbox WHERE kind = 'question'`,
				"an end told":             `SELECT count(*) FROM outbox WHERE kind = 'notice' AND text = 'approved'`,
				"a right":                 `SELECT count(*) FROM rights WHERE subject = 'example.com:443' AND by = 'owner'`,
				"a right in the audit":    `SELECT count(*) FROM audit WHERE kind = 'right.allowed'`,
				"nothing left to do":      `SELECT count(*) = 0 FROM questions`,
			} {
				if n := one[int](t, s, query); n != 1 {
					t.Errorf("%s is there %d times", what, n)
				}
			}
		})
	}
}

// What a run waited for ended with it, and the record says so.
func TestQuestionOfADeadRunIsWithdrawn(t *testing.T) {
	dir := t.TempDir()
	killDesk(t, dir, "waiting")
	s := openTest(t, dir)
	defer s.Close()
	d := deskOn(s, s)
	check(t, d.Start(t.Context()))
	if n := one[int](t, s, `SELECT count(*) FROM audit WHERE kind = 'approval.ended' AND payload LIKE '%"withdrawn"%'`); n != 1 || len(d.Open()) != 0 {
		t.Errorf("recorded as withdrawn %d times, open %+v", n, d.Open())
	}
	if n := one[int](t, s, `SELECT count(*) FROM questions`); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// Wrong codes are counted, and lock the desk, over restarts.
func TestLockSurvivesARestart(t *testing.T) {
	s := newStore(t)
	for i := range 5 {
		d := deskOn(s, s)
		check(t, d.Start(t.Context()))
		if i == 0 {
			_, err := d.Put(t.Context(), question, time.Hour, nil)
			check(t, err)
		}
		if len(d.Open()) != 1 {
			t.Fatalf("after %d wrong codes: %+v", i, d.Open())
		}
		if _, err := d.Answer(t.Context(), approval.Reply{Code: "aaaa-0000", Yes: true}, theOwner); err == nil {
			t.Fatal("a wrong code was taken")
		}
	}
	d := deskOn(s, s)
	check(t, d.Start(t.Context()))
	_, err := d.Put(t.Context(), question, time.Hour, nil)
	if err == nil || !strings.Contains(err.Error(), "nothing is asked until") || len(d.Open()) != 0 {
		t.Errorf("after five wrong codes, each in a process of its own: %v, open %+v", err, d.Open())
	}
	if n := one[int](t, s, `SELECT count(*) FROM outbox WHERE text = 'denied'`); n != 1 {
		t.Errorf("the handler was called %d times", n)
	}
}

func TestRights(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	entry := audit.Entry{At: noon, Kind: audit.RightAllowed}
	r := Right{Kind: RightEgress, Group: "family", Subject: "example.com:443", By: "owner", From: "console:main", At: noon}
	id, err := s.Allow(ctx, r, entry)
	check(t, err)
	for _, tt := range []struct {
		name    string
		change  func(*Right)
		entries int
		all     int
	}{
		{"the same again", func(*Right) {}, 1, 1},
		{"another time of day is the same", func(r *Right) { r.At = noon.Add(time.Hour) }, 1, 1},
		{"another end replaces it", func(r *Right) { r.Until = noon.Add(time.Hour) }, 2, 1},
		{"another content replaces it", func(r *Right) { r.Hash = "h" }, 3, 1},
		{"another group has its own", func(r *Right) { r.Group = "work" }, 4, 2},
	} {
		next := r
		tt.change(&next)
		got, err := s.Allow(ctx, next, entry)
		check(t, err)
		all, err := s.Rights(ctx)
		check(t, err)
		if n := one[int](t, s, `SELECT count(*) FROM audit`); n != tt.entries || len(all) != tt.all || (got == id) != (tt.all == 1) {
			t.Errorf("%s: id %d, %d entries, %d rights", tt.name, got, n, len(all))
		}
	}
	check(t, s.Disallow(ctx, id, audit.Entry{At: noon, Kind: audit.RightEnded}))
	if err := s.Disallow(ctx, id, audit.Entry{At: noon, Kind: audit.RightEnded}); err == nil {
		t.Error("a right was taken back twice")
	}
	for _, bad := range []Right{{}, {Kind: "x", Subject: "y", By: "z"}, {Kind: RightChat, By: "z"}, {Kind: RightChat, Subject: "y"}} {
		if _, err := s.Allow(ctx, bad, entry); err == nil {
			t.Errorf("%+v was kept", bad)
		}
	}
	if !r.Over(noon) && (Right{Until: noon}).Over(noon) && !(Right{Until: noon.Add(1)}).Over(noon) {
		return
	}
	t.Error("a right ends at another time")
}
