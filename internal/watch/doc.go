// Package watch judges what an agent wants to do with its own tools, before it
// does it, and says what of it may be written down.
//
// Judge is pure but for its counting: a Policy (rules, permission mode, fuses)
// and a Call go in, a Verdict with its reason comes out. Rules are written as in
// Claude Code's own settings: "WebFetch", "Bash(git push*)", "mcp__github". The
// strictest that matches decides: deny, then ask, then allow. A Masker takes
// credentials out of arguments and bounds them, for the audit and for people.
//
// Trust: none of this is a boundary. A call is what the agent's program says it
// is about to do; a command can do what no look at its text finds, and a program
// that was taken over need not ask at all. What an agent can reach is decided by
// its grant and enforced around it. So a look at the text of a call may only
// make the answer stricter: an allow rule cannot be about text, and what cannot
// be understood, or is too long to be looked at, counts as matched.
//
// Every input is bounded, and work is linear in it. Nothing here does I/O.
package watch
