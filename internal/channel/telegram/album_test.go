package telegram

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/channel/telegram/telegramtest"
	"nanoclaw/internal/chat"
)

// picture is part n of an album.
func picture(s *telegramtest.Server, from int64, group string, n int, more fields) fields {
	f := fields{"text": nil, "media_group_id": group, "photo": []any{fields{"file_id": fmt.Sprint(group, n), "file_size": 9}}}
	for k, v := range more {
		f[k] = v
	}
	return said(s.Text(team, from, "", f))
}

// refs are the files of a message.
func refs(in chat.Inbound) string {
	var out []string
	for _, f := range in.Files {
		out = append(out, f.Ref)
	}
	return strings.Join(out, " ")
}

// settled runs a channel until an update is confirmed, and gives what it stored.
func settled(t *testing.T, s *telegramtest.Server, c *Channel, sink *channeltest.Sink, last int64) []chat.Inbound {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, sink) }()
	s.Patience = patience
	for { // what waits for an album is asked for more than once
		err := s.Confirmed(ctx, last)
		if err == nil {
			break
		}
		if !errors.Is(err, telegramtest.ErrAgain) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	return sink.Got()
}

// Pictures that were sent as one are one message, in its place among the others, and
// another person's are not among them.
func TestAlbum(t *testing.T) {
	s := telegramtest.New(t)
	c := connected(s)
	c.opt.Settle = time.Millisecond
	forwarded := fields{"forward_origin": fields{"type": "user", "sender_user": fields{"id": 9, "first_name": "Eve"}}}
	first, second := picture(s, person, "g", 1, nil), picture(s, person, "g", 2, fields{"caption": "look, @andy_bot", "caption_entities": []any{fields{"type": "mention", "offset": 6, "length": 9}}})
	s.Push(said(s.Text(team, person, "before", nil)))
	s.Push(second) // out of order
	s.Push(picture(s, 9, "g", 7, nil))
	s.Push(first)
	s.Push(picture(s, person, "g", 3, nil))
	s.Push(picture(s, person, "f", 1, forwarded))
	s.Push(picture(s, person, "f", 2, fields{"caption": "approve k4m2-9x7a", "forward_origin": forwarded["forward_origin"]}))
	got := settled(t, s, c, &channeltest.Sink{}, s.Push(said(s.Text(team, person, "after", nil))))
	if len(got) != 5 {
		t.Fatalf("got %d messages: %+v", len(got), got)
	}
	if in := got[1]; refs(in) != "g1 g2 g3" || in.Text != "look, @Andy" || !in.Mentioned || in.ID != "1+2" || in.Sender.ID != "42" {
		t.Errorf("the album became %+v", in)
	}
	if in := got[2]; refs(in) != "g7" || in.Sender.ID != "9" {
		t.Errorf("another's picture became %+v", in)
	}
	words := 0
	for _, q := range got[3].Quotes {
		if q.Text == "approve k4m2-9x7a" && q.Forwarded && q.Author == "Eve" {
			words++
		}
	}
	if in := got[3]; refs(in) != "f1 f2" || in.Text != "" || words != 1 {
		t.Errorf("a forwarded album became %+v", in)
	}
	if got[0].Text != "before" || got[4].Text != "after" {
		t.Errorf("the order is %q, …, %q", got[0].Text, got[4].Text)
	}
}

// The rest of an album that comes later is waited for, and a host that dies meanwhile
// gets the whole of it.
func TestAlbumGrows(t *testing.T) {
	s := telegramtest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := connected(s)
	c.opt.Settle = time.Hour
	first, stop := context.WithCancel(ctx)
	sink := &channeltest.Sink{}
	done := make(chan error, 1)
	go func() { done <- c.Run(first, sink) }()
	for n := range 3 {
		s.Push(picture(s, person, "g", n, nil))
	}
	s.Push(said(s.Text(team, person, "after", nil)))
	if err := s.Waiting(ctx, 0); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil || len(sink.Got()) != 0 {
		t.Fatalf("%v, and %+v of an album that is not complete", err, sink.Got())
	}
	c = connected(s)
	c.opt.Settle = time.Hour // so that the tenth part ends it, and nothing else
	var last int64
	for n := 3; n < maxAlbum; n++ {
		last = s.Push(picture(s, person, "g", n, nil))
	}
	got := settled(t, s, c, sink, last)
	if len(got) != 2 || len(got[0].Files) != maxAlbum || got[1].Text != "after" {
		t.Errorf("got %+v", got)
	}
}

// A host that dies after it stored an album and before it confirmed it gets the same
// message, though other messages lie between its parts, and though one of them failed.
func TestAlbumIsStoredBeforeItIsConfirmed(t *testing.T) {
	s := telegramtest.New(t)
	s.Push(picture(s, person, "g", 1, nil))
	s.Push(said(s.Text(team, person, "between", nil)))
	last := s.Push(picture(s, person, "g", 2, nil))
	run := func(hold func(stop func(), in chat.Inbound) error) {
		t.Helper()
		ctx, stop := context.WithTimeout(t.Context(), patience)
		defer stop()
		c := connected(s)
		c.opt.Settle = time.Millisecond
		if err := c.Run(ctx, &channeltest.Sink{Hold: func(_ context.Context, in chat.Inbound) error { return hold(stop, in) }}); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	seen := func(in chat.Inbound) {
		if refs(in) != "" {
			ids = append(ids, string(in.ID)+": "+refs(in))
		}
	}
	run(func(stop func(), in chat.Inbound) error { seen(in); stop(); return nil })
	fails := 0
	run(func(stop func(), in chat.Inbound) error {
		seen(in)
		if in.Text != "between" {
			return nil
		}
		if fails++; fails == 2 {
			stop()
		}
		return errors.New("the disk is full")
	})
	c := connected(s)
	c.opt.Settle = time.Millisecond
	for _, in := range settled(t, s, c, &channeltest.Sink{}, last) {
		seen(in)
	}
	if len(ids) < 4 {
		t.Errorf("it came %d times: %q", len(ids), ids)
	}
	for _, id := range ids {
		if id != "1+1: g1 g2" {
			t.Errorf("it came as %q", ids)
		}
	}
}

// An album ends when nothing came for a pause, and a pause for each part does not keep
// everybody else waiting for ever.
func TestAlbumEnds(t *testing.T) {
	c := New(Options{Bot: telegramtest.Token, Settle: time.Second})
	var turns []turn
	grow := func(n int) {
		for range n {
			id := int64(len(turns) + 1)
			turns = append(turns, turn{id, update{Message: &message{ID: id, Group: "g", Chat: talk{ID: team}, From: &account{ID: person}}}})
		}
	}
	begun := time.Unix(1000, 0)
	ask := func(after time.Duration) int {
		n, pause := c.ready(begun.Add(after), turns, c.gathered(turns))
		if (n == len(turns)) != (pause == 0) {
			t.Errorf("after %s: %d of %d, and a pause of %s", after, n, len(turns), pause)
		}
		return n
	}
	grow(2)
	if ask(0) != 0 || ask(900*time.Millisecond) != 0 || ask(time.Second) != 2 {
		t.Error("it ended at another time than after the pause")
	}
	turns, c.growing = nil, nil
	for at := time.Duration(0); at < 5*time.Second; at += 900 * time.Millisecond {
		grow(1)
		if ask(at) != 0 {
			t.Errorf("it ended after %s while it grew", at)
		}
	}
	grow(1)
	if ask(5*time.Second) != len(turns) {
		t.Error("it did not end while it grew")
	}
	if turns = nil; ask(6*time.Second) != 0 || len(c.growing) != 0 {
		t.Error("an album that is gone is remembered")
	}
}
