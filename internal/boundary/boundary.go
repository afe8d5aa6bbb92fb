// Package boundary enforces a grant around a process tree. It is the one place
// that starts processes on behalf of an agent.
//
// # What it promises
//
// Start gives a Session in which nothing is reachable but what the grant names:
// files by a root of its own, the network by having none but streams to the
// host, other processes by namespaces; and on top Landlock, seccomp, rlimits
// and the lack of every privilege. If one part of it cannot be had, Start says
// which, kills what it began, and no process of the agent has run. When a
// Session ends, for whatever reason, every process in it is dead; when this
// process dies, the kernel kills them all.
//
// # How
//
//	Start     resolve every mount to a descriptor, make the wire.Spec
//	          clone nanoclaw-init into new namespaces, the wire on its stdio
//	          hand it the Spec, wait for Ready or Failed
//	Session   Exec, Signal, Resize over the control stream; stdio of processes
//	          and connections of the agent as streams of their own
//
// # Trust
//
// The grant comes from the owner's configuration. Paths in it may lie where
// others can write, so each is looked up once, held by a descriptor, and judged
// by where that descriptor really points. Everything read from the wire is taken
// as hostile: it can end its session and nothing else.
//
// # What it leaves to others
//
// What may be touched: to package grant. What the streams mean: to Spec.Serve.
// The confinement from within: to nanoclaw-init and package confine.
package boundary

import (
	"fmt"
	"io"
	"log/slog"
	"net"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// Inside, the agent is always this user and group.
const (
	insideUID = 1000
	hostname  = "nanoclaw"
)

// Spec asks for one session.
type Spec struct {
	Grant   grant.Grant
	Session chat.SessionID
	// UID is the kernel's uid and gid of the group. 0 means our own, which must
	// not be root's.
	UID int
	// LandlockFloor is the lowest Landlock ABI that is accepted.
	LandlockFloor int
	// Attestation names the record of the probe that this session rests on. It is
	// carried and not looked at.
	Attestation string
	// Terminal says that the session's first process will ask for a terminal. Only
	// engines that cannot make one later look at it.
	Terminal bool
	// Serve answers one stream of kind wire.Proxy, wire.Model or wire.Tools. It
	// runs in a goroutine of its own, the connection is closed after it, and a
	// panic in it ends the session. nil refuses all.
	Serve func(kind wire.Kind, conn net.Conn)
	// Files are made inside beside the usual generated ones, readable and public:
	// the agent has them in full.
	Files []wire.File
	// Log takes what the session tells. nil is silence.
	Log *slog.Logger
}

// Options make a Native.
type Options struct {
	// Init is the nanoclaw-init program for this machine. NewNative reads it, in
	// pieces: a copy of it in our own memory would cost more than all else of a
	// start.
	Init io.ReadSeeker
	// Check judges where a mount really leads: m as the grant has it, and the
	// canonical path of what its source turned out to be. An error refuses the
	// session. nil accepts all.
	Check func(m grant.Mount, canonical string) error

	// Log takes what is told of inits that stand ready and belong to no session.
	// nil is silence.
	Log *slog.Logger

	// Dir is a private folder of ours. The init is kept in it where the kernel
	// refuses to run programs from memory (vm.memfd_noexec = 2); without Dir such
	// a kernel is refused.
	Dir string

	// Protected are names, at any depth, that stay as they are in writable folders
	// of the owner, for engines that can hold that by themselves: see
	// seatbelt.Params.
	Protected []string

	// SRT is where the parts of the engine srt are.
	SRT SRTOptions
	// Container is for the engines that start containers.
	Container ContainerOptions

	// skip leaves out layers, by name. Only tests of this package can set it,
	// and only an init built for these tests obeys.
	skip []string
	// onStart is told of each start before it happens. Only tests set it.
	onStart func(Spec)
}

// StartError says why a session could not be started.
type StartError struct {
	// Step is what failed, in a word or two: "mount", "namespaces", "root".
	Step string
	Err  error
	// Hint says what to do, if we know.
	Hint string
}

func (e *StartError) Error() string {
	s := fmt.Sprintf("the boundary does not stand: %s: %v", e.Step, e.Err)
	if e.Hint != "" {
		s += "\n" + e.Hint
	}
	return s
}

func (e *StartError) Unwrap() error { return e.Err }

// ExecError says why a process could not be started inside.
type ExecError struct {
	Text string
	// NotFound and NotExecutable are a shell's exit codes 127 and 126.
	NotFound, NotExecutable bool
}

func (e *ExecError) Error() string { return e.Text }
