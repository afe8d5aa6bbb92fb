// Package wire is the one pipe between the host and the inside of a boundary:
// the messages, the framing and the streams.
//
// # Streams
//
// One duplex pipe, the init's standard input and output, carries many streams.
// The init opens every one of them and says first, in a Header, what it is; the
// host only accepts. Before the first one the host sends the Spec on the bare
// pipe: it lies there when the init begins, which therefore need not carry streams
// before its boundary stands.
//
//	host                                          init (inside the boundary)
//	Begin  ─────────────────────────────────────► Begun  Spec
//	Accept ── control ◄────────────────────────── Open   Exec, Signal ► ◄ Ready, Exited
//	       ── stdio   ◄────────────────────────── Open   one process's stdin and stdout
//	       ── stderr  ◄────────────────────────── Open
//	       ── proxy   ◄────────────────────────── Open   one egress connection each
//	       ── model   ◄────────────────────────── Open
//	       ── tools   ◄────────────────────────── Open
//
// # What it promises
//
// A stream that nobody reads holds up no other stream: each has a window of its
// own (256 KiB), a frame carries at most 64 KiB, and neither side's receiver
// ever waits for a consumer. What one session can make the host hold is bounded
// (see the constants in frame.go and codec.go). The end of a stream is only
// reported as io.EOF if the peer ended it: a session that broke is an error.
// Nothing here measures time to find out whether the peer lives, so a laptop
// may sleep; the peer is gone when its process is, which the pipe reports.
//
// # Trust
//
// The host does not trust what it reads. The init is our program, but the agent
// beside it may find a way into it, and then holds this pipe and the session's
// token. So on the host:
//
//   - link checks each frame against the little that our init ever sends before
//     the multiplexer underneath (hashicorp/yamux) sees a byte of it. That
//     library's goroutines cannot be fenced with recover, so they only ever get
//     frames of a proven form.
//   - Headers and Messages are bounded in bytes, and in what they become in
//     memory, while they are decoded.
//   - A stream is served only after its Header carried the session's token.
//   - A breach, a flood or a panic in code run by Mux.Go ends this session and
//     nothing else.
//
// Who a session belongs to is decided by the pipe the host made for it, never by
// anything read from it: this package names no group and no run.
//
// # What it leaves to others
//
// What the messages mean: to the init and the boundary. Whether a stream is
// served, and with which rights: to the host's packages behind Accept. The wire
// is not encrypted: it never leaves the machine, or travels inside a container
// engine's own connection.
package wire
