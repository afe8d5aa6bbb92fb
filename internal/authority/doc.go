// Package authority decides who may do what. Decide is the only answer to that
// question, for every privileged act and from every surface on which somebody
// can ask for one: a chat, a host tool of an agent, the owner's terminal, the
// web.
//
// It is one table and a pure function over it: no I/O, no clock, no state. An act
// is allowed, denied, or held. Held means that the act is not done on this word
// alone: the owner is asked, by package approval. An act, a surface or a role
// that the table does not have is denied.
//
// # Trust
//
// An Actor is made by the surface from what it has proven, never from what was
// said: the uid behind the control socket, the sender that a channel vouches
// for, the group whose wire a call came over (I5). An agent has no role of
// anybody's, also not of the person who wrote to it.
//
// What lastingly grows rights (a role, a mode, a mount, an MCP server, a sender,
// a limit) is never allowed from a chat or a host tool, whoever speaks there:
// whoever takes over the owner's phone must not be able to widen what agents
// may do with one message.
//
// Whether a question may be answered by who asked for it, and whether the thing
// that is done is the one that was shown, is for package approval. What a grant
// holds is for package grant.
package authority
