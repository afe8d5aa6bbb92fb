//go:build !race

package store

// raced says that the race detector looks on: it does not.
const raced = false
