// Package agent talks to the program that does the thinking: one turn in, one
// answer out.
//
// It exists so that the runner need not know which agent a group has. An
// Adapter opens a Conversation inside a boundary, a Conversation takes one
// Turn after another, and both adapters here (Claude, Shell) behave alike: text
// is streamed while it is made, the answer is bounded, an interrupt ends the
// turn, a failure is told in words and by class.
//
// # Trust
//
// Everything that a Process writes was written inside the boundary, by a
// program that anyone who can send a message may have talked into anything. No
// line is believed beyond what it costs to believe it: a forged line can end
// the turn early or put other words into the answer, which the agent could have
// done anyhow. Rights are never taken from it. A tool request is judged by the
// host (Options.Tool, Options.MCP) with an identity that the host holds, never
// with one that the request names. Sizes, counts and the work in flight are
// bounded, and what goes beyond ends this conversation and no other.
//
// # What is left to others
//
// Starting the process and keeping it confined (boundary), deciding what it may
// touch (grant), time limits, storing and delivering the answer (runner), and
// making text harmless for a terminal (the channel that owns one).
package agent
