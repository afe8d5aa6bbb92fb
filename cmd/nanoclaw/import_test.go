package main

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"nanoclaw/internal/imports/importstest"
)

// oldNanoClaw is a command of the scripts: it makes an installation of NanoClaw 1 in a
// folder, of a version.
func oldNanoClaw() {
	schema, ok := map[string]string{"1.0": importstest.V1, "1.2": importstest.V12, "fork": importstest.Fork}[os.Args[2]]
	err := fmt.Errorf("no version %q", os.Args[2])
	if ok {
		err = importstest.Write(os.Args[1], schema, importstest.Rows, importstest.Files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// At a terminal the plan is shown and the owner asked; only yes carries it out.
func TestImportAtATerminal(t *testing.T) {
	old, other := t.TempDir(), t.TempDir()
	for _, dir := range []string{old, other} {
		if err := importstest.Write(dir, importstest.V12, importstest.Rows, map[string]string{"groups/main/CLAUDE.md": "x"}); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t, nil)
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	var shown, out lockedBuffer
	go io.Copy(&shown, master)
	p, err := (&app{getenv: b.app(tty, &out, tty).getenv}).paths()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.EnsureDirs(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Config, []byte(`{"version": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(answer func(), args ...string) int {
		shown.reset()
		code := make(chan int, 1)
		go func() { code <- b.app(tty, &out, tty).run(append([]string{"import", "--from"}, args...)) }()
		shown.expect(t, "Carry this out? Write yes: ")
		answer()
		return ended(t, code)
	}
	if code := ask(func() { master.WriteString("y\n") }, old); code != exitFailed {
		t.Errorf("y: exit code %d", code)
	}
	shown.expect(t, "nothing was taken over")
	if c, err := os.ReadFile(p.Config); err != nil || string(c) != `{"version": 1}` {
		t.Errorf("after y the configuration is %s, %v", c, err)
	}
	if code := ask(func() { master.WriteString("yes\n") }, old); code != exitOK {
		t.Errorf("yes: exit code %d: %s", code, shown.String())
	}
	out.expect(t, "taken over:")
	// The last one: what it reads the terminal with stays until the process ends.
	if code := ask(func() { syscall.Kill(os.Getpid(), syscall.SIGTERM) }, other, "--rename", "family=cousins"); code != exitFailed {
		t.Errorf("a signal: exit code %d", code)
	}
	shown.expect(t, "nothing was taken over")
}
