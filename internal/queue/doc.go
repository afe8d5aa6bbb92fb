// Package queue gives each group one run at a time, and all groups together no
// more than a ceiling. A job is what waits of one group, as far as its senders
// have the same rights; the rows in the store are the queue, so a crash forgets
// nothing, and this package holds in memory only which groups are being served.
//
// The group that was served longest ago goes first, and of those that never were the
// one whose message waited longest. So none starves another, however much of what
// it wrote waits. What goes on too long is bounded elsewhere: a run by its time, and
// while others wait (Crowded) by how much may join it. What one run takes up is
// bounded here, and a message that was cut off with others before gets its last
// attempt alone.
//
// Run is the loop; pass is one look at the store, which is what tests call. A
// pass happens when a message arrives, when a run ends, when a hold is lifted,
// and when a message that was held until a time may be taken up: nothing polls.
package queue
