// Package doctor says what this machine can enforce, what is missing, and what
// the owner can do about it, in words that name the command to type.
//
// Examine is a function of its input: it reads files through an fs.FS and asks
// what its caller passed in, so every machine that we do not have can be a test.
// It decides nothing. Whether host mode is on is decided by the probe alone,
// which is run by others and only told here; where a file says that something
// cannot work and the probe held, the probe is right.
package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/hostproc"
	"nanoclaw/internal/wire"
)

// State says how good or bad a finding is.
type State string

// The states.
const (
	OK   State = "ok"   // as it should be
	Note State = "note" // worth knowing, nothing to do
	Warn State = "warn" // works, and the owner could make it better
	Fail State = "fail" // host mode, or all of nanoclaw, does not work as configured because of it
)

// Check is one finding.
type Check struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"`
	// Fix is what the owner can do: text to paste where there is such text.
	Fix string `json:"fix,omitempty"`
}

// Report is what was found, the machine first, then the installation.
type Report struct {
	Checks []Check `json:"checks"`
}

// Input is all that Examine looks at.
type Input struct {
	// System is runtime.GOOS.
	System string
	// Root is the file system of the machine from "/": os.DirFS("/").
	Root fs.FS
	// UID is that of the daemon.
	UID int
	// Program is the path of nanoclaw itself.
	Program string
	// LandlockABI is what the kernel answers: see LandlockABI.
	LandlockABI int
	// Probe is what became of the probe, nil if it was not run.
	Probe *Probe
	// Tried are the engines of this version, each with what came of trying it.
	Tried []Engine
	// Engines looks for further programs that could enforce a grant: hostproc.Look.
	Engines func(context.Context) []hostproc.Found

	// Paths are the places of this installation.
	Paths config.Paths
	// Config is the owner's file; nil if ConfigError says why it is not used.
	Config      *config.Config
	ConfigError error
	// Grant is what main's agent gets, nil if that is refused.
	Grant *grant.Grant
	// SearchPath is the owner's PATH, Home the owner's home folder.
	SearchPath, Home string
	// Claude is the Claude Code program that would be used, "" if there is none.
	Claude string
	// TriedClaude is the version of Claude Code that our tests talk to:
	// agent.ClaudeVersion.
	TriedClaude string
	// Model says in words where the model is and where the credential comes
	// from, without the credential; "" if there is none.
	Model string
	// Providers are the named ones of the configuration.
	Providers []Provider
}

// Provider is a named provider of models; Model is as that of Input, "no model" for
// none.
type Provider struct{ Name, Model string }

// Probe is what became of the probe.
type Probe struct {
	Report wire.ProbeReport
	// Err is why it could not be run at all, which also means that the boundary
	// cannot be built here.
	Err error
	// Layers are in force, Missing are layers that this kernel does not have.
	Layers, Missing []string
}

// Engine is one way to build boundaries, and what came of trying it.
type Engine struct {
	Name string
	// Kernel is that of its sessions, if it is not this machine's.
	Kernel string
	// Used says that sessions are built with it; Weaker that it stops less than
	// others, and is never chosen by itself.
	Used, Weaker bool
	// Needed says that groups cannot run without it: that it does not hold is a fault.
	Needed bool
	// Asked says that it was tried. Off is why it does not hold then, "" if it does.
	Asked    bool
	Off, Fix string
	Attempts int
	Missing  []string
}

// broke lists the attempts that succeeded, and are not known to under the engine.
func (p *Probe) broke() []wire.Attempt {
	var out []wire.Attempt
	for _, a := range p.Report.Attempts {
		if a.Broke && a.Known == "" {
			out = append(out, a)
		}
	}
	return out
}

// held says that the probe was run, tried something, and could not break out.
func (in Input) held() bool {
	return in.Probe != nil && in.Probe.Err == nil && len(in.Probe.Report.Attempts) > 0 && len(in.Probe.broke()) == 0
}

// Examine looks at everything. Cancelling ctx cuts short only the search for
// engines, which starts programs.
func Examine(ctx context.Context, in Input) Report {
	var checks []Check
	switch in.System {
	case "linux":
		checks = append(checks, in.machine()...)
	case "darwin":
		checks = append(checks, in.mac()...)
	default:
		checks = append(checks, Check{"system", Fail,
			in.System + " has no boundary in this version, so no agent can run on it", "run nanoclaw on Linux"})
	}
	checks = append(checks, in.probe())
	for _, e := range in.Tried {
		checks = append(checks, e.check())
	}
	if in.Engines != nil {
		checks = append(checks, in.engines(in.Engines(ctx))...)
	}
	checks = append(checks, in.configuration()...)
	checks = append(checks, in.exposed()...)
	checks = append(checks, in.agent()...)
	if in.Grant != nil {
		checks = append(checks, in.programs()...)
	}
	return Report{checks}
}

// probe tells what the attempts to break out gave.
func (in Input) probe() Check {
	const name = "probe"
	switch p := in.Probe; {
	case p == nil:
		return Check{Name: name, State: Note, Detail: "not run now; it runs before the first agent of host mode, and host mode is off unless it holds"}
	case p.Err != nil:
		return Check{name, Fail, "the boundary cannot be built, so host mode is off: " + p.Err.Error(),
			"mend what the checks above name; nothing runs without the boundary"}
	case len(p.Report.Attempts) == 0:
		return Check{name, Fail, "the probe tried nothing, which proves nothing: host mode is off", "this is a mistake in nanoclaw: please report it"}
	case len(p.broke()) > 0:
		var lines []string
		for _, a := range p.broke() {
			lines = append(lines, strings.TrimSuffix(a.Name+": "+a.Detail, ": "))
		}
		return Check{name, Fail, "something got out of the boundary, so host mode is off:\n" + strings.Join(lines, "\n"),
			"do not run agents here; please report this with the output of nanoclaw doctor --json"}
	}
	detail := fmt.Sprintf("%d attempts to break out, none got through; %s", len(in.Probe.Report.Attempts), strings.Join(in.Probe.Layers, ", "))
	if len(in.Probe.Missing) > 0 && in.System == "darwin" {
		return Check{name, Note, detail + "; not on macOS: " + strings.Join(in.Probe.Missing, ", "), ""}
	}
	if slices.ContainsFunc(in.Probe.Report.Attempts, func(a wire.Attempt) bool { return a.Known != "" }) {
		return Check{name, Warn, detail + "; this engine stops less than others: " + strings.Join(in.Probe.Missing, ", "),
			`set boundary.engine to "auto", unless you need this one`}
	}
	if len(in.Probe.Missing) > 0 {
		return Check{name, Warn, detail + "; missing: " + strings.Join(in.Probe.Missing, ", "), "a newer kernel has the missing layers; the others hold without them"}
	}
	return Check{Name: name, State: OK, Detail: detail}
}

// check tells what came of trying an engine. That none holds is the probe's to
// say: an engine that is not used is missed by nobody.
func (e Engine) check() Check {
	c := Check{Name: "engine " + e.Name, State: Note}
	switch {
	case !e.Asked:
		c.Detail = "not tried now"
	case e.Off != "":
		c.Detail, c.Fix = "does not hold: "+e.Off, e.Fix
		if e.Needed {
			c.State, c.Detail = Fail, "groups in container mode need an engine; "+c.Detail
		}
	default:
		c.Detail = fmt.Sprintf("holds against %d attempts to break out", e.Attempts)
		if e.Used {
			c.State = OK
		}
	}
	if e.Used {
		c.Detail = "in use; " + c.Detail
	}
	if e.Weaker {
		c.Detail += "; stops less than the others, and is used only by its name"
	}
	if len(e.Missing) > 0 {
		c.Detail += "; missing: " + strings.Join(e.Missing, ", ")
	}
	return c
}

// engines tells of programs that could enforce a grant and were not tried: none of
// them is missed.
func (in Input) engines(found []hostproc.Found) []Check {
	var checks []Check
	for _, f := range found {
		if slices.ContainsFunc(in.Tried, func(e Engine) bool { return e.Name == string(f.Program) }) {
			continue
		}
		c := Check{Name: string(f.Program), State: Note, Detail: "not installed, and nothing needs it"}
		switch {
		case f.Problem != "":
			c.Detail = f.Problem
		case f.Path != "":
			c.Detail = fmt.Sprintf("%s (%s); nothing uses it here", f.Version, f.Path)
		}
		checks = append(checks, c)
	}
	return checks
}
