package boundary

import (
	"fmt"
	"slices"
	"strings"

	"nanoclaw/internal/wire"
)

// threadsAttempt is the one attempt that the host makes.
const threadsAttempt = "find a thread of the init that is not confined"

// mustTry are attempts that every report on Linux has to hold, whatever the task.
// A probe that tried nothing proves nothing.
var mustTry = [...]string{
	"write into /usr", "read /proc/1/environ of the init", "write to the init's program",
	"use an inherited descriptor", "find a way to the internet for UDP", "find a network interface",
	"make a Unix socket", "see other processes", "trace the init", "see shared memory of others",
	"mount a file system", "make a user namespace", "ask for the session's kernel keyring",
	"hold a capability", boundingAttempt, "be allowed new privileges", threadsAttempt,
}

// boundingAttempt is one that an engine may not be able to stop.
const boundingAttempt = "find a capability in the bounding set"

// ProbeError says that a boundary does not hold.
type ProbeError struct {
	// Broke are the attempts that succeeded.
	Broke []wire.Attempt
	// Untried are attempts that should be in the report and are not.
	Untried []string
}

func (e *ProbeError) Error() string {
	var lines []string
	for _, a := range e.Broke {
		lines = append(lines, fmt.Sprintf("%s: %s", a.Name, a.Detail))
	}
	for _, name := range e.Untried {
		lines = append(lines, name+": not tried")
	}
	return "the boundary does not hold: " + strings.Join(lines, "; ")
}

// Verdict judges what a probe with this task reported: nil if nothing succeeded
// that is not known of the engine, and nothing is missing, else a *ProbeError.
func Verdict(task wire.Probe, report wire.ProbeReport) error {
	var e ProbeError
	tried := make(map[string]bool)
	for _, a := range report.Attempts {
		tried[a.Name] = true
		if a.Broke && a.Known == "" {
			e.Broke = append(e.Broke, a)
		}
	}
	for _, name := range slices.Concat(required(), expected(task)) {
		if name = plain(name); !tried[name] {
			e.Untried = append(e.Untried, name)
		}
	}
	if e.Broke == nil && e.Untried == nil {
		return nil
	}
	return &e
}

// expected are the attempts that the task itself asks for.
func expected(task wire.Probe) []string {
	var names []string
	for _, c := range task.Canaries {
		names = append(names, "read the canary "+c.Path)
	}
	for _, d := range task.WriteTo {
		names = append(names, "write into "+d)
	}
	for _, a := range task.Dial {
		names = append(names, "connect to "+a)
	}
	for _, v := range task.Env {
		names = append(names, "find the variable "+v)
	}
	return names
}
