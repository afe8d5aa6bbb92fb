package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// A container engine starts this program as process 1 of a container, as the uid
// whose the group's files are on the host, without any capability, and under our
// system call filter but for what follows here. Before the Go runtime it made a
// user namespace of its own (see entry), in which that one uid is the agent's, as
// it is in every other boundary; what else there is on the machine belongs to
// nobody.

// contained is the life of the init of a container. Its arguments are the uid and
// the gid that it runs as, as the container counts them.
func contained(args []string) error {
	if err := lead(); err != nil {
		return err
	}
	if len(args) < 2 {
		return errors.New("a container needs its ids")
	}
	if unshared < 0 {
		return fmt.Errorf("make a user namespace in the container: %w", unix.Errno(-unshared))
	}
	if err := takeIDs(args[0], args[1]); err != nil {
		return fmt.Errorf("take the agent's uid in the container: %w", err)
	}
	prefault()
	return run(0)
}

// containedAsAgent is the life of the init where the engine's machine shows every
// file as the agent's, so that it can start us as the agent.
func containedAsAgent() error {
	if err := lead(); err != nil {
		return err
	}
	if id := strconv.Itoa(unix.Getuid()); id != agentID {
		return fmt.Errorf("the engine started us as uid %s", id)
	}
	prefault()
	return run(0)
}

// takeIDs maps the agent's uid and gid to those that we run as
// (user_namespaces(7)).
func takeIDs(uid, gid string) error {
	for _, f := range []struct{ name, text string }{
		{"setgroups", "deny"},
		{"gid_map", agentID + " " + gid + " 1\n"},
		{"uid_map", agentID + " " + uid + " 1\n"},
	} {
		if err := put("/proc/self/"+f.name, f.text); err != nil {
			return err
		}
	}
	if id := strconv.Itoa(unix.Getuid()); id != agentID {
		return fmt.Errorf("the uid is %s after all", id)
	}
	return nil
}

// put writes a file with system calls alone: package os would open descriptors for
// itself, which guard takes for foreign ones.
func put(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// agentID is the agent's uid and gid in every boundary.
const agentID = "1000"

// notInImage says that a rule has no path to stand on: the host does not know what
// is in an image. What is a link there, as /bin is into /usr, is judged by where it
// leads.
func notInImage(r wire.PathRule) bool {
	real, err := filepath.EvalSymlinks(r.Path)
	return err != nil || real != r.Path
}

// containedIn says whether the surroundings are a container.
func containedIn(spec *wire.Spec) bool { return spec.Built != nil && spec.Built.Contained != nil }
