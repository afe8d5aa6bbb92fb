// Package observe says in numbers and in spans how the daemon is: metrics in the text
// format of Prometheus, traces as OTLP over HTTP, and health for those who ask by HTTP.
//
// Everything that happens is in the audit log, so both are made of its entries, as they
// are committed; no stage knows of them, and what is off costs nothing. Numbers carry no
// word of a person: their labels are names of groups and channels of the configuration and
// words of closed lists, and how many different ones there can be is bounded.
//
// Trust: whoever reaches the listener may read how much goes on, and nothing of what.
// It is on loopback or a socket of the owner's, answers to GET, and to no name but its own.
package observe
