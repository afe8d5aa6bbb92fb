package control

import (
	"cmp"
	"context"
	"time"

	"nanoclaw/internal/chat"
)

// Doorkeeper decides who may speak in a group. Its methods work on a host that was
// opened but does not run, except Pair, whose codes lie in memory.
type Doorkeeper interface {
	// People lists who may speak, who was asked about and who was denied, by group.
	People(ctx context.Context) ([]Person, error)
	// PeopleAct decides about somebody in a group, and gives what holds of them now.
	// Removing somebody of whom nothing is known is CodeNotFound.
	PeopleAct(ctx context.Context, r PeopleAct) (Person, error)
	// Pair makes a code with which somebody unknown lets themselves in.
	Pair(ctx context.Context, r PairRequest) (PairingCode, error)
}

// The states of a Person.
const (
	PersonAllowed = "allowed"
	PersonAsked   = "asked" // the owner was asked about them, and has not said yes
	PersonDenied  = "denied"
	PersonUnknown = "unknown"
)

// Person is what somebody is to a group.
type Person struct {
	// Sender is the identity, as CHANNEL:SENDER, Name what they are called.
	Sender string `json:"sender"`
	Name   string `json:"name,omitempty"`
	// Group is empty for the owner, whose role is about all.
	Group chat.Group `json:"group,omitempty"`
	Role  string     `json:"role,omitempty"`
	State string     `json:"state"`
	// Origin is "configuration", or "decision" for what was decided since.
	Origin string    `json:"origin,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// Compare orders people by group and identity.
func (p Person) Compare(q Person) int {
	return cmp.Or(cmp.Compare(p.Group, q.Group), cmp.Compare(p.Sender, q.Sender), cmp.Compare(p.State, q.State))
}

// The acts.
const (
	PersonAllow  = "allow"
	PersonDeny   = "deny"
	PersonRemove = "remove"
)

// PeopleAct is a decision about a sender in a group.
type PeopleAct struct {
	Act    string     `json:"act"`
	Group  chat.Group `json:"group"`
	Sender string     `json:"sender"`
}

// PairRequest asks for a pairing code.
type PairRequest struct {
	Group chat.Group `json:"group"`
}

// PairingCode is good once, in a chat of the group.
type PairingCode struct {
	Group chat.Group `json:"group"`
	Code  string     `json:"code"`
	Until time.Time  `json:"until"`
}

// People lists who may speak.
func (c *Client) People(ctx context.Context) ([]Person, error) {
	return call[[]Person](ctx, c, "people", nothing{})
}

// PeopleAct decides about somebody.
func (c *Client) PeopleAct(ctx context.Context, r PeopleAct) (Person, error) {
	return call[Person](ctx, c, "people/"+r.Act, r)
}

// Pair makes a pairing code.
func (c *Client) Pair(ctx context.Context, r PairRequest) (PairingCode, error) {
	return call[PairingCode](ctx, c, "people/pair", r)
}
