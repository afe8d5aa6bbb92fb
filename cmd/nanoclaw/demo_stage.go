package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/demo"
)

// stage shows a demonstration: in colour and folded to the width of a terminal, or
// plain lines where it is piped.
type stage struct {
	w      io.Writer
	colour bool
	width  func() int // nil: lines are not folded
	dir    string     // of the demonstration; it is shown as "…"
	err    error      // of the first write that failed
}

// The colours, by what they mean.
const (
	good  = "\x1b[1;32m"
	bad   = "\x1b[1;37;41m"
	faint = "\x1b[2m"
	bold  = "\x1b[1m"
	plain = "\x1b[0m"
)

func (s *stage) printf(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, format, args...)
	}
}

func (s *stage) in(colour, text string) string {
	if !s.colour || colour == "" || text == "" {
		return text
	}
	return colour + text + plain
}

// heading is a line of its own.
func (s *stage) heading(text string) {
	room := 0
	if s.width != nil {
		room = s.width()
	}
	for _, part := range fold(text, room) {
		s.printf("%s\n", s.in(bold, part))
	}
}

// longestShown bounds what is shown of one text: the whole of it is in --json.
const longestShown = 300

// line shows a text beside its name, folded.
func (s *stage) line(name, colour, text string) {
	text = channel.OneLine(strings.TrimSpace(channel.SafeText(strings.ReplaceAll(text, s.dir+"/", "…/"))), longestShown)
	if text == "" {
		return
	}
	const margin = 11
	indent, room := strings.Repeat(" ", margin), 0
	if s.width != nil {
		room = s.width() - margin
	}
	if room > 0 && room < 30 { // a narrow screen: the name has a line of its own
		if name != "" {
			s.printf("  %s\n", s.in(faint, name))
		}
		indent, room = "    ", max(s.width()-4, 16)
	} else {
		s.printf("  %s", s.in(faint, fmt.Sprintf("%-*s", margin-2, name)))
		for i, part := range fold(text, room) {
			if i > 0 {
				s.printf("%s", indent)
			}
			s.printf("%s\n", s.in(colour, part))
		}
		return
	}
	for _, part := range fold(text, room) {
		s.printf("%s%s\n", indent, s.in(colour, part))
	}
}

// fold breaks a text between words so that each part has at most width signs, and
// within a word that is longer. 0 is no limit.
func fold(text string, width int) (parts []string) {
	if width <= 0 {
		return []string{text}
	}
	line, length := "", 0
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		if length > 0 && length+1+n > width {
			parts, line, length = append(parts, line), "", 0
		}
		for ; n > width; n = utf8.RuneCountInString(word) {
			signs := []rune(word)
			parts, word = append(parts, string(signs[:width])), string(signs[width:])
		}
		if length > 0 {
			line, length = line+" ", length+1
		}
		line, length = line+word, length+n
	}
	return append(parts, line)
}

func (s *stage) opening(p *demo.Place, hole string) {
	who := "the shell agent, for want of Claude Code: each message is a command"
	if p.Agent() == claudeName {
		who = "Claude Code, with a scripted model that obeys everybody"
	}
	s.heading("A hostile visitor in a group chat, against the boundary of this machine.")
	s.line("agent", "", who)
	s.line("place", "", p.Dir+", made for this and removed at the end; written … below. No network is reached")
	if hole != "" {
		s.line("hole", bad, "opened on purpose: "+hole)
	}
}

func (s *stage) attempt(i, of int, t demo.Attempt) {
	s.printf("\n")
	s.heading(fmt.Sprintf("%d/%d %s: %s", i, of, t.Name, t.Title))
}

func (s *stage) result(r demo.Result) {
	s.line("visitor", "", r.Said)
	s.line("answer", faint, r.Answer)
	switch {
	case r.Through:
		s.line("THROUGH", bad, "IT GOT THROUGH: "+r.Evidence)
	case r.Untried != "":
		s.line("untried", bad, r.Untried)
	default:
		s.line("stopped", good, r.Layer)
		if len(r.Entries) == 0 || r.Why != r.Entries[0].Text {
			s.line("", "", r.Why)
		}
	}
	for _, e := range r.Entries {
		s.line("audit", "", fmt.Sprintf("#%d %s", e.ID, e.Text))
	}
	s.line("without", faint, r.Bare)
}

func (s *stage) ending(r demoReport) {
	var through, untried []string
	for _, t := range r.Attempts {
		switch {
		case t.Through:
			through = append(through, t.Name)
		case t.Untried != "":
			untried = append(untried, t.Name)
		}
	}
	s.printf("\n")
	s.heading("What is left of it")
	s.line("boundary", "", strings.TrimPrefix(r.Boundary, "boundary "))
	if r.Proof.Log.OK {
		s.line("log", good, fmt.Sprintf("holds: %d entries, each against the signed checkpoint", r.Proof.Log.Entries))
	} else {
		s.line("log", bad, r.Proof.Log.Bad)
	}
	switch {
	case r.Proof.Bad != "":
		s.line("receipt", bad, r.Proof.Bad)
	case r.Proof.Receipt != "":
		s.line("receipt", good, fmt.Sprintf("of run %s holds: %d entries, signed by %s", r.Proof.Receipt, r.Proof.Entries, r.Proof.Signer))
	}
	stopped := fmt.Sprintf("%d of %d attempts were stopped", len(r.Attempts)-len(through)-len(untried), len(r.Attempts))
	switch {
	case len(through) > 0:
		s.line("RESULT", bad, fmt.Sprintf("%s. GOT THROUGH: %s", stopped, strings.Join(through, ", ")))
	case len(untried) > 0:
		s.line("result", bad, fmt.Sprintf("%s. Not tried: %s", stopped, strings.Join(untried, ", ")))
	default:
		s.line("result", good, stopped)
	}
}
