// Package store keeps the host's state in one SQLite file, or in a PostgreSQL
// database, and is the only package that knows SQL. It implements the small interfaces that router, queue,
// outbox, runner and audit declare for themselves.
//
// # The states it holds
//
// Messages that came in, runs, messages that go out and questions have states, and
// come from one to another only by the moves of the table in states.go, which
// docs/state-machine.md explains. What is no move is refused with a *StateError that
// names both states, and by the database itself. A group has at most one live run,
// held by a unique index; the run has one holder, and who is not is refused with a
// *LostError.
//
// # What it promises
//
// What a method returned without error is on the disk: it survives a crash of
// the process and a loss of power (invariant I8; see connect.go for the
// settings). A method is one transaction; it changes everything it says or
// nothing, and its audit entries are in the same transaction. The order of
// messages is the order of row ids, never of a clock. One process holds the
// store at a time; others may read it with OpenReader. All of it holds on both
// engines, which is what TestOnPostgres tries; dialect.go says how one text serves
// both.
//
// It leaves to others when to retry, whom to tell, and what anything means.
//
// Trust: text in it comes from anybody who can write a message and from agents;
// it is only ever a bound parameter. The file is the owner's (0600, in a folder
// that is in no grant); who can write it can change state, and package audit
// says what of that can be proven.
package store
