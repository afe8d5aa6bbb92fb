// Package queue gives each group one run at a time, and all groups together no
// more than a ceiling. A job is what waits of one group, as far as its senders
// have the same rights; the rows in the store are the queue, so a crash forgets
// nothing, and this package holds in memory only which groups are being served.
//
// The group whose message waited longest goes first. A group that just ran
// joins the end by that same rule, so none starves another.
//
// Run is the loop; pass is one look at the store, which is what tests call. A
// pass happens when a message arrives, when a run ends, when a hold is lifted,
// and when a message that was held until a time may be taken up: nothing polls.
package queue
