//go:build linux || darwin

package main

import (
	"errors"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// process is one process that the host asked for.
type process struct {
	id   uint32
	path string
	argv []string
	pid  int
	pty  *pty          // nil without a terminal
	done chan struct{} // closed when the process has been reaped
}

// exec does what one Exec message asks. It opens the process's streams first,
// so that the host has them when it hears that the process runs.
func (s *server) exec(e *wire.Exec) {
	p := &process{id: e.ID, done: make(chan struct{})}
	started := &wire.Started{ID: e.ID}
	if !resolve(p, e, started) {
		s.send(wire.Message{Started: started})
		return
	}
	std, err := s.stdio(e)
	if err != nil {
		s.send(wire.Message{Started: &wire.Started{ID: e.ID, Err: err.Error()}})
		return
	}
	p.pty = std.pty
	attr := &syscall.ProcAttr{
		Dir: e.Dir, Env: e.Env, Files: std.files(),
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: std.pty != nil},
	}
	if attr.Env == nil {
		attr.Env = []string{} // nil would mean our own
	}
	ok := make(chan bool)
	s.work <- func() { ok <- s.onStart(p, attr) }
	running := <-ok
	std.started()
	if !running {
		std.abandon()
		return
	}
	std.carry(p.done)
}

// defaultPath is where programs are looked for if the environment has no PATH.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// resolve finds the program. Where there is none it says why in started and
// gives false.
func resolve(p *process, e *wire.Exec, started *wire.Started) bool {
	if e.Probe != nil {
		p.path, p.argv = ownProgram(), []string{"nanoclaw-init", probeArg}
		return true
	}
	if len(e.Argv) == 0 || e.Argv[0] == "" {
		started.Err, started.NotFound = "there is no command", true
		return false
	}
	var st unix.Stat_t
	if err := unix.Stat(e.Dir, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		started.Err = "the working directory " + e.Dir + " is not there"
		return false
	}
	p.argv = e.Argv
	name := e.Argv[0]
	if strings.Contains(name, "/") {
		p.path = name
		if !path.IsAbs(name) {
			p.path = path.Join(e.Dir, name)
		}
		return judge(p.path, started) == nil
	}
	found := error(unix.ENOENT)
	for _, dir := range strings.Split(pathOf(e.Env), ":") {
		if !path.IsAbs(dir) {
			continue // the working directory is no place to find programs by name
		}
		p.path = path.Join(dir, name)
		err := judge(p.path, &wire.Started{})
		if err == nil {
			return true
		}
		if err != unix.ENOENT {
			found = err
		}
	}
	explain(started, name, found)
	return false
}

// pathOf gives the PATH that the process will have.
func pathOf(env []string) string {
	for _, v := range env {
		if list, ok := strings.CutPrefix(v, "PATH="); ok {
			return list
		}
	}
	return defaultPath
}

// judge says whether file can be run.
func judge(file string, started *wire.Started) error {
	var st unix.Stat_t
	err := unix.Stat(file, &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = unix.EACCES
	default:
		err = unix.Access(file, unix.X_OK)
	}
	if err != nil {
		explain(started, file, err)
	}
	return err
}

// explain says why file cannot be run, and tells a missing program (the shell's
// exit code 127) from one that does not run (126).
func explain(started *wire.Started, file string, err error) {
	missing := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
	if _, statErr := os.Stat(file); missing && statErr == nil {
		started.NotExecutable = true
		started.Err = file + " needs an interpreter that is not there"
		return
	}
	started.NotFound, started.NotExecutable = missing, !missing
	switch {
	case missing:
		started.Err = file + " is not there"
	case errors.Is(err, unix.EAGAIN):
		started.Err = file + ": the session's limit on processes is reached"
	default:
		started.Err = file + ": " + err.Error()
	}
}
