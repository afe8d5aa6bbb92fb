package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/chat"
)

func TestConformance(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) channeltest.Network {
		hub := New(Options{})
		return channeltest.Network{
			Channel: hub,
			Chat:    Address("main"),
			Leaves:  true,
			Say: func(ctx context.Context, text string) error {
				_, err := hub.Say(ctx, "main", text, chat.Ask{})
				return err
			},
			Connect: func() (func(context.Context) (string, error), func()) {
				term := hub.Attach("main")
				next := func(ctx context.Context) (string, error) {
					for {
						m, _, err := term.Next(ctx)
						if err != nil || m != nil {
							return textOf(m), err
						}
					}
				}
				return next, func() { term.Close() }
			},
		}
	})
}

func textOf(m *chat.Outbound) string {
	if m == nil {
		return ""
	}
	return m.Text
}

func out(id int64, text string) chat.Outbound {
	return chat.Outbound{ID: id, To: Address("main"), Kind: chat.Reply, Text: text}
}

// deliver starts a delivery and gives its outcome.
func deliver(ctx context.Context, h *Hub, m chat.Outbound) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := h.Deliver(ctx, m)
		done <- err
	}()
	return done
}

func TestSayIsTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		hub, sink := New(Options{}), &channeltest.Sink{}
		gone, leave := context.WithCancel(ctx)
		leave()
		if _, err := hub.Say(gone, "main", "early", chat.Ask{}); err == nil {
			t.Error("a message was taken before the host ran")
		}
		early := make(chan error, 1)
		go func() {
			_, err := hub.Say(ctx, "main", "patient", chat.Ask{})
			early <- err
		}()
		synctest.Wait()
		go hub.Run(ctx, sink)
		if err := <-early; err != nil {
			t.Errorf("a message said while the host starts: %v", err)
		}
		ask := chat.Ask{Mounts: []string{"/src:rw"}}
		id, err := hub.Say(ctx, "work", "hi", ask)
		if err != nil {
			t.Fatal(err)
		}
		want := []chat.Inbound{{
			From: Address("work"), ID: id, Text: "hi", Sent: time.Now(), Mentioned: true, Ask: ask,
			Sender: chat.Sender{ID: Owner, Name: "owner", Owner: true},
		}}
		if diff := cmp.Diff(want, sink.Got()[1:]); diff != "" {
			t.Error(diff)
		}
		cancel()
		synctest.Wait()
		if _, err := hub.Say(context.Background(), "main", "late", chat.Ask{}); err == nil {
			t.Error("a message was taken after the host ended")
		}
	})
}

func TestDeliveredOnlyWhenShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := New(Options{})
		term := hub.Attach("main")
		done := deliver(t.Context(), hub, out(1, "one"))
		m, _, err := term.Next(t.Context())
		if err != nil || m.Text != "one" {
			t.Fatalf("got %v, %v", m, err)
		}
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("delivered (%v) before the terminal had shown it", err)
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := term.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Next gave %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Deliver: %v", err)
		}
	})
}

func TestAllTerminalsGetIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := New(Options{})
		a, b, other := hub.Attach("main"), hub.Attach("main"), hub.Attach("work")
		done := deliver(t.Context(), hub, out(1, "one"))
		for _, term := range []*Terminal{a, b} {
			if m, _, err := term.Next(t.Context()); err != nil || m.Text != "one" {
				t.Errorf("got %v, %v", m, err)
			}
		}
		go a.Next(t.Context())
		if err := <-done; err != nil {
			t.Errorf("Deliver: %v", err)
		}
		a.Close()
		b.Close()
		other.Close()
		if _, _, err := other.Next(t.Context()); err != io.EOF {
			t.Errorf("the terminal of another group got something: %v", err)
		}
	})
}

func TestUnshownMessageIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := New(Options{})
		term := hub.Attach("main")
		done := deliver(t.Context(), hub, out(1, "one"))
		if _, _, err := term.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		term.Close() // it was given out, but never confirmed
		if err := <-done; !errors.Is(err, chat.ErrNobody) {
			t.Errorf("Deliver gave %v, want ErrNobody", err)
		}
		if n := hub.Attached("main"); n != 0 {
			t.Errorf("%d terminals are attached, want 0", n)
		}
	})
}

func TestOneTerminalLeavesAnotherShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := New(Options{})
		a, b := hub.Attach("main"), hub.Attach("main")
		done := deliver(t.Context(), hub, out(1, "one"))
		synctest.Wait()
		a.Close()
		if _, _, err := b.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		go b.Next(t.Context())
		if err := <-done; err != nil {
			t.Errorf("Deliver: %v", err)
		}
	})
}

func TestStalledTerminalIsDetached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := New(Options{Patience: time.Minute})
		stalled, idle := hub.Attach("main"), hub.Attach("main")
		done := deliver(t.Context(), hub, out(1, "one"))
		if _, _, err := stalled.Next(t.Context()); err != nil { // takes it, and stands still
			t.Fatal(err)
		}
		began := time.Now()
		if err := <-done; !errors.Is(err, chat.ErrNobody) {
			t.Errorf("Deliver gave %v, want ErrNobody", err)
		}
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("waited %v, want the patience of a minute", waited)
		}
		if _, _, err := stalled.Next(t.Context()); err != io.EOF {
			t.Errorf("the stalled terminal got %v, want io.EOF", err)
		}
		// The other one had not looked: the message was taken back, so that the
		// next attempt does not show it twice.
		done = deliver(t.Context(), hub, out(1, "one"))
		var shown []string
		for range 1 {
			m, _, err := idle.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			shown = append(shown, m.Text)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if m, _, err := idle.Next(ctx); err == nil {
			shown = append(shown, m.Text)
		}
		if err := <-done; err != nil {
			t.Errorf("Deliver: %v", err)
		}
		if diff := cmp.Diff([]string{"one"}, shown); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSlowTerminalLosesProgressAndNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := New(Options{})
		term := hub.Attach("main")
		for i := range 3 * maxProgress {
			hub.Progress(t.Context(), chat.Progress{To: Address("main"), Kind: chat.Text, Text: fmt.Sprint(i)})
		}
		done := deliver(t.Context(), hub, out(1, "answer"))
		synctest.Wait()
		pieces, answer := 0, ""
		for answer == "" {
			m, p, err := term.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if p != nil {
				pieces++
			}
			answer = textOf(m)
		}
		go term.Next(t.Context())
		if err := <-done; err != nil || answer != "answer" {
			t.Errorf("answer %q, Deliver: %v", answer, err)
		}
		if pieces != maxProgress {
			t.Errorf("%d pieces of progress waited, want the limit of %d", pieces, maxProgress)
		}
		term.Close()
	})
}

func TestFullQueueDetaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := New(Options{})
		slow := hub.Attach("main")
		var waiting []<-chan error
		for i := range maxMessages + 1 {
			waiting = append(waiting, deliver(t.Context(), hub, out(int64(i), "m")))
		}
		for _, done := range waiting {
			if err := <-done; !errors.Is(err, chat.ErrNobody) {
				t.Fatalf("Deliver gave %v, want ErrNobody", err)
			}
		}
		if _, _, err := slow.Next(t.Context()); err != io.EOF {
			t.Errorf("Next gave %v, want io.EOF", err)
		}
	})
}

func TestAttachReleasesHeldMessages(t *testing.T) {
	var got []chat.Address
	hub := New(Options{OnAttach: func(a chat.Address) { got = append(got, a) }})
	hub.Attach("main").Close()
	hub.Attach("work").Close()
	if diff := cmp.Diff([]chat.Address{Address("main"), Address("work")}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRunEndsDetachTerminals(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hub := New(Options{})
	done := make(chan error, 1)
	go func() { done <- hub.Run(ctx, &channeltest.Sink{}) }()
	term := hub.Attach("main")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, _, err := term.Next(t.Context()); err != io.EOF {
		t.Errorf("Next gave %v, want io.EOF", err)
	}
	if _, _, err := hub.Attach("main").Next(t.Context()); err != io.EOF {
		t.Errorf("a terminal attached after the end got %v, want io.EOF", err)
	}
}
