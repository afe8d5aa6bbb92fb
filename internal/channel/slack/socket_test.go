package slack

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/channel/slack/slacktest"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/chat"
)

func TestReconnects(t *testing.T) {
	s := slacktest.New(t)
	ctx, _ := start(t, s, connected(s))
	for i, end := range []func() error{
		func() error { return s.Disconnect("refresh_requested") },
		func() error { s.Drop(); return nil },
		func() error { return s.Raw("this is no JSON") },
		func() error { return s.Raw(`{"type":"events_api","payload":`) },
	} {
		_, before := s.Sockets()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := s.Up(ctx, before); err != nil {
			t.Fatalf("no new connection after end %d", i)
		}
	}
	if most, _ := s.Sockets(); most != 1 {
		t.Errorf("%d sockets at once", most)
	}
}

func TestUnknownEnvelopesAreTaken(t *testing.T) {
	s := slacktest.New(t)
	ctx, sink := start(t, s, connected(s))
	for _, kind := range []string{"slash_commands", "something_new", "interactive"} {
		if err := s.Send(ctx, kind, map[string]any{"x": []any{}}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if got := sink.Got(); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}

// A connection over which nothing comes any more is given up.
func TestSilence(t *testing.T) {
	s := slacktest.New(t)
	c := connected(s)
	c.opt.Ping, c.opt.Supervise.Silence = 10*time.Millisecond, 300*time.Millisecond
	ctx, _ := start(t, s, c)
	_, before := s.Sockets()
	s.Deaf(true)
	if err := s.Up(ctx, before); err != nil {
		t.Fatal("the silent connection was kept")
	}
	s.Deaf(false)
}

func TestTokenRevoked(t *testing.T) {
	for _, method := range []string{"auth.test", "apps.connections.open"} {
		s := slacktest.New(t)
		s.Refuse(method, "token_revoked", 1000)
		err := connected(s).Run(t.Context(), &channeltest.Sink{})
		if !channel.IsPermanent(err) || !strings.Contains(err.Error(), "nanoclaw channel login slack") {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestSocketModeTurnedOff(t *testing.T) {
	s := slacktest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- connected(s).Run(ctx, &channeltest.Sink{}) }()
	if err := s.Up(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Disconnect("link_disabled"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !channel.IsPermanent(err) {
		t.Errorf("Run ended with %v", err)
	}
}

// What is cut off before it is acknowledged comes again, and then counts once: the
// store knows its id.
func TestCutOffInTheMiddle(t *testing.T) {
	s := slacktest.New(t)
	stored := map[chat.MessageID]int{}
	fail := true
	sink := &channeltest.Sink{Hold: func(_ context.Context, in chat.Inbound) error {
		if fail {
			fail = false
			return errors.New("the disk is full")
		}
		stored[in.ID]++
		return nil
	}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- connected(s).Run(ctx, sink) }()
	defer func() { cancel(); <-done }()
	if err := s.Up(ctx, 0); err != nil {
		t.Fatal(err)
	}
	m := s.Keep(slacktest.Message{Channel: "C1", User: "U1", Text: "hi"})
	if err := s.Event(ctx, m, nil); !errors.Is(err, slacktest.ErrLost) {
		t.Fatalf("a message that was not stored: %v", err)
	}
	if err := s.Up(ctx, 1); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again, and a duplicate
		if err := s.Event(ctx, m, nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(stored) != 1 || stored[chat.MessageID(m.TS)] != 2 {
		t.Errorf("stored %v", stored)
	}
}

// Sixty messages, four a second for fifteen seconds, with bursts and many in one
// second, half of the events out of order, and the connection lost on the way: each
// arrives, or is acknowledged to nobody and found afterwards.
func TestTraceLosesNothing(t *testing.T) {
	s := slacktest.New(t)
	c := connected(s)
	ctx, sink := start(t, s, c)
	begun := time.Unix(1_700_000_000, 0)
	var want, told []string
	for i := range 60 {
		m := s.Keep(slacktest.Message{Channel: "C1", User: "U1", Text: fmt.Sprintf("message %d", i), TS: fmt.Sprintf("%d.%06d", begun.Unix()+int64(i/4), i)})
		want = append(want, m.Text)
		if i == 20 || i == 41 {
			_, before := s.Sockets()
			s.Drop()
			if i == 41 {
				continue // said while nobody listened
			}
			if err := s.Up(ctx, before); err != nil {
				t.Fatal(err)
			}
		}
		for s.Event(ctx, m, nil) != nil { // Slack tries again
			if ctx.Err() != nil {
				t.Fatal(ctx.Err())
			}
		}
		told = append(told, m.Text)
	}
	got := map[string]bool{}
	for _, in := range sink.Got() {
		got[in.Text] = true
	}
	missed, err := c.Since(ctx, general, begun.Add(-time.Second), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range told {
		if !got[text] {
			t.Errorf("%q was acknowledged and never arrived", text)
		}
	}
	var found []string
	for _, in := range missed {
		found = append(found, in.Text)
	}
	if !slices.Equal(found, want) {
		t.Errorf("the history gives %d messages: %q", len(found), found)
	}
}

func TestSinceHasThreadsAndGuests(t *testing.T) {
	s := slacktest.New(t)
	c := connected(s)
	root := s.Keep(slacktest.Message{Channel: "C1", User: "U1", Text: "root", Replies: 1})
	s.Keep(slacktest.Message{Channel: "C1", User: "U2", Text: "reply", Thread: root.TS, Team: "T9"})
	s.Keep(slacktest.Message{Channel: "C1", User: slacktest.BotUser, BotID: slacktest.BotID, Text: "ours"})
	got, err := c.Since(t.Context(), general, time.Unix(1_600_000_000, 0), 100)
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got[1].From != address("T1", "C1", root.TS) || got[1].Sender.ID != "T9/U2" || !got[2].Sender.Self {
		t.Errorf("got %+v", got)
	}
}

// A thousand connections leave nothing behind.
func TestThousandReconnects(t *testing.T) {
	s := slacktest.New(t)
	c := connected(s)
	c.opt.Supervise = supervise.Options{First: time.Microsecond, Most: 2 * time.Microsecond}
	sink := &channeltest.Sink{}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, sink) }()
	defer func() { cancel(); <-done }()
	measure := func() (int, uint64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	var goroutines int
	var heap uint64
	for i := range 1000 {
		if err := s.Up(ctx, i); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if i == 100 {
			goroutines, heap = measure()
		}
		if i < 999 {
			s.Drop()
		}
	}
	g, h := measure()
	if g > goroutines+5 {
		t.Errorf("%d goroutines after 1000 connections, %d after 100", g, goroutines)
	}
	if h > heap+heap/2+(2<<20) {
		t.Errorf("%d bytes after 1000 connections, %d after 100", h, heap)
	}
	if most, ever := s.Sockets(); most != 1 || ever != 1000 {
		t.Errorf("%d sockets at once, %d in all", most, ever)
	}
}
