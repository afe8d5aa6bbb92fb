package daemon

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runlog"
)

// logText is the file of a run, once what waited to be written is.
func logText(t *testing.T, d *Daemon, run chat.RunID) string {
	t.Helper()
	d.runLogs.written.Wait()
	logs, err := d.Logs(t.Context(), control.LogsQuery{Run: run})
	must(t, err)
	return logs[0].Text
}

// Each run has a file with what was started and how it ended, with names of
// variables and without what was said. No agent reaches it.
func TestRunLog(t *testing.T) {
	i := newInstall(t, strings.Replace(hostConfig, `"agent":`, `"limits": {"output": "1KB"}, "agent":`, 1))
	i.env["TZ"] = "Asia/Tokyo"
	d, _ := i.run()
	a := ask(t, d, "family", "printf '%2000s' x; ls -d /workspace/logs "+d.runLogs.dir("family")+" || echo secret-word")
	if a.State != control.Succeeded || !strings.Contains(a.text(), "is longer and is cut") && !strings.Contains(a.text(), "was longer and is cut") {
		t.Fatalf("%+v", a)
	}
	text := logText(t, d, a.Run)
	r, err := d.request(t.Context(), "family", triggerOwner())
	must(t, err)
	g, err := d.granted(r)
	must(t, err)
	rendered, err := d.rendered(t.Context(), "native", g)
	must(t, err)
	p, err := d.Policy(t.Context(), control.PolicyQuery{Group: "family", Render: "native"})
	must(t, err)
	if p.RenderedText != rendered {
		t.Errorf("the owner is shown another profile:\n%s\n%s", p.RenderedText, rendered)
	}
	for _, want := range []string{
		"run:         " + string(a.Run) + "\n", "group:       family\n", "trigger:     message in console:family from ", "mode:        host (groups.family.mode)\n",
		"engine:      native\n", "layers:      ", "missing:     ", "init pid:    ", "environment: HOME, USER, ", ", TZ", "mount:       rw /workspace/group = ",
		"profile:     sha256:" + fmt.Sprintf("%x", sha256.Sum256([]byte(rendered))) + "\n", "duration:    ", "exit:        succeeded\n", "truncated:   yes\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, no := range []string{"secret-word", "Tokyo", "printf"} {
		if strings.Contains(text, no) {
			t.Errorf("%q is in\n%s", no, text)
		}
	}
	logs, err := d.Logs(t.Context(), control.LogsQuery{Group: "family"})
	must(t, err)
	if len(logs) != 1 || logs[0].Run != a.Run || logs[0].Mode != "host" || logs[0].Exit != "succeeded" || filepath.Dir(logs[0].File) != d.runLogs.dir("family") {
		t.Errorf("%+v", logs)
	}
	if _, err := d.Logs(t.Context(), control.LogsQuery{Run: "r0"}); code(err) != control.CodeNotFound {
		t.Errorf("of no run: %v", err)
	}
	if out, _, _ := runInside(t, d, "family", "sh", "-c", "find / -name '*.log' -path '*logs/host-*' 2>/dev/null"); out != "" {
		t.Errorf("inside there is %s", out)
	}
}

// Where the owner asks for it words are in the file, and erasing somebody's words
// takes them away.
func TestRunLogWithWords(t *testing.T) {
	i := newInstall(t, strings.Replace(hostConfig, `"agent":`, `"runLogs": {"content": true, "files": 2}, "agent":`, 1))
	d, _ := i.run()
	var runs []chat.RunID
	for _, word := range []string{"one", "two", "three"} {
		runs = append(runs, ask(t, d, chat.Main, "echo answer-"+word+" ANTHROPIC_API_KEY=sk-ant-api03-"+strings.Repeat("a", 95)).Run)
	}
	text := logText(t, d, runs[2])
	if !strings.Contains(text, "\nprompt:\n") || !strings.Contains(text, "\nanswer:\n  answer-three") || strings.Contains(text, "aaaaaaaaaa") {
		t.Errorf("%s", text)
	}
	if _, err := d.Logs(t.Context(), control.LogsQuery{Run: runs[0]}); code(err) != control.CodeNotFound {
		t.Errorf("the oldest of three: %v", err)
	}
	_, err := d.Erase(t.Context(), control.EraseRequest{Sender: "console:somebody", Try: true})
	must(t, err)
	logText(t, d, runs[2])
	_, err = d.Erase(t.Context(), control.EraseRequest{Sender: "console:somebody"})
	must(t, err)
	if left, _ := filepath.Glob(filepath.Join(d.runLogs.dir(chat.Main), "*")); left != nil {
		t.Errorf("left: %v", left)
	}
}

// A folder that cannot be written keeps no run from ending.
func TestRunLogCannotBeWritten(t *testing.T) {
	i := newInstall(t, hostConfig)
	d, _ := i.run()
	must(t, os.MkdirAll(d.machine.GroupDir(chat.Main), 0o700))
	must(t, os.WriteFile(d.runLogs.dir(chat.Main), nil, 0o600))
	if a := ask(t, d, chat.Main, "echo fine"); a.State != control.Succeeded || a.text() != "fine" {
		t.Errorf("%+v", a)
	}
}

// A run that ends soon is written once, as it ended; what has begun waits for that, and
// for nothing else.
func TestRunLogIsWrittenOnce(t *testing.T) {
	l := runLogs{busy: true, more: make(chan struct{}, 1)} // nobody writes meanwhile
	began := time.Now()
	header := func(run chat.RunID, ended bool) runlog.Header {
		h := runlog.Header{Run: run, Group: "family", Started: began}
		if ended {
			h.Ended, h.Exit = began, "succeeded"
		}
		return h
	}
	l.add(header("long", false), grant.Grant{})
	l.add(header("short", false), grant.Grant{})
	if next, wait, ok := l.take(); !ok || wait <= 0 || wait > begunAfter {
		t.Errorf("%s is taken at once, or after %v", next.header.Run, wait)
	}
	l.add(header("short", true), grant.Grant{})
	next, wait, ok := l.take()
	if !ok || wait != 0 || next.header.Run != "short" || next.header.Exit != "succeeded" {
		t.Errorf("the end of a run is not taken at once: %+v after %v", next.header, wait)
	}
	if len(l.waiting) != 1 || l.waiting[0].header.Run != "long" {
		t.Errorf("%d files wait, and should one, that of the run that goes on", len(l.waiting))
	}
	l.waiting[0].due = began
	if next, _, ok = l.take(); !ok || next.header.Run != "long" || !next.header.Ended.IsZero() {
		t.Errorf("a run that goes on is not written: %+v", next.header)
	}
	if _, _, ok = l.take(); ok || l.busy {
		t.Error("there is more")
	}
}
