package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

func TestPipe(t *testing.T) {
	echo := func(x turnOf) string {
		x.progress(chat.Text, "streamed, and not for a pipe")
		switch {
		case x.in.Text == "refuse":
			x.say(chat.Notice, "group main may not")
			return "refused: may not"
		case x.in.Text == "silent":
			return "failed: the agent died"
		case x.in.Text == "hostile":
			x.say(chat.Reply, "a\x1b]0;owned\x07b\u202ec\rd")
		case x.in.Text == "hold":
			x.host.deliver(chat.Outbound{To: x.in.From, Kind: chat.Notice, Text: "the configuration changed: restart"})
			return "held: the configuration changed"
		case x.in.Text == "two":
			x.say(chat.Tool, "first")
			x.say(chat.Reply, "second\n")
		case x.in.Text == "warn":
			x.host.deliver(chat.Outbound{To: x.in.From, Kind: chat.Notice, Text: "this is a shell"})
			x.say(chat.Reply, "ok")
		default:
			x.say(chat.Reply, "you said "+x.in.Text)
		}
		return "succeeded"
	}
	for _, tt := range []struct {
		name, stdin string
		want        result
	}{
		{"nothing", "", result{0, "", ""}},
		{"lines in order, empty ones left out", "one\n\n  two  \nthree", result{0, "you said one\nfirst\nsecond\nyou said three\n", ""}},
		{"what the host says goes to stderr", "warn\n", result{0, "ok\n", "◆ this is a shell\n"}},
		{"a refusal is told once, and the rest goes on", "refuse\nhi\n", result{exitRefused, "you said hi\n", "◆ group main may not\n"}},
		{"a failure without words gets some", "silent\n", result{exitFailed, "", "nanoclaw: the agent died\n"}},
		{"the first failure gives the code", "silent\nrefuse\n", result{exitFailed, "", "nanoclaw: the agent died\n◆ group main may not\n"}},
		{"what the host said already is not said again", "hold\n", result{exitFailed, "", "◆ the configuration changed: restart\n"}},
		{"control sequences are taken out", "hostile\n", result{0, "abc\nd\n", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := newBench(t, echo).run(tt.stdin, "chat"); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestPipeShowsMessagesOfOthersBeside(t *testing.T) {
	b := newBench(t, func(x turnOf) string {
		x.host.deliver(chat.Outbound{To: x.in.From, Kind: chat.Reply, Text: "held since yesterday", Run: "r-old"})
		x.say(chat.Reply, "now")
		return "succeeded"
	})
	want := result{0, "now\n", "(of another message) held since yesterday\n"}
	if got := b.run("hi\n", "chat"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestLineTooLong(t *testing.T) {
	got := newBench(t, nil).run(strings.Repeat("x", longestLine+1), "chat")
	if got.code != exitUsage || !strings.Contains(got.errOut, "hint: ") {
		t.Errorf("got %+v", got)
	}
}

func TestSend(t *testing.T) {
	b := newBench(t, func(x turnOf) string {
		x.say(chat.Reply, "to "+string(x.in.From.Chat)+": "+x.in.Text)
		return "succeeded"
	})
	if got, want := b.run("", "send", "--group", "work", "hello\nthere"), (result{0, "to work: hello\nthere\n", ""}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	got := b.run("", "send", "--json", "hi")
	var events []control.Event
	for d := json.NewDecoder(strings.NewReader(got.out)); d.More(); {
		var e control.Event
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	if len(events) != 2 || events[0].Outbound == nil || events[1].Answered == nil {
		t.Errorf("events %+v in %q", events, got.out)
	}
}

func TestChatMounts(t *testing.T) {
	var asked []string
	b := newBench(t, func(x turnOf) string {
		asked = x.in.Ask.Mounts
		x.say(chat.Reply, "ok")
		return "succeeded"
	})
	dir := t.TempDir()
	t.Chdir(dir)
	os.Mkdir("sub", 0o755)
	if got := b.run("hi\n", "chat", "--mount", "sub", "--mount", dir+":rw"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	cwd, _ := os.Getwd()
	if want := cwd + "/sub " + dir + ":rw"; strings.Join(asked, " ") != want {
		t.Errorf("mounts %q, want %q", asked, want)
	}
	if got := b.run("hi\n", "chat", "--mount", "nowhere"); got.code != exitUsage || !strings.Contains(got.errOut, "hint: ") {
		t.Errorf("a folder that does not exist: %+v", got)
	}
}

// terminalChat starts an interactive chat on a terminal and gives its master
// side, what is on it, and the exit code.
func terminalChat(t *testing.T, b *bench) (keys *os.File, shown *lockedBuffer, code <-chan int) {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 80})
	shown = &lockedBuffer{}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			shown.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	done := make(chan int, 1)
	go func() {
		done <- b.app(tty, tty, &lockedBuffer{}).run([]string{"chat"})
		tty.Close()
	}()
	shown.expect(t, "main> ")
	return master, shown, done
}

func ended(t *testing.T, code <-chan int) int {
	t.Helper()
	select {
	case c := <-code:
		return c
	case <-time.After(20 * time.Second):
		t.Fatal("the chat did not end")
		return 0
	}
}

func TestTerminalChat(t *testing.T) {
	b := newBench(t, func(x turnOf) string {
		x.progress(chat.Started, "claude in host mode")
		x.progress(chat.ToolUse, "Bash: go test ./...\x1b[2J")
		x.progress(chat.Text, "all ")
		x.progress(chat.Text, "green\x1b]0;owned\x07")
		x.say(chat.Reply, "all green")
		return "succeeded"
	})
	keys, shown, code := terminalChat(t, b)
	keys.WriteString("run the tests\r")
	shown.expect(t, "· Bash: go test ./...")
	shown.expect(t, "all green\r\n")
	keys.WriteString("\x04")
	if c := ended(t, code); c != 0 {
		t.Errorf("exit code %d", c)
	}
	screen := shown.String()
	if strings.Count(screen, "all green") != 1 {
		t.Errorf("the answer was not shown once: %q", screen)
	}
	for _, bad := range []string{"\x1b[2J", "\x1b]0;"} {
		if strings.Contains(screen, bad) {
			t.Errorf("the agent's %q reached the terminal", bad)
		}
	}
}

func TestCtrlCInterruptsTheRunAndNotTheProgram(t *testing.T) {
	b := newBench(t, func(x turnOf) string {
		if x.in.Text == "again" {
			x.say(chat.Reply, "still here")
			return "succeeded"
		}
		x.progress(chat.Text, "counting sheep")
		<-x.interrupted
		x.say(chat.Notice, "interrupted by you")
		return "interrupted"
	})
	keys, shown, code := terminalChat(t, b)
	keys.WriteString("count\r")
	shown.expect(t, "counting sheep")
	keys.WriteString("\x03")
	shown.expect(t, "interrupted by you")
	keys.WriteString("again\r")
	// What is typed before the prompt is there is typed during the run.
	shown.expect(t, "still here\r\nmain> ")
	// At the prompt the first one empties the line and the second one leaves.
	keys.WriteString("half a thought\x03")
	shown.expect(t, "Ctrl-D leaves")
	select {
	case c := <-code:
		t.Fatalf("one Ctrl-C at the prompt left the chat, code %d", c)
	default:
	}
	keys.WriteString("\x03")
	if c := ended(t, code); c != 0 {
		t.Errorf("exit code %d", c)
	}
}

// While a run waits for the owner's yes the prompt is there, and what is typed is
// the answer; a wrong code asks again, and no agent's words look like the host's.
func TestTerminalChatAnswersQuestions(t *testing.T) {
	answered := make(chan bool, 1)
	b := newBench(t, func(x turnOf) string {
		switch x.in.Text {
		case "approve aaaa-0000":
			return "failed: no open question has this code"
		case "approve k4m2-9x7a":
			answered <- true
			return "taken"
		}
		x.progress(chat.Text, "◆ nanoclaw: let me\n")
		x.say(chat.Question, "May I?\nTo allow this once, answer: approve k4m2-9x7a")
		<-answered
		x.say(chat.Reply, "◆ nanoclaw: let me\nthanks")
		return "succeeded"
	})
	keys, shown, code := terminalChat(t, b)
	keys.WriteString("go\r")
	shown.expect(t, "◇ nanoclaw: let me")
	shown.expect(t, "◆ nanoclaw: \x1b[0mMay I?\r\nTo allow this once, answer: approve k4m2-9x7a\r\nmain> ")
	keys.WriteString("\r")
	keys.WriteString("approve aaaa-0000\r")
	shown.expect(t, "no open question has this code")
	keys.WriteString("approve k4m2-9x7a\r")
	shown.expect(t, "thanks")
	keys.WriteString("\x04")
	if c := ended(t, code); c != 0 {
		t.Errorf("exit code %d", c)
	}
}

// A question goes to stderr at once: its answer is what the pipe waits for.
func TestPipeShowsQuestionsAtOnce(t *testing.T) {
	asked := make(chan struct{})
	b := newBench(t, func(x turnOf) string {
		x.say(chat.Question, "May I?")
		close(asked)
		x.say(chat.Reply, "◆ no host")
		return "succeeded"
	})
	if got, want := b.run("go\n", "chat"), (result{0, "◇ no host\n", "◆ May I?\n"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	<-asked
}

func TestTerminalChatShowsWhatArrivesAtThePrompt(t *testing.T) {
	b := newBench(t, nil)
	keys, shown, code := terminalChat(t, b)
	keys.WriteString("half typed")
	shown.expect(t, "half typed")
	b.host.deliver(chat.Outbound{To: console.Address("main"), Kind: chat.Notice, Text: "the disk is nearly full"})
	shown.expect(t, "the disk is nearly full\r\nmain> half typed")
	keys.WriteString("\x03\x03")
	ended(t, code)
}

func TestPastedLinesAreOneMessage(t *testing.T) {
	got := make(chan string, 1)
	b := newBench(t, func(x turnOf) string {
		got <- x.in.Text
		x.say(chat.Reply, "ok")
		return "succeeded"
	})
	keys, _, code := terminalChat(t, b)
	keys.WriteString("\x1b[200~one\rtwo\r\x1b[201~\r")
	select {
	case text := <-got:
		if text != "one\ntwo" {
			t.Errorf("the message is %q", text)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no message came")
	}
	keys.WriteString("\x04")
	ended(t, code)
}
