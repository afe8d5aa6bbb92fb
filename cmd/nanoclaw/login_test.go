package main

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"nanoclaw/internal/credential"
)

// At a terminal the credential is asked for and not shown, and Ctrl-C gives the
// terminal back as it was.
func TestLoginAtATerminal(t *testing.T) {
	b := newBench(t, nil)
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	var shown, out lockedBuffer
	go io.Copy(&shown, master)
	login := func() <-chan int {
		code := make(chan int, 1)
		go func() { code <- b.app(tty, &out, tty).run([]string{"login", "claude", "--no-try"}) }()
		return code
	}
	code := login()
	shown.expect(t, "API key or token for https://api.anthropic.com (it is not shown): ")
	master.WriteString("sk-hunter2\r")
	if c := ended(t, code); c != 0 {
		t.Fatalf("exit code %d: %s", c, shown.String())
	}
	if all := shown.String() + out.String(); strings.Contains(all, "hunter2") {
		t.Errorf("the credential was shown: %q", all)
	}
	p, err := (&app{getenv: b.app(tty, &out, tty).getenv}).paths()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := credential.New(p, os.Getenv).Load(""); err != nil || c == nil || c.Value != "sk-hunter2" {
		t.Errorf("stored %v, %v", c, err)
	}

	for _, end := range []func(){
		func() { master.WriteString("sk-half\x03") },
		func() { syscall.Kill(os.Getpid(), syscall.SIGTERM) },
	} {
		shown.reset()
		code = login()
		shown.expect(t, "(it is not shown): ")
		end()
		if c := ended(t, code); c != exitFailed {
			t.Errorf("broken off: exit code %d", c)
		}
		shown.expect(t, "nothing was stored")
	}
	master.WriteString("seen")
	shown.expect(t, "seen") // the echo is on again
	if c, err := credential.New(p, os.Getenv).Load(""); err != nil || c == nil || c.Value != "sk-hunter2" {
		t.Errorf("after Ctrl-C: %v, %v", c, err)
	}
}

func (l *lockedBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}
