package main

import (
	"strings"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// longestStream bounds how much of a streamed answer is kept to compare it with
// the final one, in bytes.
const longestStream = 1 << 20

// view turns what arrives in a conversation into text for a terminal. It keeps
// no screen: it only ever appends.
type view struct {
	write  func(string) // appends to the terminal
	colour bool
	// width bounds the one-liners that tell what the agent does.
	width int

	run     chat.RunID
	clean   channel.Cleaner
	all     strings.Builder // everything streamed of this run
	piece   strings.Builder // streamed since the last line of our own
	midLine bool            // the cursor is not at the beginning of a line
	told    bool            // a message of this run was shown
}

// event shows one event. live says that this terminal waits for the run: only
// then are pieces of an answer shown as they come.
func (v *view) event(e control.Event, live bool) {
	switch {
	case e.Outbound != nil:
		v.message(*e.Outbound)
	case e.Progress != nil && live:
		v.progress(*e.Progress)
	case e.Problem != nil:
		v.note(e.Problem.Message)
	case e.Said != nil && e.Said.Error != nil:
		v.problem(e.Said.Error.Message)
	case e.Answered != nil:
		if code, text := outcome(*e.Answered); code != exitOK && !v.told {
			v.problem(text)
		}
		v.endLine()
		v.told = false
	}
}

func (v *view) progress(p chat.Progress) {
	if p.Run != v.run {
		v.begin(p.Run)
	}
	switch p.Kind {
	case chat.Text:
		v.append(v.clean.Clean(p.Text))
	case chat.Started, chat.ToolUse, chat.Waiting:
		v.note(p.Text)
	case chat.Finished:
	}
}

func (v *view) begin(run chat.RunID) {
	v.endLine()
	v.run, v.clean = run, channel.Cleaner{}
	v.all.Reset()
	v.piece.Reset()
}

// append shows a piece of the answer.
func (v *view) append(text string) {
	if text == "" {
		return
	}
	v.write(text)
	v.midLine = !strings.HasSuffix(text, "\n")
	if v.all.Len() < longestStream {
		v.all.WriteString(text)
		v.piece.WriteString(text)
	}
}

// note shows in one dim line what the agent is doing.
func (v *view) note(text string) {
	v.endLine()
	v.write(v.dim("· "+channel.OneLine(text, max(v.width-2, 20))) + "\n")
	v.piece.Reset()
}

// problem shows something that went wrong.
func (v *view) problem(text string) {
	v.endLine()
	v.write(v.bold(string(channel.Mark)+" nanoclaw: ") + channel.SafeText(text) + "\n")
}

// message shows a message, unless all of it was streamed already.
func (v *view) message(m chat.Outbound) {
	v.told = v.told || m.Kind != chat.Question
	if m.FromHost() {
		v.problem(strings.TrimRight(m.Text, "\n"))
		return
	}
	text := strings.TrimSpace(channel.SafeText(m.Text))
	if m.Kind == chat.Reply && m.Run == v.run && m.Run != "" {
		text = v.missing(text)
	} else {
		v.endLine()
	}
	if text != "" {
		v.write(text + "\n")
		v.midLine = false
	}
	v.endLine()
}

// missing gives what of an answer was not streamed. Pieces may have been
// dropped on the way: then the whole answer is shown below them.
func (v *view) missing(text string) string {
	all, piece := strings.TrimSpace(v.all.String()), strings.TrimSpace(v.piece.String())
	switch {
	case all == "":
		return text
	case strings.HasSuffix(all, text):
		return ""
	case piece != "" && strings.HasPrefix(text, piece):
		rest := strings.TrimPrefix(text, piece)
		if !v.midLine {
			rest = strings.TrimPrefix(rest, "\n") // the piece ended its line itself
		}
		return rest
	}
	v.endLine()
	return text
}

// endLine brings the cursor to the beginning of a line.
func (v *view) endLine() {
	if v.midLine {
		v.write("\n")
		v.midLine = false
	}
}

func (v *view) dim(s string) string  { return v.style("\x1b[2m", s) }
func (v *view) bold(s string) string { return v.style("\x1b[1m", s) }

func (v *view) style(code, s string) string {
	if !v.colour {
		return s
	}
	return code + s + "\x1b[0m"
}
