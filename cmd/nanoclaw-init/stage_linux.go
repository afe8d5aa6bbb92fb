package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/wire"
)

// Some sandboxes come as programs that build their own boundary within whatever
// they find, and then run a command. For them there are two inits. The first is
// process 1 of our namespaces: it builds the root that the grant describes, gives
// up its privileges, and becomes the sandbox's program, which therefore sees
// nothing that the grant does not have, and whose end is the end of all. The
// command that the sandbox runs is the second init, which finds the wire on its
// standard input and output as they were.

// stage is the first of two inits. Its argument is the number of descriptors
// that it was given: the sources of the mounts, and last its task.
func stage() error {
	if err := lead(); err != nil {
		return err
	}
	given, err := descriptors(2)
	if err != nil || given < 1 {
		return errors.Join(errors.New("a stage needs its task"), err)
	}
	if err := guard(given); err != nil {
		return err
	}
	var task wire.Stage
	f := os.NewFile(uintptr(firstFD+given-1), "task")
	if err := json.NewDecoder(f).Decode(&task); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	f.Close()
	if len(task.Argv) == 0 || task.Spec.Version != wire.Version {
		return errors.New("the task is of another version")
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"inotify", func() error { // while the machine's /proc is there; it counts for all within
			if _, err := confine.Watches(); err != nil {
				fmt.Fprintln(os.Stderr, "nanoclaw-init: no limit on inotify:", err)
			}
			return nil
		}},
		{"root", func() error {
			root, err := confine.NewRoot(task.Spec)
			if err != nil {
				return err
			}
			return root.Enter()
		}},
		{"loopback", confine.LoopbackUp},
		{"hostname", func() error { return unix.Sethostname([]byte(task.Spec.Hostname)) }},
		{"keyring", confine.JoinKeyring},
		{"limits", func() error { return confine.Rlimits(task.Spec.Rlimits) }},
		{"privileges", confine.Drop},
	} {
		if skipped(step.name) {
			continue
		}
		if err := step.do(); err != nil {
			return complain(failure(step.name, err))
		}
	}
	return become(task)
}

// complain tells the host of a step that failed, on the wire that the second
// init would have. What waits on it for that one comes first.
func complain(failed *wire.Failed) error {
	if _, err := wire.Begun(os.Stdin); err != nil {
		return err
	}
	_, control, err := connect()
	if err != nil {
		return err
	}
	return giveUp(control, failed)
}

// become runs the sandbox's program in our place, so that it is process 1. The
// kernel keeps the parent death signal over an exec.
func become(task wire.Stage) error {
	if err := os.Chdir(task.Dir); err != nil {
		return err
	}
	unix.CloseRange(firstFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	// Our standard error, which only this program was not to pass on.
	if _, err := unix.FcntlInt(2, unix.F_SETFD, 0); err != nil {
		return err
	}
	signal.Reset()
	return fmt.Errorf("run %s: %w", task.Argv[0], unix.Exec(task.Argv[0], task.Argv, task.Env))
}

// relayMain stands in for the relays by which srt leads to its own proxy: one at
// each end of a Unix socket. A session has no use for that proxy: its only ways
// out are the listeners of the second init, one of which has the relay's port.
// srt waits for the socket at its end to exist; the other end gives up at once.
func relayMain() int {
	for _, arg := range os.Args[1:] {
		listen, ok := strings.CutPrefix(arg, "UNIX-LISTEN:")
		if !ok {
			continue
		}
		path, _, _ := strings.Cut(listen, ",")
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: path}) // and nobody listens
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "nanoclaw-init: relay:", err)
			return 1
		}
		unix.Pause()
		return 0
	}
	return 1
}
