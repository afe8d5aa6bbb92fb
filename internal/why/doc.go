// Package why tells a run in words, from its audit entries alone: who asked,
// what rule decided, what the grant held, what was touched, what it cost, how it
// ended.
//
// An Account is made of entries in their order, one at a time, and holds a
// bounded part of them: a flood of connections becomes a number. It is the same
// whether the entries come from the store or from a receipt that somebody else
// verifies, so what an owner reads is what can be proven. Words that were erased
// are missing from it, and what it does not understand it leaves out.
//
// It knows no store and asks nobody. What an agent wrote is in it, so whoever
// prints it to a terminal makes it safe first.
package why
