package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/hosttools"
	"nanoclaw/internal/task"
)

// taskConfig lets tasks come close to each other.
var taskConfig = strings.NewReplacer(`"version": 1,`, `"version": 1, "limits": {"taskInterval": "1s"},`,
	`"family": {`, `"family": {"confirm": "never", `).Replace(hostConfig)

// added makes a task of the owner's in family that is due far off.
func added(t *testing.T, d *Daemon, change func(*control.TaskSpec)) task.Task {
	t.Helper()
	host, prompt, kind, value := true, "echo done", "cron", "0 0 1 1 *"
	r := control.TaskSpec{Group: "family", Prompt: &prompt, Kind: &kind, Value: &value, HostMode: &host}
	if change != nil {
		change(&r)
	}
	made, err := d.TaskAdd(t.Context(), r)
	must(t, err)
	return made
}

// past waits until so many due times of a task are over, and gives them.
func past(t *testing.T, d *Daemon, id chat.TaskID, n int) control.TaskPast {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		changed := d.changed.wait()
		p, err := d.TaskHistory(ctx, id)
		must(t, err)
		over := 0
		for _, r := range p.Runs {
			if r.State != "waiting" && r.State != "running" {
				over++
			}
		}
		if over >= n {
			return p
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("of task %s there is only %+v", id, p.Runs)
		}
	}
}

func runNow(t *testing.T, d *Daemon, id chat.TaskID) error {
	t.Helper()
	_, err := d.TaskAct(t.Context(), control.TaskAct{ID: id, Act: control.TaskRun})
	return err
}

// TestTasksRun takes tasks through the whole daemon: due by the clock, run now, with
// a script that wakes the agent or does not, cancelled while they run.
func TestTasksRun(t *testing.T) {
	i := newInstall(t, taskConfig)
	d, stop := i.run()
	said := listening(t, d, "family")

	soon := time.Now().Add(2 * time.Second).UTC().Format("2006-01-02T15:04:05")
	once := added(t, d, func(r *control.TaskSpec) { kind, utc := "once", "UTC"; r.Kind, r.Value, r.Zone = &kind, &soon, &utc })
	if m := said.hears(chat.Reply); strings.TrimSpace(m.Text) != "done" {
		t.Errorf("a task that was due says %q", m.Text)
	}
	if p := past(t, d, once.ID, 1); p.Task.State != task.Done || p.Runs[0].State != "succeeded" || p.Runs[0].Run == "" {
		t.Errorf("afterwards: %+v", p)
	}

	for _, tt := range []struct{ name, script, state, note, answer string }{
		{"does not wake", "cd /workspace; echo looked >> looked; echo noise; echo '{\"wakeAgent\": false}'", "succeeded", "woke nobody", ""},
		{"wakes", "cat /workspace/group/looked looked >/dev/null 2>&1; echo '{\"wakeAgent\": true}'", "succeeded", "", "done"},
		{"fails", "echo sorry >&2; exit 3", "failed", "status 3: sorry", ""},
		{"says nothing", "echo hello", "failed", "did not say", ""},
		{"leaves the boundary alone", "test -e " + i.paths.DataDir + " && exit 9; echo '{\"wakeAgent\": false}'", "succeeded", "woke nobody", ""},
	} {
		made := added(t, d, func(r *control.TaskSpec) { r.Script = &tt.script })
		must(t, runNow(t, d, made.ID))
		p := past(t, d, made.ID, 1)
		if r := p.Runs[0]; r.State != tt.state || !strings.Contains(r.Note, tt.note) {
			t.Errorf("a script that %s: %s, %q", tt.name, r.State, r.Note)
		}
		if !p.Task.Next.Equal(made.Next) {
			t.Errorf("run now moved the next time from %v to %v", made.Next, p.Task.Next)
		}
		if got := strings.Count(strings.Join(kinds(t, d, p.Runs[0].Run), " "), "task.checked"); got != 1 {
			t.Errorf("a script that %s is recorded %d times", tt.name, got)
		}
		if tt.answer != "" {
			if m := said.hears(chat.Reply); strings.TrimSpace(m.Text) != tt.answer {
				t.Errorf("a script that %s: the agent says %q", tt.name, m.Text)
			}
		}
	}

	long := "sleep 600"
	made := added(t, d, func(r *control.TaskSpec) { r.Prompt = &long })
	must(t, runNow(t, d, made.ID))
	var run chat.RunID
	for run == "" {
		changed := d.changed.wait()
		if runs := d.runner.Sessions(); runs > 0 {
			p, err := d.TaskHistory(t.Context(), made.ID)
			must(t, err)
			run = p.Runs[0].Run
		}
		if run == "" {
			select {
			case <-changed:
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	if err := runNow(t, d, made.ID); code(err) != control.CodeRefused {
		t.Errorf("while it runs it is run again: %v", err)
	}
	done, err := d.TaskAct(t.Context(), control.TaskAct{ID: made.ID, Act: control.TaskCancel})
	if err != nil || done.Stopped != run {
		t.Errorf("cancelled: %+v, %v", done, err)
	}
	if info, err := d.RunByID(t.Context(), run); err != nil || info.State != "cancelled" {
		t.Errorf("its run is %+v, %v", info, err)
	}
	stop()

	d, _ = i.run()
	if all, err := d.Tasks(t.Context(), "family"); err != nil || len(all) != 6 {
		t.Errorf("after a restart there are %d tasks, %v", len(all), err)
	}
}

// withoutHostMode takes a task's own consent away.
func withoutHostMode(t *task.Task) (audit.Entry, error) {
	t.HostMode = false
	return changedTask("edit", *t, byOwner, chat.Address{}), nil
}

// TestTaskNeedsItsOwnConsent: a task of a group in host mode does not run without its
// own flag, whoever took it away, and is told of once.
func TestTaskNeedsItsOwnConsent(t *testing.T) {
	i := newInstall(t, taskConfig)
	d, _ := i.run()
	prompt, kind, value := "echo done", "cron", "0 0 1 1 *"
	_, err := d.TaskAdd(t.Context(), control.TaskSpec{Group: "family", Prompt: &prompt, Kind: &kind, Value: &value})
	if code(err) != control.CodeRefused || !strings.Contains(err.Error(), "host mode") {
		t.Errorf("without its consent: %v", err)
	}
	made := added(t, d, nil)
	_, err = d.store.ChangeTask(t.Context(), made.ID, withoutHostMode)
	must(t, err)
	must(t, runNow(t, d, made.ID))
	p := past(t, d, made.ID, 1)
	if p.Task.State != task.Broken || p.Runs[0].State != "refused" || !strings.Contains(p.Task.Reason, "may not run in host mode") {
		t.Errorf("it is %s (%s), its run %+v", p.Task.State, p.Task.Reason, p.Runs[0])
	}
	notice(t, d, "family", "Task "+string(made.ID)+" of group family rests")
}

// TestMainAsksForHostMode: what main's agent schedules in host mode waits for the
// owner's yes in a terminal, over a restart, and is what was shown.
func TestMainAsksForHostMode(t *testing.T) {
	i := newInstall(t, taskConfig)
	d, stop := i.run()
	term, err := d.Attach(t.Context(), chat.Main)
	must(t, err)
	say(t, d, chat.Main, "echo at work; sleep 600")
	var run chat.RunID
	for run == "" {
		_, p, err := term.Next(t.Context())
		must(t, err)
		if p != nil && strings.Contains(p.Text, "at work") {
			run = p.Run
		}
	}
	must(t, term.Close())
	h, from := &toolHost{d: d}, hosttools.Identity{Group: chat.Main, Session: "s1", Run: func() chat.RunID { return run }}
	tools := hosttools.New(from, []grant.Tool{{Name: "schedule_task"}}, h)
	defer tools.Close()
	for range 2 {
		reply, err := tools.Message(t.Context(), []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"schedule_task","arguments":
			{"prompt":"echo by main","schedule_type":"interval","schedule_value":"3600000","target_group_jid":"family"}}}`))
		if err != nil || !strings.Contains(string(reply), "the owner is asked") {
			t.Fatalf("%s, %v", reply, err)
		}
	}
	all, err := d.Tasks(t.Context(), "family")
	if must(t, err); len(all) != 2 || all[0].State != task.Asked || all[0].HostMode || !all[0].Next.IsZero() || all[0].By.Sender.Owner || !all[0].By.OfOwner {
		t.Fatalf("the tasks are %+v", all)
	}
	if err := runNow(t, d, all[0].ID); err == nil {
		t.Error("it was run without the owner's yes")
	}
	_, err = d.Stop(t.Context(), control.StopRequest{All: true})
	must(t, err)
	stop()

	d, _ = i.run()
	asked, err := d.Approvals(t.Context())
	if must(t, err); len(asked) != 2 {
		t.Fatalf("open: %+v", asked)
	}
	for n, yes := range []bool{true, false} {
		if _, err := d.Approve(t.Context(), control.ApproveRequest{Code: asked[n].Code, Yes: yes}); err != nil {
			t.Fatal(err)
		}
	}
	all, err = d.Tasks(t.Context(), "family")
	if must(t, err); all[0].State != task.Active || !all[0].HostMode || all[0].Next.IsZero() || all[1].State != task.Paused || all[1].HostMode {
		t.Errorf("answered, the tasks are %+v", all)
	}
	must(t, runNow(t, d, all[0].ID))
	if p := past(t, d, all[0].ID, 1); p.Runs[0].State != "succeeded" {
		t.Errorf("its run: %+v", p.Runs)
	}
	if a := ask(t, d, chat.Main, "/tasks all"); !strings.Contains(a.text(), "echo by main") || !strings.Contains(a.text(), string(all[0].ID)) {
		t.Errorf("/tasks says %q", a.text())
	}
}
