package chaostest

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/steps"
)

func TestEveryStepHasACase(t *testing.T) {
	known, own := cases(), commands()
	for _, s := range steps.All() {
		_, inDaemon := known[s]
		_, alone := own[s]
		if inDaemon == alone {
			t.Errorf("the step %s needs one kill case, in cases or in commands", s)
		}
	}
	if len(known)+len(own) != len(steps.All()) {
		t.Errorf("there are cases for %d steps, and %d steps", len(known)+len(own), len(steps.All()))
	}
}

// programs are what we ship and what is killed.
func programs(t *testing.T) (dir, shipped, killed string) {
	t.Helper()
	dir, err := ShortDir()
	must(t, err)
	t.Cleanup(func() {
		if !t.Failed() {
			os.RemoveAll(dir)
		}
	})
	shipped = "../../bin/nanoclaw"
	if _, err := os.Stat(shipped); err != nil {
		t.Fatalf("run make build first: %v", err)
	}
	killed, err = Build(t.Context(), "../..", dir, "chaos")
	must(t, err)
	return dir, shipped, killed
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestChaos kills a real host once at every step and some more, and meets it with
// every fault. make chaos does more of it.
func TestChaos(t *testing.T) {
	dir, shipped, killed := programs(t)
	for name, want := range map[string]bool{shipped: false, killed: true} {
		program, err := os.ReadFile(name)
		must(t, err)
		for _, mark := range []string{"NANOCLAW_CHAOS_KILL", "NANOCLAW_CHAOS_NET", "channel/chaosnet"} {
			if bytes.Contains(program, []byte(mark)) != want {
				t.Errorf("%s holds %q: %t", name, mark, !want)
			}
		}
	}
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	seed := uint64(time.Now().UnixNano())
	r, err := Run(ctx, Options{
		Program: killed, Claude: agenttest.Claude(t), Dir: dir, Seed: seed, Length: time.Second, Faults: AllFaults(), Log: &log,
	})
	if err != nil {
		t.Errorf("%v", err)
	}
	for _, f := range r.Failures() {
		t.Error(f)
	}
	t.Logf("CHAOS_SEED=%d in %s\n%s%v\n%s", seed, dir, log.String(), r, r.Line())
	for _, s := range steps.All() {
		if r.Reached[s] == 0 && err == nil {
			t.Errorf("it was never killed at %s", s)
		}
	}
}
