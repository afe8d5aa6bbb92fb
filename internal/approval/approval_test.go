package approval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
)

// log keeps what is recorded, and questions as the store does.
type log struct {
	mu      sync.Mutex
	entries []audit.Entry
	kept    map[int64]Kept
	last    int64
	lock    Lock
	fail    func(audit.Kind) error
}

// record is called with mu held.
func (l *log) record(e audit.Entry) error {
	if l.fail != nil {
		if err := l.fail(e.Kind); err != nil {
			return err
		}
	}
	l.entries = append(l.entries, e)
	return nil
}

func (l *log) Record(_ context.Context, e audit.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.record(e)
}

func (l *log) AskQuestion(_ context.Context, k Kept, e audit.Entry) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.record(e); err != nil {
		return 0, err
	}
	if l.kept == nil {
		l.kept = map[int64]Kept{}
	}
	l.last++
	k.ID = l.last
	l.kept[k.ID] = k
	return k.ID, nil
}

func (l *log) QuestionTold(_ context.Context, id int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kept[id]
	k.Told = true
	l.kept[id] = k
	return nil
}

func (l *log) EndQuestions(_ context.Context, ends []Ended, lock *Lock) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range ends {
		k, there := l.kept[e.ID]
		if !there || k.State != "" {
			return fmt.Errorf("question %d is over", e.ID)
		}
		if err := l.record(e.Entry); err != nil {
			return err
		}
		k.State, k.By = e.State, e.By
		if l.kept[e.ID] = k; !e.Follow {
			delete(l.kept, e.ID)
		}
	}
	if lock != nil {
		l.lock = *lock
	}
	return nil
}

func (l *log) DropQuestion(_ context.Context, id int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.kept, id)
	return nil
}

func (l *log) TakeQuestions(context.Context) (out []Kept, lock Lock, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(l.kept)) {
		out = append(out, l.kept[id])
	}
	return out, l.lock, nil
}

// yes and no are answers under a code.
func yes(code string) Reply { return Reply{Code: code, Yes: true} }
func no(code string) Reply  { return Reply{Code: code} }

// story is the kinds and states of what was recorded.
func (l *log) story() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, e := range l.entries {
		d := e.Data.(audit.ApprovalData)
		out = append(out, strings.TrimSpace(fmt.Sprint(e.Kind, " ", d.State, " ", d.By)))
	}
	return out
}

var owner = Who{From: chat.Address{Channel: "console", Chat: "main"}, Sender: chat.Sender{ID: "owner", Owner: true}}

func effect(command string) Effect {
	return Effect{Act: "tool", Title: "The agent of group family asks to use Bash.", Group: "family", Run: "r1", Session: "s1", Parts: []Part{{"command", command}}}
}

// answered is how Ask came out.
type answered struct {
	state State
	why   string
}

// asking starts a question and gives it once it was told.
func asking(d *Desk, ctx context.Context, e Effect) (Asked, <-chan answered) {
	told, out := make(chan Asked, 1), make(chan answered, 1)
	go func() {
		s, why := d.Ask(ctx, e, time.Minute, func(a Asked) error { told <- a; return nil })
		out <- answered{s, why}
	}()
	return <-told, out
}

func TestEndings(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, d *Desk, a Asked, withdraw func())
		want State
		last string
	}{
		{"yes", func(t *testing.T, d *Desk, a Asked, _ func()) {
			if got, err := d.Answer(t.Context(), yes(strings.ToUpper(a.Code)), owner); err != nil || got != "approved: "+a.Title {
				t.Errorf("%q, %v", got, err)
			}
		}, Approved, "approval.ended approved owner"},
		{"no", func(t *testing.T, d *Desk, a Asked, _ func()) { d.Answer(t.Context(), no(a.Code), owner) }, Denied, "approval.ended denied owner"},
		{"silence", func(*testing.T, *Desk, Asked, func()) {}, Expired, "approval.ended expired"},
		{"nobody waits", func(_ *testing.T, _ *Desk, _ Asked, withdraw func()) { withdraw() }, Withdrawn, "approval.ended withdrawn"},
		{"somebody else", func(t *testing.T, d *Desk, a Asked, _ func()) {
			who := owner
			who.Sender.Owner = false
			if _, err := d.Answer(t.Context(), yes(a.Code), who); !errors.Is(err, ErrNotOwner) {
				t.Errorf("a stranger's answer: %v", err)
			}
		}, Expired, "approval.ended expired"},
		{"another code", func(t *testing.T, d *Desk, a Asked, _ func()) {
			if _, err := d.Answer(t.Context(), yes("aaaa-0000"), owner); !errors.Is(err, ErrNoCode) {
				t.Errorf("a wrong code: %v", err)
			}
		}, Expired, "approval.ended expired"},
		{"too late", func(t *testing.T, d *Desk, a Asked, _ func()) {
			d.opt.Now = func() time.Time { return a.Until }
			if _, err := d.Answer(t.Context(), yes(a.Code), owner); err == nil {
				t.Error("an answer after the end was taken")
			}
		}, Expired, "approval.ended expired owner"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &log{}
				d := New(Options{Store: l})
				ctx, withdraw := context.WithCancel(t.Context())
				defer withdraw()
				a, out := asking(d, ctx, effect("ls"))
				tt.do(t, d, a, withdraw)
				got := <-out
				if got.state != tt.want || (got.state != Approved) != (got.why != "the owner said yes") {
					t.Errorf("it ended %+v, want %s", got, tt.want)
				}
				if d := cmp.Diff([]string{"approval.asked", tt.last}, l.story()); d != "" {
					t.Error(d)
				}
				if _, err := d.Answer(t.Context(), yes(a.Code), owner); !errors.Is(err, ErrNoCode) || len(d.Open()) != 0 {
					t.Errorf("the code lives on: %v", err)
				}
			})
		})
	}
}

// What cannot be recorded or told is refused.
func TestFailsClosed(t *testing.T) {
	broken := errors.New("disk full")
	for _, kind := range []audit.Kind{audit.ApprovalAsked, audit.ApprovalEnded, "tell"} {
		t.Run(string(kind), func(t *testing.T) {
			l := &log{fail: func(k audit.Kind) error {
				if k == kind {
					return broken
				}
				return nil
			}}
			d := New(Options{Store: l})
			s, why := d.Ask(t.Context(), effect("ls"), time.Minute, func(a Asked) error {
				if kind == "tell" {
					return broken
				}
				go d.Answer(context.Background(), yes(a.Code), owner)
				return nil
			})
			if s != Refused || why == "" || len(d.Open()) != 0 {
				t.Errorf("it ended %s: %s", s, why)
			}
		})
	}
}

// Five wrong codes in a row end everything with no, and close the desk for a while.
func TestLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		d := New(Options{Store: l})
		wrong := func(n int) (err error) {
			for i := range n {
				_, err = d.Answer(t.Context(), yes(fmt.Sprintf("aaaa-000%d", i)), owner)
			}
			return err
		}
		a, out := asking(d, t.Context(), effect("a"))
		wrong(4)
		d.Answer(t.Context(), yes(a.Code), owner)
		if got := <-out; got.state != Approved {
			t.Errorf("after four wrong codes: %+v", got)
		}
		a, out = asking(d, t.Context(), effect("b"))
		wrong(4) // the right one in between began anew
		if len(d.Open()) != 1 {
			t.Error("four wrong codes closed the desk")
		}
		if err := wrong(1); err == nil || !strings.Contains(err.Error(), "every open question is refused") {
			t.Errorf("the fifth wrong code: %v", err)
		}
		if got := <-out; got.state != Denied {
			t.Errorf("after five wrong codes: %+v", got)
		}
		if _, err := d.Answer(t.Context(), yes(a.Code), owner); err == nil {
			t.Error("the code lives on")
		}
		if s, why := d.Ask(t.Context(), effect("c"), time.Minute, nil); s != Refused || !strings.Contains(why, "nothing is asked until") {
			t.Errorf("while it is closed: %s, %s", s, why)
		}
		time.Sleep(lockTime)
		a, out = asking(d, t.Context(), effect("d"))
		d.Answer(t.Context(), yes(a.Code), owner)
		if got := <-out; got.state != Approved {
			t.Errorf("after the lock: %+v", got)
		}
	})
}

// One group cannot fill the desk for the others, and of two answers at once one
// counts.
func TestBoundsAndRaces(t *testing.T) {
	l := &log{}
	d := New(Options{Store: l})
	var asked []Asked
	var outs []<-chan answered
	for i := range maxOfGroup {
		a, out := asking(d, t.Context(), effect(fmt.Sprint(i)))
		asked, outs = append(asked, a), append(outs, out)
	}
	if s, why := d.Ask(t.Context(), effect("x"), time.Minute, nil); s != Refused || !strings.Contains(why, "too many") {
		t.Errorf("one more: %s, %s", s, why)
	}
	other := effect("x")
	other.Group = "work"
	a, out := asking(d, t.Context(), other)
	asked, outs = append(asked, a), append(outs, out)
	for _, a := range asked {
		var both sync.WaitGroup
		var mu sync.Mutex
		taken := 0
		for _, word := range []bool{true, false} {
			both.Go(func() {
				if _, err := d.Answer(context.Background(), Reply{Code: a.Code, Yes: word}, owner); err == nil {
					mu.Lock()
					taken++
					mu.Unlock()
				}
			})
		}
		both.Wait()
		if taken != 1 {
			t.Errorf("%d answers to one question counted", taken)
		}
	}
	for _, out := range outs {
		if got := <-out; got.state != Approved && got.state != Denied {
			t.Errorf("it ended %+v", got)
		}
	}
}

func TestShow(t *testing.T) {
	tests := []struct{ name, value, want string }{
		{"plain", "git push", "  │ git push\n"},
		{"lines cannot leave their place", "a\nTo allow this once, answer: approve aaaa-0000", "  │ a\n  │ To allow this once, answer: approve aaaa-0000\n"},
		{"a carriage return", "rm -rf x\rls", "  │ rm -rf x⟨U+000D⟩ls\n"},
		{"an escape sequence", "\x1b[2Als", "  │ ⟨U+001B⟩[2Als\n"},
		{"the other direction", "\u202egnp.exe", "  │ ⟨U+202E⟩gnp.exe\n"},
		{"nothing to see", "a\u200b\u2060\ufeff\ufe0f\u3164\u00a0\u2028b", "  │ a⟨U+200B⟩⟨U+2060⟩⟨U+FEFF⟩⟨U+FE0F⟩⟨U+3164⟩⟨U+00A0⟩⟨U+2028⟩b\n"},
		{"tags", "\U000e0041", "  │ ⟨U+E0041⟩\n"},
		{"no text", "a\xffb", "  │ a⟨byte FF⟩b\n"},
		{"our own brackets", "⟨U+0000⟩", "  │ ⟨U+27E8⟩U+0000⟨U+27E9⟩\n"},
		{"other scripts", "naïve Ελλ 日本 हिन्दी 🙂", "  │ naïve Ελλ 日本 हिन्दी 🙂\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := effect(tt.value).Show()
			if want := "The agent of group family asks to use Bash.\ncommand:\n" + tt.want; err != nil || got != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
	for _, long := range []Effect{effect(strings.Repeat("x", maxShown)), {Parts: make([]Part, maxParts+1)}} {
		if _, err := long.Show(); !errors.Is(err, ErrTooLong) {
			t.Errorf("too long: %v", err)
		}
		d := New(Options{Store: &log{}})
		if s, why := d.Ask(t.Context(), long, time.Minute, nil); s != Refused || !strings.Contains(why, "smaller steps") {
			t.Errorf("asked: %s, %s", s, why)
		}
	}
}

// Every part of an effect is in its hash.
func TestHash(t *testing.T) {
	a := effect("ls")
	changes := []func(*Effect){
		func(e *Effect) { e.Act = "x" }, func(e *Effect) { e.Title += "x" }, func(e *Effect) { e.Group = "x" }, func(e *Effect) { e.Run = "x" },
		func(e *Effect) { e.Session = "x" }, func(e *Effect) { e.Parts = []Part{{"command", "ls "}} }, func(e *Effect) { e.Parts = []Part{{"commandls", ""}} },
		func(e *Effect) { e.Parts = append(slices.Clone(e.Parts), Part{}) },
	}
	seen := map[string]bool{a.Hash(): true, effect("ls").Hash(): true}
	for i, change := range changes {
		b := effect("ls")
		change(&b)
		if seen[b.Hash()] {
			t.Errorf("change %d is not in the hash", i)
		}
		seen[b.Hash()] = true
	}
}

func TestFields(t *testing.T) {
	tests := []struct {
		raw  string
		want []Part
	}{
		{`{"command":"a\nb","n":1.50,"deep":{"x":["y"]}}`, []Part{{"command", "a\nb"}, {"deep", `{"x":["y"]}`}, {"n", "1.50"}}},
		{`["a"]`, []Part{{"arguments", `["a"]`}}},
		{`no JSON`, []Part{{"arguments", `no JSON`}}},
		{``, []Part{{"arguments", ``}}},
	}
	for _, tt := range tests {
		if d := cmp.Diff(tt.want, Fields(json.RawMessage(tt.raw))); d != "" {
			t.Errorf("%s: %s", tt.raw, d)
		}
	}
}

func TestParseReply(t *testing.T) {
	for text, want := range map[string]string{
		"approve k4m2-9x7a": "k4m29x7a true", "Deny K4M29X7A.": "k4m29x7a false", "/approve k4m2-9x7a\n": "k4m29x7a true",
		"nanoclaw deny k4m2-9x7a": "k4m29x7a false", "@Andy approve k4m2-9x7a": "k4m29x7a true", "approve k4mo-9xla": "k4m09x1a true",
		"approve sentence": "", "approve the plan": "", "approve": "", "deny it": "", "I approve k4m2-9x7a": "", "approve k4m2-9x7": "",
		"approve k4m2-9x7a Session": "k4m29x7a true session", "approve k4m2-9x7a for now": "", "nanoclaw approve k4m2-9x7a group": "k4m29x7a true group", "approved k4m2-9x7a": "",
	} {
		r, ok := ParseReply(text)
		if got := strings.TrimSpace(fmt.Sprint(r.Code, " ", r.Yes, " ", r.Choice)); ok != (want != "") || ok && got != want {
			t.Errorf("%q is %s, %v; want %q", text, got, ok, want)
		}
	}
	for range 1000 {
		code := newCode()
		if got, ok := parseCode(spaced(code)); !ok || got != code {
			t.Fatalf("the code %s is read as %q, %v", code, got, ok)
		}
	}
}

// FuzzShow: what an agent says stays behind its bar and within the bound, and a
// terminal obeys none of it.
func FuzzShow(f *testing.F) {
	f.Add("command", "a\nb\r\x1b[2J\u202e")
	f.Fuzz(func(t *testing.T, name, value string) {
		text, err := Effect{Title: "title", Parts: []Part{{name, value}}}.Show()
		if err != nil {
			return
		}
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(text) > maxShown || lines[0] != "title" || len(lines) != 3+strings.Count(value, "\n") {
			t.Fatalf("%q is shown as %q", value, text)
		}
		for _, line := range lines[2:] {
			if !strings.HasPrefix(line, "  │ ") || strings.ContainsFunc(line, func(r rune) bool { return !plain(r) && r != '⟨' && r != '⟩' }) {
				t.Fatalf("the line %q of %q", line, value)
			}
		}
	})
}
