package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// interactive is the chat of a person at a terminal.
func (a *app) interactive(ctx context.Context, talk *control.Conversation, g chat.Group, ask chat.Ask, out *os.File) error {
	restore, err := rawMode(a.in)
	if err != nil {
		return err
	}
	defer restore()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	s := newScreen(a.in, out, fmt.Sprintf("%s> ", g), func() { talk.Interrupt() })
	defer s.close()
	_, cols := sizeOf(out)
	v := &view{write: s.write, colour: a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb", width: int(cols)}
	arriving, ended := events(talk)
	t := &talker{screen: s, view: v, talk: talk, ask: ask, turns: make(chan turn), answered: make(chan int, 1)}
	go t.read(ctx)

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGWINCH)
	defer signal.Stop(signals)
	for {
		select {
		case e, ok := <-arriving:
			if !ok {
				return <-ended
			}
			t.event(e)
		case x := <-t.turns:
			if done, err := t.turn(x); done {
				return err
			}
		case sig := <-signals:
			if sig != syscall.SIGWINCH {
				return interrupted(sig)
			}
			s.resize()
		}
	}
}

// talker is one interactive conversation. One goroutine reads messages from the
// screen, the other does everything else.
type talker struct {
	screen *screen
	view   *view
	talk   *control.Conversation
	ask    chat.Ask
	seq    int

	turns    chan turn // from the reader
	answered chan int  // to the reader: the message is done with
}

// turn is one message as it was typed, or why there is none.
type turn struct {
	text string
	err  error
}

// read reads messages, each after the one before is done with.
func (t *talker) read(ctx context.Context) {
	for {
		text, err := t.screen.message()
		select {
		case t.turns <- turn{strings.TrimSpace(text), err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
		select {
		case <-t.answered:
		case <-ctx.Done():
			return
		}
	}
}

// turn sends what was typed. done says that the person leaves.
func (t *talker) turn(x turn) (done bool, err error) {
	switch {
	case errors.Is(x.err, io.EOF):
		return true, nil
	case x.err != nil:
		return true, x.err
	case x.text == "":
		t.next()
		return false, nil
	}
	t.seq++
	t.screen.setBusy(true)
	if err := t.talk.Say(t.seq, x.text, t.ask); err != nil {
		return true, err
	}
	t.ask.Conversation = chat.Ongoing // what the first began goes on
	return false, nil
}

// event shows what arrived, and goes back to the prompt after the answer.
func (t *talker) event(e control.Event) {
	t.view.event(e, t.screen.isBusy())
	failed := e.Said != nil && e.Said.Error != nil && e.Said.Seq == t.seq
	if failed || e.Answered != nil && e.Answered.Seq == t.seq {
		t.next()
	}
}

func (t *talker) next() {
	t.screen.setBusy(false)
	t.answered <- t.seq
}
