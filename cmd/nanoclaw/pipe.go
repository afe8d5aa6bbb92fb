package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// longestLine bounds a message from a pipe, in bytes.
const longestLine = 256 << 10

// line is one line of a pipe, or why there is no more.
type line struct {
	text string
	err  error
}

// readLines gives the lines of in that are not empty.
func readLines(in io.Reader) <-chan line {
	lines := make(chan line)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(in)
		s.Buffer(nil, longestLine)
		for s.Scan() {
			if text := strings.TrimSpace(s.Text()); text != "" {
				lines <- line{text: text}
			}
		}
		if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
			lines <- line{err: &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("a line has more than %d KB", longestLine>>10), Hint: "each line is one message; put long text into a file of a --mount"}}
		} else if err != nil {
			lines <- line{err: err}
		}
	}()
	return lines
}

// pipe sends lines in order, each when the one before is answered, and prints
// the answers.
func (a *app) pipe(talk *control.Conversation, ask chat.Ask, lines <-chan line) error {
	signals, stop := interruptions()
	defer stop()
	arriving, ended := events(talk)
	p := &piper{app: a, talk: talk, events: arriving, ended: ended, signals: signals}
	for seq := 1; ; seq++ {
		select {
		case l, ok := <-lines:
			if !ok {
				return p.result()
			}
			if l.err != nil {
				return l.err
			}
			if err := talk.Say(seq, l.text, ask); err != nil {
				return err
			}
			ask.Conversation = chat.Ongoing // what the first began goes on
			if err := p.answer(seq); err != nil {
				return err
			}
		case sig := <-signals:
			return interrupted(sig)
		}
	}
}

func interrupted(sig os.Signal) error {
	return &exitError{code: exitSignal + int(sig.(syscall.Signal))}
}

// piper waits for answers without a terminal.
type piper struct {
	app     *app
	talk    *control.Conversation
	events  <-chan control.Event
	ended   <-chan error
	signals <-chan os.Signal

	waiting []chat.Outbound // came before we knew whose answer they are
	code    int             // the first that is not 0
	signal  os.Signal       // what the run was interrupted by
}

func (p *piper) result() error {
	if p.code != exitOK {
		return &exitError{code: p.code}
	}
	return nil
}

// answer waits until the message seq is done with. The first signal interrupts
// the run, the second one us.
func (p *piper) answer(seq int) error {
	for {
		select {
		case e, ok := <-p.events:
			if !ok {
				return <-p.ended
			}
			done, err := p.take(e, seq)
			if err != nil || done {
				return err
			}
		case sig := <-p.signals:
			if p.signal != nil {
				return interrupted(sig)
			}
			p.signal = sig
			if err := p.talk.Interrupt(); err != nil {
				return err
			}
		}
	}
}

// take handles one event; done says that the message seq was answered.
func (p *piper) take(e control.Event, seq int) (done bool, err error) {
	if p.app.json {
		if e.Outbound != nil || e.Answered != nil {
			if err := json.NewEncoder(p.app.out).Encode(e); err != nil {
				return false, err
			}
		}
	} else if e.Outbound != nil && e.Outbound.Kind == chat.Question {
		// The answer to it is what everything else waits for.
		if err := p.app.print(*e.Outbound, true); err != nil {
			return false, err
		}
	} else if e.Outbound != nil {
		p.waiting = append(p.waiting, *e.Outbound)
	}
	switch {
	case e.Said != nil && e.Said.Seq == seq && e.Said.Error != nil:
		return false, e.Said.Error
	case e.Problem != nil:
		p.app.fail(e.Problem)
	case e.Answered != nil && e.Answered.Seq == seq:
		return true, p.finish(*e.Answered)
	}
	return false, nil
}

// finish prints what came back for a message.
func (p *piper) finish(x control.Answered) error {
	code, text := outcome(x)
	told := p.app.json
	for _, m := range p.waiting {
		mine := m.Run == x.Answer.Run && m.Run != ""
		if err := p.app.print(m, mine); err != nil {
			return err
		}
		told = told || mine || m.FromHost() && strings.Contains(m.Text, text)
	}
	p.waiting = nil
	if code != exitOK && !told {
		p.app.say("%s", channel.SafeText(text))
	}
	if p.code == exitOK {
		p.code = code
	}
	if p.signal != nil {
		return interrupted(p.signal)
	}
	return nil
}

// print writes one message: what the agent answered to stdout, what the host
// says and what belongs to another message to stderr.
func (a *app) print(m chat.Outbound, mine bool) error {
	text := strings.TrimRight(channel.SafeText(m.Text), "\n")
	switch {
	case m.FromHost():
		_, err := fmt.Fprintf(a.err, "%c %s\n", channel.Mark, text)
		return err
	case !mine:
		_, err := fmt.Fprintf(a.err, "(of another message) %s\n", text)
		return err
	case m.Failed:
		_, err := fmt.Fprintln(a.err, text)
		return err
	}
	_, err := fmt.Fprintln(a.out, text)
	return err
}
