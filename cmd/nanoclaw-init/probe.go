//go:build linux || darwin

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"nanoclaw/internal/wire"
)

// The probe is this same program, started by the init as an ordinary process
// of the agent. It tries what an agent would try to get out, and reports. It
// has no rights that an agent has not, and whatever it manages, an agent could.
//
// Its attempts would do harm anywhere else: they mount, kill and write. So it
// works only where inside, for each system, finds that it is inside.

// Variables of the probe's environment.
const (
	// outsideVar says what is the host's own, by which inside knows that it is not
	// there. On Linux the namespaces, as KIND=LINK separated by spaces as
	// /proc/self/ns shows them; on macOS the number of the host's process.
	outsideVar = "NANOCLAW_PROBE_OUTSIDE"
	// landlockVar says that Landlock is in force and must be felt.
	landlockVar = "NANOCLAW_PROBE_LANDLOCK"
	// apartVar says that the host cannot see the init's threads.
	apartVar = "NANOCLAW_PROBE_APART"
)

// prober collects attempts.
type prober struct {
	task     wire.Probe
	report   wire.ProbeReport
	landlock bool
	fds      []int // open at the start, beyond the standard three
}

// probeMain runs the probe and gives its exit code.
func probeMain() int {
	p := &prober{fds: openFDs(), landlock: os.Getenv(landlockVar) != ""}
	if err := inside(os.Getenv(outsideVar)); err != nil {
		fmt.Fprintln(os.Stderr, "the probe refuses to run:", err)
		return 2
	}
	task, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(task, &p.task)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the probe's task:", err)
		return 2
	}
	p.files()
	p.network()
	p.processes()
	p.kernel()
	if err := json.NewEncoder(os.Stdout).Encode(p.report); err != nil {
		return 1
	}
	return 0
}

// try records one attempt. do gives what it got hold of, or the refusal.
func (p *prober) try(name string, do func() (got string, err error)) {
	got, err := do()
	a := wire.Attempt{Name: name, Broke: err == nil, Detail: got}
	if err != nil {
		a.Detail = err.Error()
	}
	if len(a.Detail) > 200 {
		a.Detail = a.Detail[:200]
	}
	p.report.Attempts = append(p.report.Attempts, a)
}

// errRefused is the refusal of what gives no error by itself.
type errRefused string

func (e errRefused) Error() string { return string(e) }
