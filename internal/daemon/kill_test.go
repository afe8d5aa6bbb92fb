package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/runner"
)

// victimEnv makes the test binary a daemon that is to be killed: it answers the
// message that it holds and tells its parent when a run is in the middle.
const victimEnv = "NANOCLAW_TEST_VICTIM"

// victim is what the parent tells it.
type victim struct {
	Paths config.Paths
	Env   map[string]string
	Init  string
	// Say is the message. Stuck names what must never return: "running" or
	// "finish", where it says so to its parent.
	Say, Stuck string
}

// stuck is a store that stops a run where it is to be killed.
type stuck struct {
	runner.Store
	where string
}

func (s stuck) hang(where string) {
	if s.where == where {
		fmt.Println("stuck")
		select {}
	}
}

func (s stuck) Running(ctx context.Context, run chat.RunID, entries ...audit.Entry) error {
	s.hang("running")
	return s.Store.Running(ctx, run, entries...)
}

func (s stuck) Finish(ctx context.Context, run chat.RunID, o runner.Outcome, e audit.Entry) error {
	s.hang("finish")
	return s.Store.Finish(ctx, run, o, e)
}

func TestMain(m *testing.M) {
	if text := os.Getenv(victimEnv); text != "" {
		var v victim
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			panic(err)
		}
		if err := v.serve(); err != nil {
			fmt.Println("failed:", err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// serve never returns unless something goes wrong.
func (v victim) serve() error {
	ctx := context.Background()
	d, err := Open(ctx, Options{
		ContainerProgram: noEngineHere,
		Paths:            v.Paths, Version: "victim", Log: slog.New(slog.DiscardHandler),
		Getenv:  func(name string) string { return v.Env[name] },
		Environ: func() []string { return nil },
		Init:    func() (io.ReadSeekCloser, error) { return os.Open(v.Init) },
	})
	if err != nil {
		return err
	}
	d.runner.Store = stuck{d.runner.Store, v.Stuck}
	ready := make(chan struct{})
	go d.Run(ctx, func() { close(ready) })
	<-ready
	term, err := d.Attach(ctx, chat.Main)
	if err != nil {
		return err
	}
	if _, err = d.Say(ctx, control.SayRequest{Group: chat.Main, Text: v.Say}); err != nil {
		return err
	}
	for {
		_, p, err := term.Next(ctx)
		if err != nil {
			return err
		}
		if p != nil && p.Kind == chat.Text {
			fmt.Println("begun")
			select {} // until it is killed
		}
	}
}

// Kill -9 of the daemon in the middle of a run leaves no process of that run
// alive after one second; the next start answers the message.
func TestKilledInTheMiddle(t *testing.T) {
	i := newInstall(t, hostConfig)
	init := filepath.Join(t.TempDir(), "nanoclaw-init")
	must(t, os.WriteFile(init, boundarytest.Init(t), 0o755))
	const say = "test -e ~/second && echo answered && exit; touch ~/second; (sleep 300; :) & setsid sleep 300 & echo begun; sleep 300"
	cmd, lines := start(t, victim{Paths: i.paths, Env: i.env, Init: init, Say: say})
	if line := <-lines; line != "begun" {
		t.Fatalf("the daemon said %q", line)
	}
	inside := namespaceOf(t, cmd.Process.Pid)
	// The shell and its two sleeps; the init is not always seen.
	for begun := time.Now(); len(members(t, inside)) < 3; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("only %v run inside: the test shows nothing", members(t, inside))
		}
	}
	must(t, cmd.Process.Kill())
	killed := time.Now()
	cmd.Wait()
	for len(members(t, inside)) > 0 {
		if time.Since(killed) > time.Second {
			t.Fatalf("one second after the kill %v are alive", members(t, inside))
		}
		time.Sleep(5 * time.Millisecond)
	}

	d, _ := i.run()
	term, err := d.Attach(t.Context(), chat.Main)
	must(t, err)
	for {
		m, _, err := term.Next(t.Context())
		must(t, err)
		if m != nil && strings.TrimSpace(m.Text) == "answered" {
			break
		}
	}
	runs, err := d.Runs(t.Context(), control.RunsQuery{})
	must(t, err)
	if len(runs) != 2 || runs[1].State != "interrupted" {
		t.Errorf("the runs are %+v", runs)
	}
	r, err := d.AuditVerify(t.Context(), control.VerifyQuery{})
	must(t, err)
	if !r.OK {
		t.Errorf("the log does not verify: %s", r.Bad)
	}
}

// start starts a daemon that is to be killed, and gives what it says.
func start(t *testing.T, v victim) (*osexec.Cmd, <-chan string) {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	cmd := osexec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := make(chan string, 10)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return cmd, lines
}

// namespaceOf is the PID namespace of the session that a daemon started: the one
// of a process that comes from it and is no child of its own. The init itself is
// undumpable, and an ordinary user does not see where it is.
func namespaceOf(t *testing.T, daemon int) string {
	t.Helper()
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", daemon))
	must(t, err)
	for pid, ns := range namespaces(t) {
		if ns != own && comesFrom(statusOf(pid, "PPid"), daemon) {
			return ns
		}
	}
	t.Fatalf("nothing that comes from process %d is in another namespace", daemon)
	return ""
}

// comesFrom says whether the parent of a process, or one above it, is a child of
// another.
func comesFrom(parent string, of int) bool {
	for parent != "" && parent != "0" {
		if parent = statusOf(parent, "PPid"); parent == fmt.Sprint(of) {
			return true
		}
	}
	return false
}

// members are the processes of a PID namespace that live. A zombie does not: it
// waits for whoever is process 1 of this machine to take note.
func members(t *testing.T, ns string) (pids []string) {
	for pid, n := range namespaces(t) {
		if n == ns && statusOf(pid, "State") != "Z (zombie)" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// namespaces are the PID namespaces of all processes.
func namespaces(t *testing.T) map[string]string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	out := map[string]string{}
	for _, dir := range dirs {
		// The link of an undumpable process is hidden from an ordinary user, but
		// not that of its children; a process that is gone has none.
		if ns, err := os.Readlink(dir + "/ns/pid"); err == nil {
			out[filepath.Base(dir)] = ns
		}
	}
	return out
}

// statusOf is a field of a process's status, "" if the process is gone.
func statusOf(pid, field string) string {
	status, _ := os.ReadFile("/proc/" + pid + "/status")
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
