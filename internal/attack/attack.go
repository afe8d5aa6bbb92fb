// Package attack holds the catalogue of known ways out of a boundary, and tries
// them.
//
// Each line of the catalogue is data: what it tries, what must be seen inside,
// what the host looks at afterwards, and what the audit must have heard of it.
// Run plants what the attacks look for (files, a process, sockets, memory, keys),
// starts sessions of one engine with the shape of a given grant, lets the other
// half of this package, inside, attack from within, and then looks whether the
// host is as it was. A line that no boundary can stop says so and why, and it is
// asserted that it is not stopped: what is documented stays true.
//
// It promises that a run is safe: nothing is attacked but what was planted for
// it, in a folder that is removed afterwards, and no byte goes to a network. That
// the attacks would work without a boundary is shown by the tests of this
// package, in namespaces made for that (attacktest). Owners never run that part.
//
// What it leaves to others: the engines, to package boundary; what a grant is,
// to package grant. Lines that are about code of the host and not about a
// boundary name the test that holds them; a test of this package looks whether
// it exists.
//
// Trust: the results come from inside, where they could be forged. That is no
// matter for attacks that we wrote ourselves; what an attacker would hide, the
// host looks at itself.
package attack

import (
	"context"
	"log/slog"
	"slices"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/grant"
)

// Engine is what the attacks need of a boundary's engine.
type Engine interface {
	Name() string
	Start(ctx context.Context, spec boundary.Spec) (*boundary.Session, error)
}

// Options make a run of the catalogue.
type Options struct {
	Engine Engine
	// Program is the path of a program that hands what follows inside.Verb to
	// inside.Main. It is lent to the sessions, read-only.
	Program string
	// Grant gives the sessions their shape: the parts of the system, tools and
	// environment. Folders and hosts of the owner in it are replaced by planted ones.
	Grant grant.Grant
	// UID is the kernel's uid of the sessions, as in boundary.Spec.
	UID           int
	LandlockFloor int
	// Lines are those to try; empty means all.
	Lines []string
	// Log takes what the sessions tell. nil is silence.
	Log *slog.Logger

	// rootless says that the sessions have no root of their own. Only tests of this
	// package have such an engine.
	rootless bool
}

// State is what came of one line.
type State string

// The states of a line.
const (
	// Held: the attack failed, the host is unchanged, the audit heard of it.
	Held State = "held"
	// Cleared: a file was left that would run later, and it was found when the
	// session was over: moved away, or told to the owner.
	Cleared State = "found after"
	// Open: the attack succeeded, as the catalogue says of it.
	Open State = "open"
	// Broke: the attack succeeded and should not have, or left a trace.
	Broke State = "BROKE"
	// Shut: the attack failed though the catalogue says that nothing stops it.
	Shut State = "SHUT"
	// Missing: the attack was not tried, or not to its end.
	Missing State = "NOT TRIED"
	// Elsewhere: a test of the host's code holds the line.
	Elsewhere State = "test"
	// Worked: the attack succeeded in the control arm. Left: it was not made there,
	// for a reason.
	Worked State = "works"
	Left   State = "left out"
)

// Good says whether a line came out as the catalogue says.
func (s State) Good() bool {
	return slices.Contains([]State{Held, Cleared, Open, Elsewhere, Worked, Left}, s)
}

// Outcome is what came of one line.
type Outcome struct {
	Line  string `json:"line"`
	State State  `json:"state"`
	// Detail says what broke, or what held.
	Detail string `json:"detail,omitempty"`
}

// Control is the name under which the control arm reports.
const Control = "control"

// Report is what came of one run.
type Report struct {
	Engine string `json:"engine"`
	// User is "root" or "user", for whoever ran the host's side.
	User     string    `json:"user"`
	Outcomes []Outcome `json:"outcomes"`
	// Missing are layers that the sessions did without.
	Missing []string `json:"missing,omitempty"`
}

// Bad gives the lines that did not come out as the catalogue says.
func (r Report) Bad() []Outcome {
	var bad []Outcome
	for _, o := range r.Outcomes {
		if !o.State.Good() {
			bad = append(bad, o)
		}
	}
	return bad
}
