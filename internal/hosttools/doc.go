// Package hosttools is what an agent may ask of the host: one MCP server for
// each session, with the few tools that the session's grant names.
//
// # Trust
//
// The caller is a program inside a boundary, and whoever can write into its
// chat may have talked it into anything. So nothing in a message says who is
// asking. The Identity is given once, by the host, when it makes the session's
// wire; whatever arrives over that wire is that session's (I5). Package authority
// is asked at each call what that identity may do, and is told nothing else.
// Hooks and tool lists of the agent play no part in it.
//
// A call is parsed strictly, judged without effect, recorded with its verdict,
// and only then done: a call that cannot be recorded is refused. Sizes, calls
// in a time, connections and work in flight are bounded for each session, and
// the refusals of a flood are counted into one record in place of many.
//
// Two ways lead in. Message takes one JSON-RPC message, as Claude Code relays
// them over its own stdio. Serve speaks MCP over HTTP on one stream of the
// wire, for agents that have no such way. Both are stateless: a call needs no
// handshake and leaves nothing behind, so there is no session to take over, to
// confuse or to replay, and after Close nothing is done any more.
//
// What a tool does is the Host's. A new tool is one .go file with its
// arguments and its judgement, one .md file that describes it to the model, and
// one line in the list of tools.
package hosttools
