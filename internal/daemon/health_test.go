package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/queue"
)

// failing are the names of the checks that fail.
func failing(t *testing.T, d *Daemon) (names []string, h control.Health) {
	t.Helper()
	h, err := d.Health(t.Context())
	must(t, err)
	for _, c := range h.Checks {
		if c.State == "fail" {
			if names = append(names, c.Name); c.Detail == "" || c.Fix == "" {
				t.Errorf("a check that fails says neither why nor what to do: %+v", c)
			}
		}
	}
	if h.Ready != (names == nil) {
		t.Errorf("ready is %v, and %q fail", h.Ready, names)
	}
	return names, h
}

// Health is good where all is well, and names what is not, also while it starts and
// after it ended.
func TestHealth(t *testing.T) {
	i := newInstall(t, strings.Replace(hostConfig, `"work": {},`, "", 1))
	d := i.open()
	if got, _ := failing(t, d); strings.Join(got, " ") != "daemon" {
		t.Errorf("before it runs %q fail", got)
	}
	stop := i.serve(d)
	got, h := failing(t, d)
	if got != nil {
		t.Errorf("%q fail: %+v", got, h.Checks)
	}
	d.networks.mu.Lock()
	d.networks.states["slack"] = channel.Status{State: channel.Waiting, Since: time.Now(), Cause: "no route"}
	d.networks.mu.Unlock()
	if got, _ := failing(t, d); strings.Join(got, " ") != "channel slack" {
		t.Errorf("with a channel that waits %q fail", got)
	}
	d.networks.mu.Lock()
	delete(d.networks.states, "slack")
	d.networks.mu.Unlock()
	d.queue.Pause(queue.AllGroups, "asleep")
	if got, h := failing(t, d); got != nil || !strings.Contains(text(h), "asleep") {
		t.Errorf("a pause of the owner's is told, and fails nothing: %q %s", got, text(h))
	}
	d.queue.Resume(queue.AllGroups)
	i.configure(strings.Replace(hostConfig, "family", "friends", 1))
	ask(t, d, chat.Main, "true")
	if got, _ := failing(t, d); strings.Join(got, " ") != "runs" {
		t.Errorf("with a changed configuration %q fail", got)
	}
	stop()
	if got, _ := failing(t, d); len(got) < 3 || got[0] != "daemon" || got[1] != "store" {
		t.Errorf("after it ended %q fail", got)
	}
}

// A group that has no engine is named; the others are not.
func TestHealthOfBoundaries(t *testing.T) {
	d, _ := newInstall(t, hostConfig).run()
	got, h := failing(t, d)
	if strings.Join(got, " ") != "group work" || !strings.Contains(text(h), "main, family") {
		t.Errorf("%q fail: %s", got, text(h))
	}
}

// A store that does not answer is not waited for.
func TestHealthOfAStoreThatHangs(t *testing.T) {
	d, _ := newInstall(t, hostConfig).run()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h, err := d.Health(ctx)
	must(t, err)
	if h.Ready || h.Checks[1].State != "fail" {
		t.Errorf("%+v", h)
	}
}

func text(h control.Health) string {
	var out strings.Builder
	for _, c := range h.Checks {
		out.WriteString(c.Name + ": " + c.Detail + "\n")
	}
	return out.String()
}
