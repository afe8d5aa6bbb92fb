package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/control/controltest"
)

// process lets exec run main.
func process(b *bench, main func(controltest.Stdio) control.Exit) {
	b.host.OnExec = func(ctx context.Context, r control.ExecRequest) (control.Process, error) {
		return controltest.Start(ctx, main), nil
	}
}

func TestExec(t *testing.T) {
	b := newBench(t, nil)
	process(b, func(s controltest.Stdio) control.Exit {
		data, _ := io.ReadAll(s.In)
		io.WriteString(s.Out, "out "+string(data))
		io.WriteString(s.Err, "err")
		return control.Exit{Code: 42}
	})
	if got, want := b.run("in", "exec", "--group", "work", "--", "sh", "-c", "exit 42"), (result{42, "out in", "err"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	process(b, func(controltest.Stdio) control.Exit { return control.Exit{Signal: int(syscall.SIGKILL)} })
	if got := b.run("", "exec", "--", "x"); got.code != 137 {
		t.Errorf("a killed command gives %d, want 137", got.code)
	}
}

func TestExecOnATerminal(t *testing.T) {
	b := newBench(t, nil)
	var asked control.ExecRequest
	b.host.OnExec = func(ctx context.Context, r control.ExecRequest) (control.Process, error) {
		asked = r
		return controltest.Start(ctx, func(s controltest.Stdio) control.Exit {
			io.WriteString(s.Out, "ready\r\n")
			size := <-s.Process.Sizes
			key := make([]byte, 1)
			io.ReadFull(s.In, key)
			fmt.Fprintf(s.Out, "size %v key %d\r\n", size, key[0])
			return control.Exit{Code: 5}
		}), nil
	}
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	pty.Setsize(tty, &pty.Winsize{Rows: 30, Cols: 90})
	var shown lockedBuffer
	go io.Copy(&shown, master)
	code := make(chan int, 1)
	go func() { code <- b.app(tty, tty, io.Discard).run([]string{"exec", "--", "vi"}) }()
	shown.expect(t, "ready")
	pty.Setsize(tty, &pty.Winsize{Rows: 40, Cols: 100})
	syscall.Kill(os.Getpid(), syscall.SIGWINCH) // the kernel tells only the foreground group
	master.WriteString("\x03")                  // Ctrl-C is a key like any other
	shown.expect(t, "size [40 100] key 3")
	if c := ended(t, code); c != 5 {
		t.Errorf("exit code %d, want 5", c)
	}
	if !asked.TTY || asked.Rows != 30 || asked.Cols != 90 || asked.Term != "xterm" {
		t.Errorf("the host was asked for %+v", asked)
	}
}

func TestSignalsReachTheCommand(t *testing.T) {
	b := newBench(t, nil)
	started := make(chan struct{})
	process(b, func(s controltest.Stdio) control.Exit {
		close(started)
		return control.Exit{Signal: int(<-s.Process.Signals)}
	})
	r, w, _ := os.Pipe()
	defer w.Close()
	code := make(chan int, 1)
	go func() { code <- b.app(r, io.Discard, io.Discard).run([]string{"exec", "--", "sleep", "9"}) }()
	<-started
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	if c := ended(t, code); c != 128+int(syscall.SIGUSR1) {
		t.Errorf("exit code %d", c)
	}
}

func TestExecRequest(t *testing.T) {
	b := newBench(t, nil)
	var got control.ExecRequest
	b.host.OnExec = func(_ context.Context, r control.ExecRequest) (control.Process, error) {
		got = r
		return nil, &control.Error{Code: control.CodeRefused, Message: "no"}
	}
	dir := t.TempDir()
	b.run("", "exec", "-g", "work", "--mode", "host", "--boundary", "native", "--mount", dir+":rw", "--", "ls", "--json", "-g")
	if got.Group != "work" || got.Mode != "host" || got.Boundary != "native" || got.TTY ||
		strings.Join(got.Argv, " ") != "ls --json -g" || strings.Join(got.Mounts, " ") != dir+":rw" {
		t.Errorf("the host was asked for %+v", got)
	}
}

func TestExitCodes(t *testing.T) {
	for code, want := range map[control.Code]int{
		control.CodeUsage: 2, control.CodeRefused: 3, control.CodeBoundary: 125,
		control.CodeNotExecutable: 126, control.CodeNoCommand: 127, control.CodeNotFound: 1, control.CodeFailed: 1,
	} {
		b := newBench(t, nil)
		b.host.OnExec = func(context.Context, control.ExecRequest) (control.Process, error) {
			return nil, &control.Error{Code: code, Message: "it did not work\x1b[2J", Hint: "do this"}
		}
		got := b.run("", "exec", "--", "x")
		if wanted := (result{want, "", "nanoclaw: it did not work\nhint: do this\n"}); got != wanted {
			t.Errorf("%s: got %+v, want %+v", code, got, wanted)
		}
	}
}

// Every verb has words and an example.
func TestEveryVerbHasHelp(t *testing.T) {
	for _, cmd := range newApp().root().Commands() {
		for _, c := range append(cmd.Commands(), cmd) {
			if c.Name() == "help" || c.Name() == "completion" || c.HasParent() && c.Parent().Name() == "completion" {
				continue // cobra's own
			}
			if c.Short == "" || !strings.Contains(c.Example, "nanoclaw "+strings.Fields(c.CommandPath())[1]) {
				t.Errorf("%s has no words or no example of itself", c.CommandPath())
			}
		}
	}
}

func TestPrinting(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	b := newBench(t, nil)
	b.host.OnStatus = func(context.Context) (control.Status, error) {
		return control.Status{
			Version: "v1", PID: 7, UID: 1000, Started: at, HostMode: "off", HostModeReason: "no Landlock\x1b[2J",
			Layers: []string{"seccomp"}, Missing: []string{"landlock"}, Waiting: 2, Outbox: 1, Sessions: 1, Spares: 2, Config: "/c", Data: "/d",
			Live: []control.RunInfo{{ID: "r1", Group: "main", State: "running", Created: at}},
			HeldMessages: []control.HeldMessages{
				{Group: "family", Count: 2, Why: "you are asked about a run", Until: at, Code: "k4m2-9x7a"}, {Group: "work", Count: 1, Why: "it is paused\x1b[2J"},
			},
		}, nil
	}
	b.host.OnGroups = func(context.Context) ([]control.GroupInfo, error) {
		return []control.GroupInfo{
			{Name: "main", Mode: "host", Agent: "claude", Trigger: "always", Chats: []string{"console:main"}},
			{Name: "family", Mode: "container", Agent: "claude", Trigger: "mention", Chats: []string{"console:family", "x:y"}, Refusal: "container mode cannot be had"},
		}, nil
	}
	run := control.RunInfo{ID: "r1", Group: "main", State: "failed", Mode: "host", Agent: "claude", Created: at, Started: at, Ended: at.Add(1234 * time.Millisecond), Error: "the agent\ndied"}
	b.host.OnRuns = func(context.Context, control.RunsQuery) ([]control.RunInfo, error) {
		return []control.RunInfo{run}, nil
	}
	b.host.OnRun = func(_ context.Context, id chat.RunID) (control.RunInfo, error) {
		if id != "r1" {
			return control.RunInfo{}, &control.Error{Code: control.CodeNotFound, Message: "there is no run " + string(id)}
		}
		return run, nil
	}
	b.host.OnLogs = func(_ context.Context, q control.LogsQuery) ([]control.RunLog, error) {
		l := control.RunLog{Run: "r1", Group: "family", Mode: "container", Engine: "podman", Started: "2026-03-01T12:30:45.123Z", Took: "1.5s", Exit: "succeeded", File: "/data/groups/family/logs/x.log"}
		if q.Run != "" {
			l.Text = "run:         r1\nmode:        container\x1b[2J\n"
		}
		return []control.RunLog{l}, nil
	}
	b.host.OnPolicy = func(_ context.Context, q control.PolicyQuery) (control.Policy, error) {
		if q.Group == "family" {
			return control.Policy{Refusal: "not in host mode", Hint: "nanoclaw group set family --mode host"}, nil
		}
		p := control.Policy{Text: "group main\nmode host  # groups.main.mode\n", Grant: []byte(`{"group":"main"}`)}
		for _, question := range q.Explain {
			p.Answers = append(p.Answers, control.Explanation{Question: question, Allowed: question == "$HOME", Line: "a line", Why: "one\ntwo", As: "/in", Allow: "nanoclaw x"})
		}
		if q.Render == "native" {
			p.RenderedText, p.Rendering = "engine native\n", []byte(`{"engine":"native"}`)
		}
		return p, nil
	}
	b.host.OnDoctor = func(_ context.Context, q control.DoctorQuery) (control.DoctorReport, error) {
		if q.Attack {
			return control.DoctorReport{Attacks: &control.Attacks{
				Text: "F-01  read  held\x1b[2J\n", Untried: []string{"srt: it is not there"},
				Engines: []control.Attacked{{Engine: "native", User: "user", Lines: []control.AttackLine{
					{Line: "F-01", State: "held", Good: true}, {Line: "F-02", State: "BROKE", Detail: "the secret"},
				}}},
			}}, nil
		}
		return control.DoctorReport{Checks: []control.Check{
			{Name: "kernel", State: "ok", Detail: "6.18"},
			{Name: "user namespaces", State: "fail", Detail: "restricted", Fix: "sysctl x=0"},
		}}, nil
	}
	b.host.OnList = func(context.Context, control.AuditQuery) ([]control.AuditEntry, error) {
		return []control.AuditEntry{
			{ID: 1, At: at, Kind: "unheard.of", Group: "main", Run: "r1", Index: -1, Data: []byte(`{"text":"hi\u001b[2J"}`)},
		}, nil
	}
	b.host.OnVerify = func(context.Context, control.VerifyQuery) (control.AuditReport, error) {
		return control.AuditReport{Bad: "entry 3 does not hold"}, nil
	}
	kept := control.Quarantined{
		ID: "s1-1", At: at, Group: "main", Run: "r1", Session: "s1", From: "/home/o/p/.git/hooks", To: "/d/quarantine/s1/1/hooks", What: "git hooks", Files: 2, Bytes: 4096,
	}
	b.host.OnKept = func(_ context.Context, q control.QuarantineQuery) ([]control.Quarantined, error) {
		k := kept
		if q.ID != "" {
			k.More, k.Inside = true, []control.QuarantinedFile{
				{Path: "hooks", Mode: "drwxr-xr-x", Size: 60}, {Path: "hooks/x\x1b[2J", Mode: "-rwxr-xr-x", Size: 30, Text: "#!/bin/sh\r\nrm \x1b[2J\ns1-2: fine"},
				{Path: "hooks/y", Mode: "Lrwxrwxrwx", Size: 1, Link: "/\n"},
			}
		}
		return []control.Quarantined{k}, nil
	}
	b.host.OnKeptAct = func(_ context.Context, r control.QuarantineAct) ([]control.Quarantined, error) {
		bad := control.Quarantined{ID: "s1-2", To: "/d/quarantine/s1/2/x", Error: "it is neither\na file"}
		return []control.Quarantined{kept, bad}[:len(r.ID)-1], nil
	}
	b.host.OnNodes = func(context.Context) ([]control.Node, error) {
		return []control.Node{
			{Name: "one", Version: "v1", Started: at, Heard: at, Lives: true, Here: true, Groups: []chat.Group{"family", "main"},
				Duties: []control.Duty{{Name: "channel slack", Since: at}, {Name: "scheduler", Since: at}}},
			{Name: "three", Version: "v1", Started: at},
			{Name: "two", Version: "v1", Started: at, Heard: at, Groups: []chat.Group{"work"}},
		}, nil
	}
	b.host.OnDead = func(context.Context) ([]control.DeadLetter, error) {
		return []control.DeadLetter{
			{ID: 7, State: control.DeadState, Group: "family", From: "net:1", Sender: "ann", At: at, Attempts: 3, Run: "r1", Why: "nanoclaw ended each time", Text: "boom\x1b[2J\nboom"},
			{ID: 9, State: control.WaitsState, Group: "family", From: "net:1", Sender: "ann", At: at, Until: at, Why: "the model's rate limit is reached", Text: "hi"},
		}, nil
	}
	b.host.OnDeadAct = func(_ context.Context, r control.DeadAct) (control.DeadLetter, error) {
		if r.ID != 7 {
			return control.DeadLetter{}, &control.Error{Code: control.CodeNotFound, Message: "message 8 was not given up and does not wait"}
		}
		return control.DeadLetter{ID: r.ID, State: control.DeadState, Group: "family", At: at, Why: r.Act, Text: "boom"}, nil
	}
	b.host.OnErase = func(_ context.Context, r control.EraseRequest) (control.Erased, error) {
		return control.Erased{Messages: 4, Waiting: 1, Quotes: 2, Entries: 4, Runs: 1, Replies: 3, Left: []string{"what it wrote\x1b[2J down"}}, nil
	}
	b.host.OnRetain = func(_ context.Context, r control.RetainRequest) ([]control.Retained, error) {
		return []control.Retained{
			{Kind: "messages that came in", Setting: "retention.messages", Keep: "90d", Before: at, Gone: 12, Kept: 30},
			{Kind: "runs", Setting: "retention.runs", Keep: "0", Kept: 7},
		}, nil
	}
	b.host.OnStop = func(_ context.Context, r control.StopRequest) (control.Stopped, error) {
		return control.Stopped{Runs: []chat.RunID{"r1", "r2"}}, nil
	}
	b.host.OnExport = func(_ context.Context, _ control.ExportQuery, w io.Writer) error {
		io.WriteString(w, "{}\n")
		return nil
	}
	b.host.OnApprovals = func(context.Context) ([]control.Approval, error) {
		return []control.Approval{{Code: "k4m2-9x7a", Group: "family", Run: "r1", Title: "May it?", Text: "May it?\ncommand:\n  │ ls\x1b[2J", Hash: "12ab", Until: at}}, nil
	}
	b.host.OnApprove = func(_ context.Context, r control.ApproveRequest) (control.Approved, error) {
		if r.Code != "k4m2-9x7a" {
			return control.Approved{}, &control.Error{Code: control.CodeNotFound, Message: "no open question has this code"}
		}
		return control.Approved{Text: fmt.Sprintf("%v: May it?", r.Yes)}, nil
	}
	b.host.OnPeople = func(context.Context) ([]control.Person, error) {
		return []control.Person{
			{Sender: "slack:U1", Role: "owner", State: control.PersonAllowed, Origin: "configuration"},
			{Sender: "whatsapp:49", Name: "I am\x1b[2J\nEve", Group: "family", State: control.PersonAsked, Origin: "decision", At: at},
		}, nil
	}
	b.host.OnPeopleAct = func(_ context.Context, r control.PeopleAct) (control.Person, error) {
		if r.Sender == "nobody" {
			return control.Person{}, &control.Error{Code: control.CodeNotFound, Message: "nobody is not known in " + string(r.Group)}
		}
		return control.Person{Sender: r.Sender, Group: r.Group, State: map[string]string{control.PersonAllow: control.PersonAllowed, control.PersonDeny: control.PersonDenied}[r.Act]}, nil
	}
	b.host.OnPair = func(_ context.Context, r control.PairRequest) (control.PairingCode, error) {
		return control.PairingCode{Group: r.Group, Code: "k4m2-9x7a", Until: at}, nil
	}
	b.host.OnConfigPlan = func(context.Context) (control.ConfigPlan, error) {
		return control.ConfigPlan{Security: true, Text: "Rights of family that grow:\n  sender wa:3\n", Plan: []byte(`{"security":true}`)}, nil
	}
	b.host.OnConfigReload = func(context.Context) (control.ConfigPlan, error) {
		return control.ConfigPlan{}, &control.Error{Code: control.CodeRefused, Message: "only a restart accepts it", Hint: "restart nanoclaw"}
	}
	// These ask a daemon, so there is one.
	served := startDaemon(t, b)

	var all strings.Builder
	for _, args := range []string{
		"config plan", "config diff --json", "config reload",
		"status", "status --json", "group list", "runs", "runs r1", "runs r9", "policy show", "policy show --json",
		"policy show -g family", "policy show -g family --json", "policy show --render native", "policy show --render native --json",
		"policy explain HOME", "policy explain HOME read:/x", "policy explain /x --json", "policy explain -g family /x", "policy explain x", "doctor", "doctor --no-probe --json", "doctor --attack", "doctor --attack --json", "audit list", "audit show 1",
		"audit show x", "audit verify", "audit verify --json", "audit export", "quarantine list", "quarantine list --json", "quarantine show s1-1", "quarantine restore s1", "quarantine remove s1a", "quarantine remove s1 --json", "quarantine restore",
		"nodes", "nodes --json", "dead list", "dead list --json", "dead retry 7", "dead drop 7 --json", "dead retry 8", "dead retry x", "dead",
		"erase --sender net:ann", "erase --sender net:ann --runs --dry-run -g family", "erase --sender net:ann --json", "erase",
		"retention", "retention --dry-run", "retention --json", "retention now",
		"people list", "people list --json", "people allow -g family whatsapp:49", "people deny -g family whatsapp:49 --json", "people remove -g family nobody", "people allow x",
		"people pair -g family", "people pair -g family --json", "people pair",
		"approvals", "approvals --json", "approve k4m2-9x7a", "deny k4m2-9x7a --json", "approve x", "approve",
		"stop r1", "stop --all --json", "stop r1 --all", "stop",
	} {
		got := b.run("", strings.Fields(args)...)
		all.WriteString("-- " + args + " --\n" + got.out + got.errOut)
		if got.code != 0 {
			all.WriteString("exit " + string(rune('0'+got.code)) + "\n")
		}
	}
	checkGolden(t, "verbs.golden", all.String())
	if got := b.run("", "stop", "--daemon"); got.out != "the daemon stops\n" {
		t.Errorf("%+v", got)
	}
	if code := ended(t, served); code != 0 {
		t.Errorf("the daemon ended with %d", code)
	}
}

// startDaemon starts "nanoclaw run" and waits until it is ready.
func startDaemon(t *testing.T, b *bench) <-chan int {
	t.Helper()
	var out lockedBuffer
	code := make(chan int, 1)
	go func() { code <- b.app(os.Stdin, &out, io.Discard).run([]string{"run"}) }()
	out.expect(t, "nanoclaw: ready in ")
	return code
}

func TestOneDaemonOnly(t *testing.T) {
	b := newBench(t, nil)
	served := startDaemon(t, b)
	if got := b.run("", "run"); got.code != exitFailed || !strings.Contains(got.errOut, "already runs") {
		t.Errorf("a second daemon: %+v", got)
	}
	b.run("", "stop", "--daemon")
	ended(t, served)
	if got := b.run("", "status"); got.code != exitFailed || !strings.Contains(got.errOut, "hint: start it with: nanoclaw run") {
		t.Errorf("status without a daemon: %+v", got)
	}
	if _, err := os.Stat(filepath.Join(b.home, "run", control.SocketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A command that finds no daemon is the host, and another terminal can join it.
// It does not end under that one.
func TestASecondTerminalJoinsTheFirst(t *testing.T) {
	b := newBench(t, func(x turnOf) string {
		x.say(chat.Reply, "ok "+x.in.Text)
		return "succeeded"
	})
	in1, keys1, _ := os.Pipe()
	in2, keys2, _ := os.Pipe()
	var out1, err1, out2 lockedBuffer
	code1, code2 := make(chan int, 1), make(chan int, 1)
	go func() { code1 <- b.app(in1, &out1, &err1).run([]string{"chat"}) }()
	keys1.WriteString("one\n")
	out1.expect(t, "ok one")
	go func() { code2 <- b.app(in2, &out2, io.Discard).run([]string{"chat", "-g", "work"}) }()
	keys2.WriteString("two\n")
	out2.expect(t, "ok two")
	keys1.Close()
	err1.expect(t, "another terminal uses this host")
	keys2.WriteString("three\n")
	out2.expect(t, "ok three")
	keys2.Close()
	if c := ended(t, code2); c != 0 {
		t.Errorf("the second ended with %d", c)
	}
	if c := ended(t, code1); c != 0 {
		t.Errorf("the first ended with %d", c)
	}
}

func TestExportToAFile(t *testing.T) {
	b := newBench(t, nil)
	var failure error
	b.host.OnExport = func(_ context.Context, _ control.ExportQuery, w io.Writer) error {
		io.WriteString(w, "line\n")
		return failure
	}
	file := filepath.Join(t.TempDir(), "log")
	if got := b.run("", "audit", "export", file); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	if data, _ := os.ReadFile(file); string(data) != "line\n" {
		t.Errorf("the file holds %q", data)
	}
	if got := b.run("", "audit", "export", file); got.code != exitFailed {
		t.Errorf("an existing file was taken: %+v", got)
	}
	failure = errors.New("the disk went away")
	half := file + "2"
	if got := b.run("", "audit", "export", half); got.code != exitFailed {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half an export was left behind: %v", err)
	}
}

// changing leaves out the lines of a grant that every group has: they are for
// the tests of the grant.
func changing(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		inGrant := strings.HasPrefix(line, "+ ") || strings.HasPrefix(line, "- ")
		if !inGrant || strings.Contains(line, "refused") || strings.Contains(line, "# groups.") {
			out.WriteString(line)
		}
	}
	return out.String()
}

func TestGroupChanges(t *testing.T) {
	b := newBench(t, nil)
	p := b.writeConfig()
	photos := t.TempDir()
	os.Mkdir(filepath.Join(photos, "photos"), 0o755)
	var all strings.Builder
	for _, args := range []string{
		"group add family",
		"group add family",
		"group add Fam",
		"group set family --mode host",
		"group mount add family PHOTOS/photos",
		"group mount add family PHOTOS/photos:rw",
		"group egress add family example.org:8443 *.example.net",
		"group egress add family http://example.org",
		"group egress add family 127.0.0.1",
		"group egress remove family example.org:8443",
		"group set family --trigger always --chat x:1 --sender x:anna",
		"group set family --model sonnet --fallback-model haiku --effort high --max-turns 40 --prompt Hej --permission-mode ask --confirm session --prepared --chat x:2",
		"group set family --prompt-file ../secret",
		"group set family --effort extreme",
		"group set family --agent robot",
		"group mount remove family photos",
		"group set family --mode container",
		"group set nobody --mode host",
		"group remove main",
		"group remove family",
	} {
		got := b.run("", strings.Fields(strings.ReplaceAll(args, "PHOTOS", photos))...)
		text := got.out + got.errOut
		for from, to := range map[string]string{photos: "PHOTOS", b.home: "HOME"} {
			text = strings.ReplaceAll(text, from, to)
		}
		all.WriteString("-- " + args + " --\n" + changing(text))
		if got.code != 0 {
			all.WriteString("exit " + string(rune('0'+got.code)) + "\n")
		}
	}
	checkGolden(t, "groups.golden", all.String())
	data, err := os.ReadFile(p.Config)
	if err != nil || !strings.Contains(string(data), "// How the assistant is called") {
		t.Errorf("the owner's comments are gone (%v)", err)
	}
}
