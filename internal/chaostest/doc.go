// Package chaostest kills a real nanoclaw, again and again, and looks at what a
// chat network saw of it.
//
// A Network is played in this process and outlives every kill. Its people write
// numbered messages; the host under test is a process of the program built with
// the tag "chaos", with its real store, its native boundary and real shells. It
// is killed at each step that package steps names, then at random, and is met
// with a locked store, a full disk, a frozen process and a network that answers
// late, twice, out of order or never. What the network was given, and nothing
// that the host says of itself, decides whether a message was lost, answered
// twice or answered out of order; at the end the audit log has to verify.
//
// Soak is the long, quiet counterpart: mixed traffic for as long as asked, while
// memory, descriptors, goroutines and disk have to stay flat.
//
// It is for tests alone: nothing that ships imports it.
package chaostest
