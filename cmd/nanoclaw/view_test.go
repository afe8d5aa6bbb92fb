package main

import (
	"strings"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

func TestView(t *testing.T) {
	progress := func(kind chat.ProgressKind, text string) control.Event {
		return control.Event{Progress: &chat.Progress{Run: "r1", Kind: kind, Text: text}}
	}
	outbound := func(kind chat.OutboundKind, run chat.RunID, text string) control.Event {
		return control.Event{Outbound: &chat.Outbound{Run: run, Kind: kind, Text: text}}
	}
	answered := func(state, reason string) control.Event {
		return control.Event{Answered: &control.Answered{Answer: control.Answer{Run: "r1", State: state, Reason: reason}}}
	}
	var all strings.Builder
	for _, tt := range []struct {
		name   string
		colour bool
		events []control.Event
	}{
		{"streamed whole", true, []control.Event{
			progress(chat.Started, "claude in host mode"), progress(chat.Text, "hel"), progress(chat.Text, "lo\nworld"),
			outbound(chat.Reply, "r1", "hello\nworld"), answered("succeeded", ""),
		}},
		{"nothing streamed", false, []control.Event{outbound(chat.Reply, "r1", "hello"), answered("succeeded", "")}},
		{"the end was dropped", false, []control.Event{
			progress(chat.Text, "hello wo"), outbound(chat.Reply, "r1", "hello world"), answered("succeeded", ""),
		}},
		{"an end after the last line", false, []control.Event{
			progress(chat.Text, "hello\n"), outbound(chat.Reply, "r1", "hello\nexit 2"), answered("succeeded", ""),
		}},
		{"the middle was dropped", false, []control.Event{
			progress(chat.Text, "hello"), progress(chat.Text, "d"), outbound(chat.Reply, "r1", "hello world"), answered("succeeded", ""),
		}},
		{"tools between", false, []control.Event{
			progress(chat.Text, "I look."), progress(chat.ToolUse, "Read:\n/etc/motd \x1b[31m"), progress(chat.Text, "It is empty."),
			outbound(chat.Reply, "r1", "It is empty."), answered("succeeded", ""),
		}},
		{"an answer with a message sent on the way", false, []control.Event{
			progress(chat.Text, "So"), outbound(chat.Tool, "r1", "a message"), outbound(chat.Reply, "r1", "So it is"), answered("succeeded", ""),
		}},
		{"refused", false, []control.Event{outbound(chat.Notice, "r1", "no: \x1b[1mbad\n"), answered("refused", "no")}},
		{"failed without words", false, []control.Event{progress(chat.Text, "half"), answered("failed", "the agent died")}},
		{"waiting", false, []control.Event{progress(chat.Waiting, "another run goes on"), outbound(chat.Reply, "r1", "done"), answered("succeeded", "")}},
	} {
		all.WriteString("-- " + tt.name + " --\n")
		v := &view{write: func(s string) { all.WriteString(strings.ReplaceAll(s, "\x1b", "ESC")) }, colour: tt.colour, width: 40}
		for _, e := range tt.events {
			v.event(e, true)
		}
	}
	checkGolden(t, "view.golden", all.String())
}
