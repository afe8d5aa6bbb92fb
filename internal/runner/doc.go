// Package runner takes one job from claimed to ended: decide the grant, write
// it down, start or reuse the boundary, let the agent answer, record how it
// ended. Run reads like that list.
//
// A session is one live boundary with one agent in it. It serves the runs of
// its group while it is warm and its grant is equal to what the next run would
// be granted; otherwise it is ended and a new one begins. Nothing is shared
// between groups.
//
// Trust: everything that comes out of a session is hostile, the agent's answer
// included. Identity is the session the host made (I5): the gateway and the
// host tools are constructed for one session and are told nothing by the inside
// about who it is. A run that cannot be recorded is not started (I9); a grant
// that cannot be enforced is not used (I1).
package runner
