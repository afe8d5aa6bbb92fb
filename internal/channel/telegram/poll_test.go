package telegram

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/channel/telegram/telegramtest"
	"nanoclaw/internal/chat"
)

// What is not stored is not confirmed and comes again; what comes twice has one id.
func TestCutOffInTheMiddle(t *testing.T) {
	s := telegramtest.New(t)
	stored := map[chat.MessageID]int{}
	fails := 2
	sink := &channeltest.Sink{Hold: func(_ context.Context, in chat.Inbound) error {
		if in.Text == "second" && fails > 0 {
			fails--
			return errors.New("the disk is full")
		}
		stored[in.ID]++
		return nil
	}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, text := range []string{"first", "second", "third"} {
		s.Push(said(s.Text(team, person, text, nil)))
	}
	done := make(chan error, 1)
	go func() { done <- connected(s).Run(ctx, sink) }()
	s.Patience = patience
	if err := s.Confirmed(ctx, 1003); err != nil && !errors.Is(err, telegramtest.ErrAgain) {
		t.Fatal(err)
	}
	for s.Confirmed(ctx, 1003) != nil {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if len(stored) != 3 || stored["1"] != 1 {
		t.Errorf("stored %v: what was durable was asked for again, or something is missing", stored)
	}
}

// A host that dies after it stored a message and before it confirmed it gets it again,
// with the same id.
func TestCrashBeforeConfirming(t *testing.T) {
	s := telegramtest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.Push(said(s.Text(team, person, "hi", nil)))
	first, stop := context.WithCancel(ctx)
	var ids []chat.MessageID
	sink := &channeltest.Sink{Hold: func(_ context.Context, in chat.Inbound) error {
		ids = append(ids, in.ID)
		stop() // nothing more is said to the network
		return nil
	}}
	if err := connected(s).Run(first, sink); err != nil {
		t.Fatal(err)
	}
	again, stopped := context.WithCancel(ctx)
	stop = stopped
	if err := connected(s).Run(again, sink); err != nil {
		t.Fatal(err)
	}
	if len(ids) != 2 || ids[0] != ids[1] {
		t.Errorf("it came as %v", ids)
	}
}

// After a quiet week Telegram counts updates from another number. Ours must not have it
// forget them.
func TestNumbersBeginAnew(t *testing.T) {
	s := telegramtest.New(t)
	c := connected(s)
	c.opt.Poll = time.Second
	ctx, sink := start(t, c)
	if err := s.Say(ctx, said(s.Text(team, person, "before", nil))); err != nil {
		t.Fatal(err)
	}
	if err := s.Waiting(ctx, s.Calls("getUpdates")); err != nil { // one that found nothing
		t.Fatal(err)
	}
	s.Renumber(10)
	if err := s.Say(ctx, said(s.Text(team, person, "after", nil))); err != nil {
		t.Fatal(err)
	}
	if got := sink.Got(); len(got) != 2 || got[1].Text != "after" {
		t.Errorf("got %+v", got)
	}
}

// hasStatus waits for a status.
func hasStatus(t *testing.T, c *Channel, want channel.State, words string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	found := make(chan struct{}, 1)
	c.OnStatus(func(s channel.Status) {
		if s.State == want && strings.Contains(s.Cause, words) {
			select {
			case found <- struct{}{}:
			default:
			}
		}
		if strings.Contains(s.Cause, telegramtest.Token) {
			t.Errorf("the token is in %q", s.Cause)
		}
	})
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, &channeltest.Sink{}) }()
	select {
	case <-found:
	case <-ctx.Done():
		t.Errorf("no status %s with %q", want, words)
	}
	cancel()
	<-done
}

func TestConnectionInWords(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		fail         func(http.ResponseWriter) bool
		want         channel.State
		words        string
	}{
		{"revoked", "getMe", func(w http.ResponseWriter) bool { telegramtest.Refusal(w, 401, "Unauthorized", nil); return true }, channel.Ended, "nanoclaw channel login telegram"},
		{"revoked later", "getUpdates", func(w http.ResponseWriter) bool { telegramtest.Refusal(w, 401, "Unauthorized", nil); return true }, channel.Ended, "nanoclaw channel login telegram"},
		{"another asks too", "getUpdates", func(w http.ResponseWriter) bool {
			telegramtest.Refusal(w, 409, "Conflict: terminated by other getUpdates request", nil)
			return true
		}, channel.Waiting, "another program"},
		{"a limit", "getUpdates", func(w http.ResponseWriter) bool {
			telegramtest.Refusal(w, 429, "Too Many Requests", map[string]any{"retry_after": 9})
			return true
		}, channel.Waiting, "asks to wait"},
		{"no Telegram at all", "getUpdates", func(w http.ResponseWriter) bool { fmt.Fprint(w, "<html>"); return true }, channel.Waiting, "no updates"},
		{"cut off", "getUpdates", func(w http.ResponseWriter) bool { telegramtest.Hang(w); return true }, channel.Waiting, "cannot be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := telegramtest.New(t)
			s.Fail(tt.method, tt.fail)
			hasStatus(t, connected(s), tt.want, tt.words)
		})
	}
	t.Run("a token that is none", func(t *testing.T) {
		s := telegramtest.New(t)
		c := New(Options{Bot: "../../secret", API: s.URL})
		hasStatus(t, c, channel.Ended, "nanoclaw channel login telegram")
	})
}

func TestLogin(t *testing.T) {
	s := telegramtest.New(t)
	l := Login("Andy", Options{API: s.URL})
	if words, err := l.Try(t.Context(), []string{telegramtest.Token}); err != nil || !strings.Contains(words, "@andy_bot") {
		t.Errorf("%q, %v", words, err)
	}
	if _, err := l.Try(t.Context(), []string{"1:wrong"}); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong token gave %v", err)
	}
	if s.Calls("getUpdates") != 0 {
		t.Error("trying a token ended the requests of a host that runs")
	}
}

// Sixty messages, four a second with bursts and many in one second, some twice, some in
// another order than their numbers, with the connection cut off: none is lost.
func TestTraceLosesNothing(t *testing.T) {
	s := telegramtest.New(t)
	ctx, sink := start(t, connected(s))
	var last int64
	var late map[string]any
	for n := range 60 {
		u := said(s.Text(team, person, fmt.Sprint("message ", n), nil))
		switch {
		case n%20 == 10:
			s.Drop()
		case n%9 == 5:
			late = u
			continue
		case n%7 == 3:
			s.Push(u)
		}
		last = s.Push(u)
		if late != nil {
			last, late = s.Push(late), nil
		}
	}
	if late != nil {
		last = s.Push(late)
	}
	s.Patience = patience
	for s.Confirmed(ctx, last) != nil {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	got := map[string]bool{}
	for _, in := range sink.Got() {
		got[in.Text] = true
	}
	if len(got) != 60 {
		t.Errorf("%d messages of 60 arrived", len(got))
	}
}

// A thousand connections leave nothing behind.
func TestThousandReconnects(t *testing.T) {
	s := telegramtest.New(t)
	c := connected(s)
	c.opt.Supervise = supervise.Options{First: time.Microsecond, Most: 2 * time.Microsecond}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	reached := make(chan int, 2000)
	n := 0
	s.Fail("getUpdates", func(w http.ResponseWriter) bool {
		n++
		reached <- n
		if n > 1000 {
			return false
		}
		telegramtest.Hang(w)
		return true
	})
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, &channeltest.Sink{}) }()
	defer func() { cancel(); <-done }()
	measure := func() (int, uint64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	var goroutines int
	var heap uint64
	for i := range 1001 {
		select {
		case <-reached:
		case <-ctx.Done():
			t.Fatalf("connection %d: %v", i, ctx.Err())
		}
		if i == 100 {
			goroutines, heap = measure()
		}
	}
	if err := s.Say(ctx, said(s.Text(team, person, "still here", nil))); err != nil {
		t.Fatal(err)
	}
	g, h := measure()
	if g > goroutines+15 { // those of requests that are just ending
		t.Errorf("%d goroutines after 1000 connections, %d after 100", g, goroutines)
	}
	if h > heap+heap/2+(2<<20) {
		t.Errorf("%d bytes after 1000 connections, %d after 100", h, heap)
	}
	if most := s.Most(); most != 1 {
		t.Errorf("%d requests for updates at once", most)
	}
}
