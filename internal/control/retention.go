package control

import (
	"context"
	"time"
)

// Retainer removes what is over and older than the configuration keeps it. Its
// method works on a host that was opened but does not run.
type Retainer interface {
	// Retain does now what the host does by itself several times a day, and says for
	// each kind of thing what went and what stays.
	Retain(ctx context.Context, r RetainRequest) ([]Retained, error)
}

// RetainRequest asks for the removal.
type RetainRequest struct {
	// Try counts and changes nothing.
	Try bool `json:"try,omitempty"`
}

// Retained is what became of one kind of thing, or would.
type Retained struct {
	// Kind names it, in words.
	Kind string `json:"kind"`
	// Setting is the field of the configuration that bounds it, and Keep its value;
	// "0" is for ever.
	Setting string `json:"setting"`
	Keep    string `json:"keep"`
	// Before is when the youngest that may go ended or was made. It is zero where
	// nothing goes.
	Before time.Time `json:"before,omitzero"`
	// Gone is how many were removed, or would be, and Kept how many stay: those that
	// are younger, and those that are not over.
	Gone int `json:"gone"`
	Kept int `json:"kept"`
}

// Retain removes what is over and too old.
func (c *Client) Retain(ctx context.Context, r RetainRequest) ([]Retained, error) {
	return call[[]Retained](ctx, c, "retention", r)
}
