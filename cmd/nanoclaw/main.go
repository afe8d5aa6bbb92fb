// Nanoclaw talks to people in their chats and runs a coding agent for each
// group of them, natively and inside a boundary of the operating system.
//
// This package is flags, terminals and wiring, one file for each family of
// verbs. It promises that a person is told what failed and what to do, and that
// exit codes mean something (exit.go). What a verb does is done by the host
// behind the control socket: a running daemon, or one in this process if none
// runs, reached the same way (host.go).
package main

import "os"

func main() { os.Exit(newApp().run(os.Args[1:])) }
