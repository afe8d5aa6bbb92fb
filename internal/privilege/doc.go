// Package privilege answers one question: may this process act for others, as an
// installation does in which each group has a uid of its own? Asking for uid 0 is
// not the same: the service runs as a system user with a few capabilities, and
// root in a container may lack them.
//
// It promises to look and to change nothing. What is done with the answer is for
// its callers.
package privilege
