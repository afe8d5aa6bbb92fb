// The runtime would read cgroup files at start and keep them open to follow the
// limit of processors: descriptors of the host that have no business inside.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

package main

import (
	"fmt"
	"os"
	"path"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/wire"
)

// First arguments that make the program another than process 1 of a session.
const (
	probeArg  = "probe"  // the break-out attempts; see probe_linux.go
	stageArg  = "stage"  // the first of two inits; see stage_linux.go
	nestedArg = "nested" // the second of two inits
	enterArg  = "enter"  // on the way to a program of the agent; see enter_linux.go

	containedArg = string(containMark) + "contained" // process 1 of a container; see contained_linux.go
	agentArg     = "contained"                       // the same, as the agent's uid already
)

// launchMark begins the argv[0] of a program that is to clone itself, and
// containMark the argv[1] of one that is to make a user namespace, see entry.
const (
	launchMark  = '+'
	containMark = '@'
)

func main() {
	runtime.LockOSThread() // for good: see "Threads" above
	if path.Base(os.Args[0]) == confine.RelayName {
		os.Exit(relayMain())
	}
	mode := ""
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	var err error
	switch mode {
	case probeArg:
		os.Exit(probeMain())
	case sweepArg:
		os.Exit(sweepMain(os.Args[2:]))
	case enterArg:
		os.Exit(enterMain())
	case lendArg:
		err = lend(os.Args[2:])
	case stageArg:
		err = stage()
	case containedArg:
		err = contained(os.Args[2:])
	case agentArg:
		err = containedAsAgent()
	case nestedArg:
		err = run(0)
	default:
		err = first()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nanoclaw-init:", err)
		os.Exit(1)
	}
}

// first is the life of an init that is process 1 of namespaces that nanoclaw
// made.
func first() error {
	if err := lead(); err != nil {
		return err
	}
	prefault()
	given, err := descriptors(1)
	if err != nil {
		return err
	}
	return run(given)
}

// lead makes process 1 the leader of a session: of all that it starts, and of
// nothing that it came from. Where an engine started us, it has done so.
func lead() error {
	if os.Getpid() != 1 {
		return fmt.Errorf("this program is started by nanoclaw, as process 1 of a new PID namespace, and linked with -E=main.entry")
	}
	if os.Args[0][0] != launchMark {
		return nil
	}
	if _, err := unix.Setsid(); err != nil {
		return fmt.Errorf("begin a session: %w", err)
	}
	return nil
}

// descriptors reads how many descriptors we were given beyond the standard three.
func descriptors(arg int) (int, error) {
	if len(os.Args) <= arg {
		return 0, nil
	}
	n, err := strconv.Atoi(os.Args[arg])
	if err != nil || n < 0 {
		return 0, fmt.Errorf("the argument %q is not a number of descriptors", os.Args[arg])
	}
	return n, nil
}

// run is the life of the init. It returns when the session is over.
func run(given int) error {
	if err := guard(given); err != nil {
		return err
	}
	end, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, firstFD)
	if err != nil {
		return err
	}
	spec, err := wire.Begun(os.Stdin)
	if err != nil {
		return err
	}
	b := &builder{spec: spec, alone: os.Getpid() == 1}
	var s *server
	failed := b.stand()
	if failed == nil && spec.RestFD != 0 {
		if s, err = newServer(spec); err == nil {
			failed, err = standBy(s.control, b)
		}
	}
	if err != nil {
		return err
	}
	var ready *wire.Ready
	if failed == nil {
		ready, failed = b.confine()
	}
	if s == nil { // only now: what carries streams has threads, which would all have to be confined
		if s, err = newServer(spec); err != nil {
			return err
		}
	}
	if failed != nil {
		return giveUp(s.control, failed)
	}
	if spec.Built == nil {
		unix.Close(end)
	} else {
		go exitAtHangup(end)
	}
	s.mux.SetToken(spec.Token)
	s.send(wire.Message{Ready: ready})
	s.serve(b.listeners)
	return nil
}

// exitAtHangup waits on a thread of its own until nobody can write to the wire any
// more. Where an engine started us, our parent is not the host, whose death is
// then known by this alone; so it is not left to code that does other things too.
func exitAtHangup(fd int) {
	runtime.LockOSThread()
	for {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		if n, err := unix.Poll(fds, -1); n > 0 || err != unix.EINTR {
			os.Exit(0)
		}
	}
}

// guard makes sure, before anything is known, that the init dies with the
// thread that cloned it, that its memory cannot be read, and that it holds no
// descriptor but those it was given.
func guard(given int) error {
	if err := bindToParent(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("become undumpable: %w", err)
	}
	// The kernel named us after the descriptor that we were run from. For ps(1).
	if name, err := unix.BytePtrFromString("nanoclaw-init"); err == nil {
		unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0)
	}
	if err := unix.CloseRange(uint(firstFD+given), ^uint(0), 0); err != nil {
		return fmt.Errorf("close foreign descriptors: %w", err)
	}
	for fd := firstFD; fd < firstFD+given; fd++ {
		unix.CloseOnExec(fd)
	}
	unix.CloseOnExec(2)
	return nil
}

// bindToParent lets the init die with the thread that cloned it. The parent in a
// container is a program of the engine, whose threads come and go: there the end
// of the wire has to do, see exitAtHangup.
func bindToParent() error {
	if len(os.Args) > 1 && (os.Args[1] == containedArg || os.Args[1] == agentArg) {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set the parent death signal: %w", err)
	}
	return nil
}

// firstFD is the first inherited descriptor of a mount.
const firstFD = 3
