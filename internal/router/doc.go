// Package router decides what becomes of a message: which group owns the chat,
// may this sender speak there, is the agent addressed. The decision is a
// Verdict with its reason in words, made by a pure function and stored with the
// message in one transaction, before the network is told that we have it.
//
// Trust: everything in an Inbound but From, Sender.Owner and Sender.Self was
// chosen by a stranger. Those three come from the channel's own connection. A
// refused sender's text is stored, so that the owner can ask what happened, but
// it never enters a prompt. Text that calls nobody is kept as context, bounded.
//
// The order of messages is the order of our rows. No clock decides anything:
// networks repeat, reorder and round their timestamps.
package router
