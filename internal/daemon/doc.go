// Package daemon builds everything, starts it in order and stops it in
// reverse. It is the only package that knows all the others, and it is what the
// control socket speaks to: Daemon is a control.Host.
//
// Open reads the configuration, takes the store and makes the parts; nothing
// runs yet and every question can be answered. Run serves until its context
// ends. A terminal without a daemon opens one in its own process and runs it
// for as long as the conversation lasts: there is one way, not two.
//
// Before the first native run a probe tries to break out of the real boundary
// (I1). Until it has failed to, and whenever it did not, host mode is off, with
// the finding in doctor, the log, the audit and the owner's chat. Before every
// run the configuration is compared with what was read at start (I6).
package daemon
