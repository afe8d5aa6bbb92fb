// Package approval asks the owner before something is done, and holds it back
// until there is an answer.
//
// An Effect is everything that would happen, in one canonical form: it is shown
// whole or not asked about at all, and its hash binds question, answer and audit
// to each other. A question has a single-use code and an end; silence is no. The
// asker waits in Desk.Ask, and whoever the owner speaks through gives the answer
// to Desk.Answer.
//
// Trust: the effect is made of what an agent said, so its text is shown in a way
// that it cannot leave its place in the question, nor hide in it. Only somebody
// whom a channel proved to be the owner may answer: a code says which question is
// meant and opens nothing by itself. Still five wrong ones in a row end every
// open question with no, and close the desk for a while. What cannot be recorded
// or told is refused.
//
// It says nothing about what happens after the answer. What runs inside a
// boundary can be swapped there after it was shown; the boundary decides what
// that can do. Questions live in memory: they end with the process, like the
// runs that wait for them.
package approval
