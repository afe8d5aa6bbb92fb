package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/control"
)

// The exit code is the answer, in words and in JSON, also where no daemon runs.
func TestHealth(t *testing.T) {
	b := newBench(t, nil)
	for _, args := range [][]string{{"health"}, {"health", "--json"}} {
		if got := b.run("", args...); got.code != exitFailed || !strings.Contains(got.out, "no nanoclaw daemon is running") {
			t.Errorf("without a daemon: %+v", got)
		}
	}
	checks := []control.Check{{Name: "store", State: "ok", Detail: "written"}, {Name: "runs", State: "warn", Detail: "paused", Fix: "nanoclaw resume --all"}}
	b.host.OnHealth = func(context.Context) (control.Health, error) { return control.HealthOf(time.Now(), checks), nil }
	served := startDaemon(t, b)
	if got := b.run("", "health"); got.code != exitOK || !strings.HasSuffix(got.out, "      fix: nanoclaw resume --all\nready\n") {
		t.Errorf("%+v", got)
	}
	checks = append(checks, control.Check{Name: "channel slack", State: "fail", Detail: "waiting"})
	if got := b.run("", "health"); got.code != exitFailed || !strings.HasSuffix(got.out, "fail  channel slack: waiting\nnot ready\n") {
		t.Errorf("%+v", got)
	}
	if got := b.run("", "health", "--json"); got.code != exitFailed || !strings.Contains(got.out, `"ready": false`) {
		t.Errorf("%+v", got)
	}
	b.run("", "stop", "--daemon")
	ended(t, served)
}
