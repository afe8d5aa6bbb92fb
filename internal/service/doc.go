// Package service makes nanoclaw a service of this machine, of systemd or of
// launchd, and takes that back.
//
// A unit is a value, and its text is made of the value alone, so that a person can
// read it before anything is written, and a test can show it to systemd. What
// Install does can be done again, says what it changed, and leaves a record in the
// unit's own first lines of what was there before; Remove undoes that and no more.
//
// Left to others: what runs (internal/daemon), starting host programs
// (internal/hostproc, which has each command line written down), and asking people.
package service
