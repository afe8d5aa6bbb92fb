//go:build cgo

package main

// lowerPrivileges does nothing in a program with cgo, whose threads Go cannot
// reach all: the race detector's test binaries. What is shipped has no cgo.
func lowerPrivileges(bool) (kept []string, err error) { return nil, nil }
