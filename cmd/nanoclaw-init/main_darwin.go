package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// probeArg makes the program run the break-out attempts; see probe.go.
const probeArg = "probe"

// On macOS the host starts sandbox-exec(1), which applies the session's profile
// and becomes this program. So everything here is confined from its first line,
// as confined as the agent; there is nothing to build and nothing to give up.
//
// There is no PID namespace either. The init is an ordinary process that every
// process of the session may signal, and its end ends the session.
func main() {
	if len(os.Args) > 1 && os.Args[1] == probeArg {
		os.Exit(probeMain())
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "nanoclaw-init:", err)
		os.Exit(1) // nothing of the agent was started
	}
}

// run is the life of the init. It returns when the session is over.
func run() error {
	if err := confined(os.Getppid()); err != nil {
		return err
	}
	if err := keepGiven(); err != nil {
		return err
	}
	spec, err := wire.Begun(os.Stdin)
	if err != nil {
		return err
	}
	s, err := newServer(spec)
	if err != nil {
		return err
	}
	go endOnTerm()
	s.mux.SetToken(spec.Token)
	ready, listeners, failed := takeUp(spec)
	if failed != nil {
		return giveUp(s.control, failed)
	}
	s.send(wire.Message{Ready: ready})
	s.serve(listeners)
	return nil
}

// confined makes sure that the profile is in force: the host has our uid, so that
// nothing but the profile can forbid a signal to it.
func confined(host int) error {
	if host <= 1 {
		return errors.New("the host is gone")
	}
	if err := unix.Kill(host, 0); err != unix.EPERM {
		return fmt.Errorf("the profile is not in force: a signal to the host is answered with %v", err)
	}
	return nil
}

// exit ends the session. Inside the sandbox a signal to all reaches all of the
// session and nobody else, orphans with sessions of their own included: the
// profile permits it to the same sandbox alone. It may only be called after
// confined has felt that.
func exit(code int) {
	for range 5 {
		if unix.Kill(-1, unix.SIGKILL) != nil {
			break // nobody is left
		}
		time.Sleep(time.Millisecond) // one may have forked meanwhile
	}
	os.Exit(code)
}

// endOnTerm ends the session when the host asks for it. A process inside can do
// the same, to itself.
func endOnTerm() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	<-term
	exit(0)
}

// firstFD is the first inherited descriptor.
const firstFD = 3

// keepGiven closes every descriptor but those that the host gave, and keeps these
// from the agent.
func keepGiven() error {
	given := 0
	if len(os.Args) > 1 {
		n, err := strconv.Atoi(os.Args[1])
		if err != nil || n < 0 {
			return fmt.Errorf("the argument %q is not a number of descriptors", os.Args[1])
		}
		given = n
	}
	for fd := firstFD; fd < firstFD+given; fd++ {
		unix.CloseOnExec(fd)
	}
	unix.CloseOnExec(2)
	// The host closes its own on exec and sandbox-exec opens the profile alone, so
	// there are no others; the runtime's are closed on exec already.
	for _, fd := range openFDs() {
		if fd >= firstFD+given {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// takeUp makes what the session needs. Either all of it worked, or failed names
// what did not.
func takeUp(spec *wire.Spec) (*wire.Ready, []listener, *wire.Failed) {
	start := time.Now()
	fail := func(step string, err error) (*wire.Ready, []listener, *wire.Failed) {
		failed := &wire.Failed{Step: step, Err: err.Error()}
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			failed.Errno = int(errno)
		}
		return nil, nil, failed
	}
	var listeners []listener
	for _, e := range spec.Endpoints {
		f := os.NewFile(uintptr(e.FD), "listener")
		if f == nil || e.FD < firstFD {
			return fail("listeners", fmt.Errorf("the endpoint %s has no listener", e.Kind))
		}
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return fail("listeners", err)
		}
		listeners = append(listeners, listener{l, e.Kind})
	}
	for _, l := range spec.Rlimits {
		if err := unix.Setrlimit(l.Resource, &unix.Rlimit{Cur: l.Value, Max: l.Value}); err != nil {
			return fail("limits", fmt.Errorf("limit %d to %d: %w", l.Resource, l.Value, err))
		}
	}
	return &wire.Ready{Layers: []string{
		"seatbelt: the profile is in force",
		"rlimits: " + strconv.Itoa(len(spec.Rlimits)),
	}, Took: time.Since(start)}, listeners, nil
}
