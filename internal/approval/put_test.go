package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nanoclaw/internal/chat"
)

// Who may say yes, and where. A no is taken from everybody with a role.
func TestWhoMayAnswer(t *testing.T) {
	terminal := chat.Address{Channel: chat.Console, Chat: "main"}
	here, elsewhere := chat.Address{Channel: "chat", Chat: "family"}, chat.Address{Channel: "chat", Chat: "mine"}
	me := func(a chat.Address) Who { return Who{From: a, Sender: chat.Sender{ID: "me", Owner: true}} }
	admin := func(id chat.SenderID) Who { return Who{From: elsewhere, Sender: chat.Sender{ID: id}} }
	plain := func(*Effect) {}
	grows := func(e *Effect) { e.Grows = true }
	choices := func(e *Effect) {
		e.Choices = []Choice{{Word: "once", Says: "once"}, {Word: "group", Says: "for the group", Grows: true}}
	}
	tests := []struct {
		name   string
		effect func(*Effect)
		who    Who
		word   string
		want   error
		choice string
	}{
		{"the owner in the same chat", plain, me(here), "", nil, ""},
		{"an admin of the group", plain, admin("anna"), "", nil, ""},
		{"an admin of another group", plain, admin("bob"), "", ErrNotOwner, ""},
		{"a member", plain, admin("carl"), "", ErrNotOwner, ""},
		{"rights grow: in the same chat", grows, me(here), "", ErrElsewhere, ""},
		{"rights grow: in another chat", grows, me(elsewhere), "", nil, ""},
		{"rights grow: in the terminal", grows, me(terminal), "", nil, ""},
		{"rights grow: an admin", grows, admin("anna"), "", ErrElsewhere, ""},
		{"rights grow: asked for in the terminal", func(e *Effect) { e.Grows, e.From = true, terminal }, me(terminal), "", nil, ""},
		{"another chat is wanted: here", func(e *Effect) { e.OtherChat = true }, me(here), "", ErrElsewhere, ""},
		{"another chat is wanted: there", func(e *Effect) { e.OtherChat = true }, me(elsewhere), "", nil, ""},
		{"another chat is wanted: the same terminal", func(e *Effect) { e.OtherChat, e.From = true, terminal }, me(terminal), "", ErrElsewhere, ""},
		{"four eyes: the owner for somebody else", func(e *Effect) { e.FourEyes, e.By = true, []string{"chat:carl"} }, me(here), "", nil, ""},
		{"four eyes: the owner for themselves", func(e *Effect) { e.FourEyes, e.By = true, []string{OwnerSelf} }, me(elsewhere), "", ErrElsewhere, ""},
		{"four eyes: the owner in the terminal is the same person", func(e *Effect) { e.FourEyes, e.By = true, []string{OwnerSelf} }, me(terminal), "", ErrElsewhere, ""},
		{"four eyes: an admin for the owner", func(e *Effect) { e.FourEyes, e.By = true, []string{OwnerSelf} }, admin("anna"), "", nil, ""},
		{"four eyes: an admin for themselves and others", func(e *Effect) { e.FourEyes, e.By = true, []string{"chat:carl", "chat:anna"} }, admin("anna"), "", ErrElsewhere, ""},
		{"a choice: none is the first", choices, me(here), "", nil, "once"},
		{"a choice: named", choices, me(here), "once", nil, "once"},
		{"a choice: what lasts, here", choices, me(here), "group", ErrElsewhere, ""},
		{"a choice: what lasts, elsewhere", choices, me(elsewhere), "group", nil, "group"},
		{"a choice: unknown", choices, me(here), "always", ErrElsewhere, ""},
		{"a choice where there is none", plain, me(here), "group", ErrElsewhere, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := New(Options{Store: &log{}, Role: func(w Who, g chat.Group) Role {
				switch {
				case w.Sender.Owner:
					return Owner
				case w.Sender.ID == "anna" && g == "family", w.Sender.ID == "bob" && g == "work":
					return Admin
				}
				return Nobody
			}})
			var got Who
			d.Handle("x", func(_ context.Context, _ Effect, _ State, by Who) error { got = by; return nil })
			e := Effect{Act: "x", Title: "May I?", Group: "family", From: here}
			tt.effect(&e)
			a, err := d.Put(t.Context(), e, time.Hour, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = d.Answer(t.Context(), Reply{Code: a.Code, Yes: true, Choice: tt.word}, tt.who)
			if !errors.Is(err, tt.want) || got.Choice != tt.choice {
				t.Fatalf("answered %v, want %v; chose %q, want %q", err, tt.want, got.Choice, tt.choice)
			}
			if (len(d.Open()) == 0) != (tt.want == nil) {
				t.Errorf("open afterwards: %+v", d.Open())
			}
			if tt.want == nil || errors.Is(tt.want, ErrNotOwner) {
				return
			}
			if _, err = d.Answer(t.Context(), Reply{Code: a.Code}, tt.who); err != nil || len(d.Open()) != 0 {
				t.Errorf("a no: %v, open %+v", err, d.Open())
			}
		})
	}
}

// Asking twice is one question, one after it ended another; its time ends it, and
// the handler hears of each end once.
func TestPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		var told, ended []string
		d := New(Options{Store: l, Tell: func(_ context.Context, a Asked) error { told = append(told, a.Title); return nil }})
		d.Handle("x", func(_ context.Context, e Effect, s State, _ Who) error {
			ended = append(ended, fmt.Sprint(e.Title, " ", s))
			return errors.New("it cannot be done") // is told, and not tried again
		})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go d.Run(ctx)
		put := func(title string, wait time.Duration) Asked {
			t.Helper()
			a, err := d.Put(ctx, Effect{Act: "x", Title: title}, wait, nil)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		first, again, other := put("a", time.Hour), put("a", time.Hour), put("b", time.Minute)
		if first.Code != again.Code || first.Code == other.Code {
			t.Errorf("codes %s, %s, %s", first.Code, again.Code, other.Code)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if want := []string{"b expired"}; !slices.Equal(ended, want) {
			t.Fatalf("ended %q, want %q", ended, want)
		}
		d.Answer(ctx, no(first.Code), owner)
		third := put("a", time.Hour)
		if third.Code == first.Code {
			t.Error("a new question has the code of one that ended")
		}
		d.Answer(ctx, yes(third.Code), owner)
		if want := []string{"b expired", "a denied", "a approved"}; !slices.Equal(ended, want) {
			t.Errorf("ended %q, want %q", ended, want)
		}
		if want := []string{"a", "b", "a"}; !slices.Equal(told, want) || len(l.kept) != 0 {
			t.Errorf("told %q, want %q; kept %v", told, want, l.kept)
		}
	})
}

// Two that ask the same at once get one question, and strangers, who can cause
// such questions, do not keep a run from asking.
func TestPutAtOnce(t *testing.T) {
	l := &log{}
	d := New(Options{Store: l})
	codes := make(chan string, 8)
	for range cap(codes) {
		go func() {
			a, err := d.Put(context.Background(), Effect{Act: "x", Title: "a"}, time.Hour, nil)
			if err != nil {
				t.Error(err)
			}
			codes <- a.Code
		}()
	}
	seen := map[string]bool{}
	for range cap(codes) {
		seen[<-codes] = true
	}
	if len(seen) != 1 || len(l.kept) != 1 {
		t.Fatalf("codes %v, kept %v", seen, l.kept)
	}
	for i := range maxOpen {
		d.Put(t.Context(), Effect{Act: "x", Title: fmt.Sprint(i), Group: chat.Group(fmt.Sprint(i))}, time.Hour, nil)
	}
	if _, err := d.Put(t.Context(), Effect{Act: "x", Title: "one more", Group: "z"}, time.Hour, nil); !errors.Is(err, errTooMany) {
		t.Errorf("one more: %v", err)
	}
	a, out := asking(d, t.Context(), effect("ls"))
	d.Answer(t.Context(), yes(a.Code), owner)
	if got := <-out; got.state != Approved {
		t.Errorf("a run asked: %+v", got)
	}
}

// A row that is not what was asked is answered by nobody.
func TestChangedRowIsWithdrawn(t *testing.T) {
	for name, change := range map[string]func(*Kept){
		"another text": func(k *Kept) { k.Parts = []Part{{"host", "evil.example"}} },
		"too long":     func(k *Kept) { k.Parts = []Part{{"host", strings.Repeat("x", maxShown)}} },
	} {
		t.Run(name, func(t *testing.T) {
			l := &log{}
			_, err := New(Options{Store: l}).Put(t.Context(), Effect{Act: "x", Title: "a", Parts: []Part{{"host", "example.com"}}}, time.Hour, nil)
			if err != nil {
				t.Fatal(err)
			}
			k := l.kept[1]
			change(&k)
			l.kept[1] = k
			d := New(Options{Store: l})
			var got State
			d.Handle("x", func(_ context.Context, _ Effect, s State, _ Who) error { got = s; return nil })
			if err := d.Start(t.Context()); err != nil || got != Withdrawn || len(d.Open()) != 0 || len(l.kept) != 0 {
				t.Errorf("%v, ended %q, open %+v, kept %v", err, got, d.Open(), l.kept)
			}
		})
	}
}
