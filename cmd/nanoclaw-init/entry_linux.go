//go:build amd64 || arm64

package main

// entry is where the program begins if it is linked with -ldflags=-E=main.entry:
// it empties the capability bounding set and sets no_new_privs, and goes on to
// the Go runtime, once the program's own pages are there.
//
// The first two belong to threads. Here there is one, and all later ones inherit from
// it; once the runtime has made more, each of the forty system calls has to be
// made by all of them together, which takes longer than the whole rest of a
// start. Without the flag that is what happens: confine.Drop looks, and does
// what is not done.
//
// The pages would be fetched one by one as they are touched. One system call for
// all (MADV_POPULATE_READ and _WRITE in madvise(2), Linux 5.14) costs a tenth of
// that or less, on virtual machines above all.
//
//lint:ignore U1000 only the linker refers to it
func entry()
