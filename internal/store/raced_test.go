//go:build race

package store

// raced says that the race detector looks on, with which everything takes six times as
// long.
const raced = true
