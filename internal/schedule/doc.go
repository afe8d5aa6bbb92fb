// Package schedule says when a task is due: by a cron expression, at an interval, or
// once, each in a zone of its own. Everything here is a function of its arguments. It
// reads no clock, so what it says of a moment can be tried.
//
// What it promises where the clock is changed: a time of the day ("30 2 * * *")
// comes once on each day that has the date. One that the clock jumps over comes as
// much later as the clock jumped, and one that comes twice counts the first time.
// What names no hour ("*/10 * * * *"), and an interval, follow the time that passes.
//
// The cron expression itself is read by a library, on a wall clock that never
// changes; zones are ours alone.
package schedule
