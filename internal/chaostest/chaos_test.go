package chaostest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
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

// TestChaos kills real hosts once at every step and some more, and meets one with every
// fault. Two campaigns share the steps. make chaos does more of it.
func TestChaos(t *testing.T) {
	dir, shipped, killed := programs(t)
	for name, want := range map[string]bool{shipped: false, killed: true} {
		program, err := os.ReadFile(name)
		must(t, err)
		for _, mark := range []string{"NANOCLAW_CHAOS_KILL", "NANOCLAW_CHAOS_NET", "NANOCLAW_CHAOS_CLOCK", "channel/chaosnet"} {
			if bytes.Contains(program, []byte(mark)) != want {
				t.Errorf("%s holds %q: %t", name, mark, !want)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	claude, reached := agenttest.Claude(t), make([]map[steps.Step]int, 2)
	var all sync.WaitGroup
	for part := range reached {
		all.Go(func() {
			reached[part] = partOf(ctx, t, Options{Program: killed, Claude: claude, Dir: filepath.Join(dir, strconv.Itoa(part)), Part: part, Parts: len(reached)})
		})
	}
	all.Go(func() { onSmallDisk(t, killed, filepath.Join(dir, "d")) })
	all.Wait()
	for _, s := range steps.All() {
		if reached[0][s]+reached[1][s] == 0 && !t.Failed() {
			t.Errorf("it was never killed at %s", s)
		}
	}
}

// partOf is one of several campaigns that share the steps. The first is killed at random
// too, and the others are met with the faults.
func partOf(ctx context.Context, t *testing.T, o Options) map[steps.Step]int {
	if err := os.Mkdir(o.Dir, 0o700); err != nil {
		t.Error(err)
		return nil
	}
	var log bytes.Buffer
	o.Seed, o.Log = uint64(time.Now().UnixNano()), &log
	switch {
	case o.Faults != nil:
	case o.Part == 0:
		o.Length = 2 * time.Second
	default:
		o.Faults = AllFaults()
	}
	r, err := Run(ctx, o)
	if err != nil {
		t.Errorf("%v", err)
	}
	for _, f := range r.Failures() {
		t.Error(f)
	}
	t.Logf("CHAOS_SEED=%d in %s\n%s%v\n%s", o.Seed, o.Dir, log.String(), r, r.Line())
	return r.Reached
}
