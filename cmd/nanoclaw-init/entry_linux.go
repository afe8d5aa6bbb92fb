//go:build amd64 || arm64

package main

// entry is where the program begins if it is linked with -ldflags=-E=main.entry:
// it empties the capability bounding set and sets no_new_privs, and goes on to
// the Go runtime.
//
// These belong to threads. Here there is one, and all later ones inherit from
// it; once the runtime has made more, each of the forty system calls has to be
// made by all of them together, which takes longer than the whole rest of a
// start. Without the flag that is what happens: confine.Drop looks, and does
// what is not done.
//
//lint:ignore U1000 only the linker refers to it
func entry()
