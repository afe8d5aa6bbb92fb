// Command nanoclaw-init is process 1 inside a boundary: the host starts it in
// fresh namespaces, and it finishes the confinement from within, starts the
// agent, carries its bytes, and takes everything down when the wire closes.
//
// Its standard input and output are the wire (package wire), its standard error
// is a pipe that the host reads into its log, and the descriptors from 3 on are
// the sources of the mounts; their number is its only argument. Everything else
// it learns from the wire: nothing of a session is in arguments or environment.
//
// For an engine that is a sandbox itself there are two inits: the first builds
// the root and becomes the sandbox's program, the second finishes the
// confinement within; see stage_linux.go. The second is not process 1, and keeps
// what it starts from signalling it by Landlock; see enter_linux.go.
//
// # Cloned twice
//
// The host starts it with vfork, in none of its namespaces, and says what to
// clone. It clones itself into them and ends: process 1 is the second one, a child
// of the host's like the first (CLONE_PARENT in clone(2)). A Go program could clone
// it there directly, but only with a copy of all its page tables, which takes
// longer than all of this. The two share their memory (CLONE_VM), of which there is
// next to none: all of it happens before the Go runtime, see entry.
//
// # What it promises
//
// Every step of the confinement has worked on every thread before Ready is
// sent, or Failed is sent and nothing was started. After Ready it has no more
// rights than what it starts. It holds the session's token in memory alone, and
// nothing inside can read that memory. When the wire ends it exits, and the
// kernel kills what is left of its PID namespace.
//
// # Threads
//
// Without kernel support for all threads at once, each thread enters a Landlock
// domain of its own, and signals do not pass between sibling domains. So one
// locked thread, the main one, makes every child and sends every signal; other
// goroutines hand it closures.
//
// # What it leaves to others
//
// What may be touched: to the Spec, made on the host. Who may do what: to the
// host's ends of the streams. It links packages wire and confine and nothing
// else of ours.
package main
