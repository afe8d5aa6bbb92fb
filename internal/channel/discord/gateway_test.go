package discord

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/channel/discord/discordtest"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/chat"
)

// However a connection ends, the next takes up the session if it may, and begins one if
// it may not.
func TestReconnects(t *testing.T) {
	s := discordtest.New(t)
	ctx, _ := start(t, s, connected(s))
	for _, tt := range []struct {
		name   string
		end    func()
		resume bool
	}{
		{"asked to", func() { s.Send(discordtest.Object{"op": 7}) }, true},
		{"cut off", s.Drop, true},
		{"closed, with an error", func() { s.CloseWith(4000, "x") }, true},
		{"no JSON", func() { s.Send(discordtest.Object{"op": "x"}) }, true},
		{"the session may be taken up", func() { s.Send(discordtest.Object{"op": 9, "d": true}) }, true},
		{"the session is over", func() { s.Send(discordtest.Object{"op": 9, "d": false}) }, false},
		{"the session timed out", func() { s.CloseWith(4009, "x") }, false},
		{"the session is forgotten meanwhile", func() { s.Drop(); s.Forget() }, false},
	} {
		_, _, begun, resumed := s.Sockets()
		tt.end()
		if err := s.Up(ctx, begun+resumed); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		most, _, now, again := s.Sockets()
		if (again > resumed) != tt.resume || (now > begun) == tt.resume {
			t.Errorf("%s: %d sessions were begun and %d taken up, %d and %d before", tt.name, now, again, begun, resumed)
		}
		if most != 1 {
			t.Errorf("%s: %d sockets at once", tt.name, most)
		}
	}
}

// A connection over which heartbeats get no answer is given up.
func TestZombie(t *testing.T) {
	s := discordtest.New(t)
	s.Beat = 50 * time.Millisecond
	ctx, _ := start(t, s, connected(s))
	s.Deaf(true)
	if err := s.Up(ctx, 1); err != nil {
		t.Fatal("the dead connection was kept")
	}
	if _, _, _, resumed := s.Sockets(); resumed == 0 {
		t.Error("the session was not taken up")
	}
	s.Deaf(false)
}

func TestConnectionInWords(t *testing.T) {
	for _, tt := range []struct {
		name, words string
		make        func(s *discordtest.Server) *Channel
	}{
		{"revoked", "nanoclaw channel login discord", func(s *discordtest.Server) *Channel {
			s.Refuse("GET users", 401, 0, "401: Unauthorized", 1)
			return connected(s)
		}},
		{"revoked, said by the gateway", "nanoclaw channel login discord", func(s *discordtest.Server) *Channel {
			c := connected(s)
			c.opt.Bot = "old" // which the gateway alone is told
			return c
		}},
		{"no intent", "Message Content Intent", func(s *discordtest.Server) *Channel { s.Disallow(); return connected(s) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := tt.make(discordtest.New(t)).Run(ctx, &channeltest.Sink{})
			if !channel.IsPermanent(err) || !strings.Contains(err.Error(), tt.words) || strings.Contains(err.Error(), discordtest.Token) {
				t.Errorf("Run ended with %v", err)
			}
		})
	}
}

// The token goes nowhere but to a gateway over an encrypted connection.
func TestTrusted(t *testing.T) {
	c := New(Options{})
	for address, ok := range map[string]bool{"wss://gateway.discord.gg": true, "ws://gateway.discord.gg": false, "ws://127.0.0.1:1": false, "http://x": false, "": false, "wss://": false} {
		if _, err := c.trusted(address); (err == nil) != ok {
			t.Errorf("%q gave %v", address, err)
		}
	}
}

// What is not stored is not confirmed and comes again; what comes twice has one id.
func TestCutOffInTheMiddle(t *testing.T) {
	s := discordtest.New(t)
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
	done := make(chan error, 1)
	go func() { done <- connected(s).Run(ctx, sink) }()
	if err := s.Up(ctx, 0); err != nil {
		t.Fatal(err)
	}
	var ids []chat.MessageID
	for _, text := range []string{"first", "second", "third"} {
		m := s.Text(discordtest.General, "1001", text, nil)
		ids = append(ids, chat.MessageID(m["id"].(string)))
		s.Push("MESSAGE_CREATE", m)
	}
	for s.Say(ctx, "TYPING_START", nil) != nil { // behind the three
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if len(stored) != 3 || stored[ids[0]] != 1 {
		t.Errorf("stored %v: what was durable was asked for again, or something is missing", stored)
	}
}

// Sixty messages, four a second with bursts and many in one second, half of them said
// while there is no connection, some with no session either: each arrives, or is found
// afterwards.
func TestTraceLosesNothing(t *testing.T) {
	s := discordtest.New(t)
	c := connected(s)
	ctx, sink := start(t, s, c)
	begun := time.Now().Add(-time.Minute)
	for n := range 60 {
		in := discordtest.General
		if n%5 == 4 {
			in = discordtest.Thread
		}
		m := s.Keep(s.Text(in, "1001", fmt.Sprint("message ", n), discordtest.Object{"id": s.IDAt(begun.Add(time.Duration(n)*250*time.Millisecond), n)}))
		switch {
		case n%20 == 10:
			s.Drop()
		case n == 45:
			s.Drop()
			s.Forget() // and what comes now is told to no session
			continue
		case n%7 == 3:
			s.Push("MESSAGE_CREATE", m) // twice
		}
		s.Push("MESSAGE_CREATE", m)
	}
	for s.Say(ctx, "TYPING_START", nil) != nil {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		time.Sleep(time.Millisecond)
	}
	got := map[string]bool{}
	for _, in := range sink.Got() {
		got[in.Text] = true
	}
	missed, err := c.Since(ctx, general, begun.Add(-time.Second), 100)
	if err != nil {
		t.Fatal(err)
	}
	for i, in := range missed {
		if in.Text != fmt.Sprint("message ", i) || in.From.Base() != general {
			t.Errorf("message %d of the history is %+v", i, in)
		}
		got[in.Text] = true
	}
	if len(got) != 60 || len(missed) != 60 {
		t.Errorf("%d messages of 60 arrived or were found, %d in the history", len(got), len(missed))
	}
}

// The history is asked for in pages, and gives no more than was asked for.
func TestSince(t *testing.T) {
	s := discordtest.New(t)
	c := connected(s)
	begun := time.Now().Add(-time.Hour)
	for n := range 250 {
		s.Keep(s.Text(discordtest.Direct, "1001", fmt.Sprint(n), discordtest.Object{"id": s.IDAt(begun, n)}))
	}
	direct := place{channel: discordtest.Direct}.address()
	got, err := c.Since(t.Context(), direct, begun, 1000)
	if err != nil || len(got) != 249 || got[0].Text != "1" || !got[0].Mentioned {
		t.Errorf("%d messages, %v", len(got), err)
	}
	if got, err := c.Since(t.Context(), direct, begun, 120); err != nil || len(got) != 120 || got[119].Text != "120" {
		t.Errorf("%d messages, %v", len(got), err)
	}
}

// A thousand connections leave nothing behind.
func TestThousandReconnects(t *testing.T) {
	s := discordtest.New(t)
	c := connected(s)
	c.opt.Supervise = supervise.Options{First: time.Microsecond, Most: 2 * time.Microsecond}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
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
	if most, ever, begun, _ := s.Sockets(); most != 1 || ever != 1000 || begun != 1 {
		t.Errorf("%d sockets at once, %d in all, %d sessions", most, ever, begun)
	}
}
