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

	"nanoclaw/internal/approval"
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
	t := &talker{screen: s, view: v, talk: talk, ask: ask, open: map[int]bool{}, turns: make(chan turn), prompts: make(chan struct{}, 1), prompting: true}
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
	open   map[int]bool // messages without an answer; true for one that answers a question
	asked  int          // questions of the host that nobody here answered

	turns   chan turn     // from the reader
	prompts chan struct{} // to the reader: read another message
	// prompting says that the reader reads.
	prompting bool
}

// turn is one message as it was typed, or why there is none.
type turn struct {
	text string
	err  error
}

// read reads messages, each when it is told to.
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
		case <-t.prompts:
		case <-ctx.Done():
			return
		}
	}
}

// turn sends what was typed. done says that the person leaves.
func (t *talker) turn(x turn) (done bool, err error) {
	t.prompting = false
	switch {
	case errors.Is(x.err, io.EOF):
		return true, nil
	case x.err != nil:
		return true, x.err
	case x.text == "":
		t.next()
		return false, nil
	}
	_, answer := approval.ParseReply(x.text)
	if answer {
		t.asked--
	}
	t.seq++
	t.open[t.seq] = answer
	t.screen.setBusy(true)
	if err := t.talk.Say(t.seq, x.text, t.ask); err != nil {
		return true, err
	}
	t.ask.Conversation = chat.Ongoing // what the first began goes on
	t.next()
	return false, nil
}

// event shows what arrived. It goes back to the prompt after the last answer, and
// for a question of the host.
func (t *talker) event(e control.Event) {
	t.view.event(e, t.screen.isBusy() && !t.prompting)
	switch {
	case e.Said != nil && e.Said.Error != nil:
		t.done(e.Said.Seq, false)
	case e.Answered != nil:
		t.done(e.Answered.Seq, e.Answered.Answer.State == control.Taken)
	case e.Outbound != nil && e.Outbound.Kind == chat.Question && t.screen.isBusy():
		t.asked++
		t.next()
	}
}

// done notes that a message was answered. An answer to a question that was not
// taken leaves the question open.
func (t *talker) done(seq int, taken bool) {
	if t.open[seq] && !taken {
		t.asked++
	}
	delete(t.open, seq)
	t.next()
}

// next decides what the screen is for: the prompt if nothing is open, or if
// what is open waits for an answer of this person.
func (t *talker) next() {
	idle := len(t.open) == 0
	if idle {
		t.asked = 0
	}
	t.screen.setAsking(t.asked > 0)
	t.screen.setBusy(!idle)
	if idle || t.asked > 0 {
		t.prompt()
	}
}

// prompt has the reader read, unless it does.
func (t *talker) prompt() {
	if !t.prompting {
		t.prompting = true
		t.prompts <- struct{}{}
	}
}
