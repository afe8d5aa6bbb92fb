// Package backup writes everything of an installation that matters into one file
// while the daemon runs, and puts it back.
//
// The file is a gzipped tar, so that any machine can look into it. It begins with
// what made it (about.json), holds the folders of the configuration and the data
// under "config" and "data", the store as one consistent copy, and ends with the
// SHA-256 of each file in the form of sha256sum(1). One that was cut off has no
// such end and is not accepted. What can be had again is left out: installed
// programs, canaries, locks, sockets. The key of the stored credentials is left
// out unless it is asked for, as its folder lies apart for that reason.
//
// Trust: in the folders of groups every name is an agent's. They are read with
// package beneath, so that a link leads nowhere and a FIFO holds up nobody, and
// links are kept as links. Restoring makes a new folder with nothing in it but
// what the file says, files before links, and only puts it in place when every sum
// is right. The sums show damage, not malice: whoever can write the file can write
// them too, so a backup is kept as its data would be, or encrypted with age.
//
// It leaves the copy of the store, and what holds of it, to its callers.
package backup
