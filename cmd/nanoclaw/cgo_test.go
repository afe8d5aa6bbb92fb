//go:build cgo

package main

// withCgo says that the threads of this program cannot all be reached.
const withCgo = true
