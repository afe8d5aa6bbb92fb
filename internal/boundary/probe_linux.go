package boundary

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// Probe starts a session of an engine as spec asks for, lets the init's break-out attempts
// run in it as an ordinary process of the agent, and ends it. It plants and
// listens for nothing itself: what the attempts look for is the caller's, see
// PlantCanaries. An error means that there is no report; what a report means
// says Verdict.
func Probe(ctx context.Context, e Engine, spec Spec, task wire.Probe) (wire.ProbeReport, error) {
	var report wire.ProbeReport
	spec.Serve = nil
	env, err := outside()
	if err != nil {
		return report, err
	}
	s, err := e.Start(ctx, spec)
	if err != nil {
		return report, err
	}
	defer s.Close()
	if has(s.Layers(), "landlock") {
		env = append(env, "NANOCLAW_PROBE_LANDLOCK=1")
	}
	apart := KernelOf(ctx, e) == GVisor
	if apart {
		env = append(env, "NANOCLAW_PROBE_APART=1")
	}
	p, err := s.Exec(ctx, wire.Exec{Env: env, Dir: "/", Probe: &task})
	if err != nil {
		return report, fmt.Errorf("start the probe: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if report, err = p.report(ctx); err != nil {
		return report, fmt.Errorf("the probe gave no report: %w", err)
	}
	if apart {
		report.Attempts = append(report.Attempts, threads(descendants(s.tree.PID()), sandboxed), unlooked(report.Attempts))
	} else {
		report.Attempts = append(report.Attempts, threads([]int{s.initPID()}, func(status string) error { return confined(status, e.Name()) }))
	}
	if e.Name() == SRTEngine {
		expectSRT(report.Attempts)
	}
	report.Layers, report.Missing = s.Layers(), s.Missing()
	return report, nil
}

func has(layers []string, word string) bool {
	for _, l := range layers {
		if strings.HasPrefix(l, word) {
			return true
		}
	}
	return false
}

// outside names our own namespaces for the probe, which works in no others but
// those that differ from them.
func outside() ([]string, error) {
	var list []string
	for _, kind := range []string{"user", "mnt", "pid"} {
		link, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return nil, fmt.Errorf("read our namespaces: %w", err)
		}
		list = append(list, kind+"="+link)
	}
	return []string{"NANOCLAW_PROBE_OUTSIDE=" + strings.Join(list, " ")}, nil
}

// initPID is the number of the session's init on this machine. Where another
// program starts the init, that is not the first process.
func (s *Session) initPID() int {
	for _, pid := range descendants(s.tree.PID()) { // the init before what it started
		if nameOf(pid) == "nanoclaw-init" {
			return pid
		}
	}
	return s.tree.PID()
}

// nameOf gives the name of a process (proc_pid_comm(5)), "" if it ended.
func nameOf(pid int) string {
	name, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	return strings.TrimSpace(string(name))
}

// threads reads from the host what the kernel says of every thread of the init, or of
// what stands in its place. The agent can reach all of them if it finds a way into it.
func threads(pids []int, judge func(status string) error) wire.Attempt {
	a := wire.Attempt{Name: threadsAttempt, Broke: true}
	seen := 0
	for _, pid := range pids {
		tasks, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/status")
		if err != nil {
			a.Detail = err.Error()
			return a
		}
		for _, t := range tasks {
			status, err := os.ReadFile(t)
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
				continue // it ended
			}
			if err == nil {
				err = judge(string(status))
			}
			if err != nil {
				a.Detail = filepath.Dir(t) + ": " + err.Error()
				return a
			}
			seen++
		}
	}
	if seen == 0 {
		a.Detail = "the init's threads cannot be read"
		return a
	}
	a.Broke, a.Detail = false, strconv.Itoa(seen)+" threads, all confined"
	return a
}

// unlooked is a probe's success if it did not look at the init's threads from within,
// where nobody else can.
func unlooked(made []wire.Attempt) wire.Attempt {
	const name = "have nobody look at the init's threads"
	if i := slices.IndexFunc(made, func(a wire.Attempt) bool { return a.Name == wire.ThreadsWithin }); i >= 0 {
		return wire.Attempt{Name: name, Detail: "the probe looked"}
	}
	return wire.Attempt{Name: name, Broke: true, Detail: "the probe did not look"}
}

// confined judges one thread by its status (proc_pid_status(5)).
func confined(status, engine string) error {
	want := map[string]string{"NoNewPrivs": "1", "Seccomp": "2"}
	for _, set := range []string{"Eff", "Prm", "Inh", "Bnd", "Amb"} {
		want["Cap"+set] = "0000000000000000"
	}
	if engine == SRTEngine {
		delete(want, "CapBnd") // see srtDifferences
	}
	return wanted(status, want)
}

// wanted fails unless a status has lines with these values.
func wanted(status string, want map[string]string) error {
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if w, ok := want[name]; ok && value != w {
			return fmt.Errorf("%s is %s", name, value)
		}
		delete(want, name)
	}
	for name := range want {
		return fmt.Errorf("the kernel does not say %s", name)
	}
	return nil
}

// required are the attempts that every report has to hold.
func required() []string { return mustTry[:] }
