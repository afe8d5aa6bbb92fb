package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/creack/pty"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/service"
)

// A person at a terminal is asked for each part, and may say no or nothing.
func TestSetupAsks(t *testing.T) {
	b := newBench(t, func(x turnOf) string {
		x.say(chat.Reply, "you said "+x.in.Text)
		return "succeeded"
	})
	b.writeConfig()
	b.host.OnDoctor = func(context.Context, control.DoctorQuery) (control.DoctorReport, error) {
		return control.DoctorReport{Checks: []control.Check{{Name: "probe", State: "ok", Detail: "5 attempts; more"}}}, nil
	}
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	var shown lockedBuffer
	go io.Copy(&shown, master)
	setup := func() <-chan int {
		shown.reset()
		a := b.app(tty, tty, tty)
		a.host = func(getenv func(string) string) service.Host {
			h := service.This(getenv)
			h.Booted, h.SystemUnits = b.home, b.home
			return h
		}
		code := make(chan int, 1)
		go func() { code <- a.run([]string{"setup", "--message", "hello"}) }()
		return code
	}
	code := setup()
	for _, answer := range []struct{ question, text string }{
		{"Fetch Claude Code", "n"}, {"Store an API key", "no"}, {"Install it, and start it now?", "N"}, {"Which network", ""},
	} {
		shown.expect(t, answer.question)
		master.WriteString(answer.text + "\n")
	}
	shown.expect(t, "it holds: 5 attempts")
	shown.expect(t, "you said hello")
	if c := ended(t, code); c != 0 {
		t.Errorf("exit code %d:\n%s", c, shown.String())
	}
	if strings.Count(shown.String(), "left out: you said no") != 3 {
		t.Errorf("three times no:\n%s", shown.String())
	}
	// Broken off, it says that what is done stays.
	code = setup()
	shown.expect(t, "Fetch Claude Code")
	master.WriteString("\x04")
	if c := ended(t, code); c != exitFailed {
		t.Errorf("broken off: exit code %d", c)
	}
	shown.expect(t, "what is done stays")
}

// Where no boundary stands, set-up ends and says what to do.
func TestSetupNeedsABoundary(t *testing.T) {
	b := newBench(t, nil)
	b.host.OnDoctor = func(context.Context, control.DoctorQuery) (control.DoctorReport, error) {
		return control.DoctorReport{Checks: []control.Check{
			{Name: "user namespaces", State: "fail", Detail: "AppArmor", Fix: "sudo apparmor_parser"}, {Name: "probe", State: "fail", Detail: "no"},
		}}, nil
	}
	got := b.run("", "setup", "--yes", "--no-claude", "--no-service")
	if got.code != exitBoundary || !strings.Contains(got.out, "sudo apparmor_parser") || strings.Contains(got.out, "a first message") {
		t.Errorf("%+v", got)
	}
}

// The whole way with the real Claude Code and a model that tests script: from nothing
// to an answer of a confined agent, and back to nothing.
func TestSetupWithClaudeCode(t *testing.T) {
	model := agenttest.NewModel(agenttest.Puppet)
	t.Cleanup(model.Close)
	claude, err := filepath.EvalSymlinks(agenttest.Claude(t))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nc") // short, for the socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, init := filepath.Join(dir, "nanoclaw"), filepath.Join(dir, "nanoclaw-init")
	copyProgram(t, program)
	if err := os.WriteFile(init, boundarytest.Init(t), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = []string{"HOME=" + dir, "NANOCLAW_HOME=" + dir + "/home", boundarytest.EnvInit + "=" + init,
			"PATH=" + filepath.Dir(claude) + ":/usr/bin:/bin", "ANTHROPIC_BASE_URL=" + model.URL}
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v\n%s\n%s", args, err, out, errs.String())
		}
		return string(out)
	}
	out := run("sk-first\n", "setup", "--yes", "--stdin", "--no-service", "--message", "bash: id -u; cat /etc/shadow")
	for _, want := range []string{"already done: " + claude, "stored the api-key", "none got through", "\n1000\n", "/etc/shadow: No such file", "Set up."} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	var parts []part
	if err := json.Unmarshal([]byte(run("", "setup", "--status", "--json")), &parts); err != nil || len(parts) != 7 || !parts[0].Done || !parts[1].Done {
		t.Errorf("afterwards: %+v, %v", parts, err)
	}
	run("", "uninstall", "--yes", "--remove-data")
	if _, err := os.Lstat(dir + "/home"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
}

// The manager hears that the daemon lives only from one that answers.
func TestOnlyWhoAnswersIsAlive(t *testing.T) {
	dir, err := os.MkdirTemp("", "nc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/notify", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	next := func() string {
		t.Helper()
		buffer := make([]byte, 200)
		n, err := manager.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return string(buffer[:n])
	}
	b := newBench(t, nil)
	a := b.app(nil, io.Discard, io.Discard)
	getenv := a.getenv
	a.getenv = func(name string) string {
		switch name {
		case "NOTIFY_SOCKET":
			return dir + "/notify"
		case "WATCHDOG_USEC":
			return "60000" // every 20 ms
		}
		return getenv(name)
	}
	var silent atomic.Bool
	asked := make(chan struct{}, 1)
	b.host.OnStatus = func(context.Context) (control.Status, error) {
		if !silent.Load() {
			return control.Status{}, nil
		}
		select {
		case asked <- struct{}{}:
		default:
		}
		return control.Status{}, errors.New("the store does not answer")
	}
	code := make(chan int, 1)
	go func() { code <- a.run([]string{"run", "--json"}) }()
	if got := next(); !strings.HasPrefix(got, service.Ready+"\nSTATUS=ready at ") {
		t.Errorf("first %q", got)
	}
	for range 3 {
		if got := next(); got != service.Alive {
			t.Errorf("then %q", got)
		}
	}
	// It no longer has an answer, and is not told to live after the first question that
	// it failed. At most one sign of before is on its way.
	silent.Store(true)
	for range 3 {
		<-asked
	}
	if got := b.run("", "stop", "--daemon"); got.code != 0 {
		t.Errorf("stop: %+v", got)
	}
	signs := 0
	for got := next(); !strings.HasPrefix(got, service.Stopping); got = next() {
		if signs++; got != service.Alive || signs > 1 {
			t.Errorf("after it fell silent: %q", got)
		}
	}
	ended(t, code)
}

// copyProgram copies this test binary, which under the name nanoclaw is the program.
func copyProgram(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(w, from)
	if closing := w.Close(); err != nil || closing != nil {
		t.Fatal(err, closing)
	}
}
