// Package mcpserver speaks with the owner's MCP servers on behalf of agents, and
// knows how they are.
//
// It exists so that a server's secrets need not be where an agent is, and so
// that an agent's first answer need not wait for a server that is dead.
//
//   - A Relay passes JSON-RPC messages between one session's agent and one
//     program that runs in a boundary of its own. It starts the program when it is
//     first needed, and again when it ended, each time later than the last.
//   - Inspect asks a server for its tools, over any transport, and gives them with
//     a hash of each definition. A Book keeps these, so that a change is noticed.
//   - A Watch looks at servers now and then, in the background. What it found is
//     known at once to whoever asks; nobody waits for it.
//
// # Trust
//
// Both sides of a Relay are taken as hostile to each other and to the host. The
// agent's identity is the session for which the Relay was made, and nothing in a
// message; which tools may be called is checked here for each call. What a
// server writes is bounded and passed on only as the answer to a question: it
// cannot ask the agent or its model for anything by itself.
//
// # What is left to others
//
// Where a program runs and what it may touch (boundary, grant), how a server is
// reached over HTTP (egress), what is told to whom (daemon).
package mcpserver
