// Package approval asks the owner before something is done, and holds it back
// until there is an answer.
//
// An Effect is everything that would happen, in one canonical form: it is shown
// whole or not asked about at all, and its hash binds question, answer and audit
// to each other. A question has a single-use code and an end; silence is no. Who
// waits for the answer calls Desk.Ask. Desk.Put is for what nobody waits for: that
// question survives the process, and when it ends a handler does what follows,
// again if the process died in the middle. Whoever the owner speaks through gives
// the answer to Desk.Answer.
//
// Trust: the effect is made of what an agent said, so its text is shown in a way
// that it cannot leave its place in the question, nor hide in it. Only somebody
// whose identity a channel proved, and whose role allows it, may answer: a code
// says which question is meant and opens nothing by itself. Rights that last grow
// only by the owner's word in a terminal, or in another chat than the one in which
// they were asked for. Codes are hidden from prompts and taken out of what agents
// say. Still five wrong ones in a row end every open question with no, and close the
// desk for a while. What cannot be recorded or told is refused.
//
// It says nothing about what happens after the answer. What runs inside a
// boundary can be swapped there after it was shown; the boundary decides what
// that can do.
package approval
