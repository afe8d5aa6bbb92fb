// Package outbox delivers what is to be said. A message is a row with an
// idempotency key before the first attempt; it is delivered, tried again with
// growing pauses, or given up loudly. Messages of one chat stay in order: a
// later one waits for an earlier one.
//
// A channel that says chat.ErrNobody has nobody listening (a terminal that was
// closed). The message is held, which costs no attempt, until Attached.
package outbox
