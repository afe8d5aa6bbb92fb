package boundary

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"nanoclaw/internal/wire"
)

// required are the attempts that every report has to hold.
func required() []string {
	return []string{
		"write into /usr", "write to the init's program", "use an inherited descriptor",
		"send a datagram to the internet", "listen on loopback", "connect to /private/var/run/mDNSResponder",
		"see other processes", "open a program through LaunchServices", "run a script through Apple Events",
		"read the keychain", "read the pasteboard", "run a set-uid program", "apply a weaker profile", "make a set-uid file",
	}
}

// Probe starts a session of an engine as spec asks for, lets the init's break-out
// attempts run in it as an ordinary process of the agent, and ends it. For the
// rest see the one for Linux.
func Probe(ctx context.Context, e Engine, spec Spec, task wire.Probe) (wire.ProbeReport, error) {
	var report wire.ProbeReport
	spec.Serve = nil
	s, err := e.Start(ctx, spec)
	if err != nil {
		return report, err
	}
	defer s.Close()
	env := []string{"NANOCLAW_PROBE_OUTSIDE=" + strconv.Itoa(os.Getpid()), "TMPDIR=/tmp"}
	p, err := s.Exec(ctx, wire.Exec{Env: env, Dir: "/", Probe: &task})
	if err != nil {
		return report, fmt.Errorf("start the probe: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if report, err = p.report(ctx); err != nil {
		return report, fmt.Errorf("the probe gave no report: %w", err)
	}
	report.Layers, report.Missing = s.Layers(), s.Missing()
	return report, nil
}
