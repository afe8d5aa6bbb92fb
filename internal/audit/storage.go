package audit

import (
	"context"
	"iter"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"nanoclaw/internal/chat"
)

// Source is the stored log as its readers see it.
type Source interface {
	// Head is how far the log goes. It is the zero Head before the first entry.
	Head(ctx context.Context) (Head, error)
	// Rows gives committed rows that match, in the order of their ids.
	Rows(ctx context.Context, f Filter) iter.Seq2[Row, error]
	// ReadHashes gives the stored hashes at these places, numbered as
	// tlog.StoredHashIndex does. A missing one is an error that names it.
	ReadHashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error)
}

// Storage is what the sequencer needs.
type Storage interface {
	Source
	// Append stores a batch in one transaction if the head is still old.
	Append(ctx context.Context, old Head, b Batch) error
}

// Head is the end of the sequenced log.
type Head struct {
	// Size is the number of leaves.
	Size int64
	// LastID is the id of the newest sequenced row.
	LastID int64
	// Checkpoint is the signed note over Size and the root.
	Checkpoint []byte
}

// Batch is what one pass of the sequencer appends.
type Batch struct {
	// IDs are the rows that become the leaves from the old Size on.
	IDs []int64
	// Hashes follow those stored already, without a gap.
	Hashes []tlog.Hash
	// Head is the new one.
	Head Head
}

// Filter chooses rows. Its zero value chooses all.
type Filter struct {
	Group   chat.Group     `json:"group,omitempty"`
	Run     chat.RunID     `json:"run,omitempty"`
	Session chat.SessionID `json:"session,omitempty"`
	Kinds   []Kind         `json:"kinds,omitempty"`
	// Since and Until bound the time of the entry: from Since, before Until.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// After leaves out rows up to this id.
	After int64 `json:"-"`
	// Before leaves out rows from this id on; 0 leaves out none.
	Before int64 `json:"-"`
	// Limit bounds the number of rows; 0 means all.
	Limit int `json:"-"`
	// Newest asks for the newest first.
	Newest bool `json:"-"`
}

// all reports whether the filter leaves out nothing.
func (f Filter) all() bool {
	return f.Group == "" && f.Run == "" && f.Session == "" && len(f.Kinds) == 0 &&
		f.Since.IsZero() && f.Until.IsZero() && f.After == 0 && f.Before == 0 && f.Limit == 0
}

// Match reports whether a row is chosen, apart from Limit.
func (f Filter) Match(r Row) bool {
	return (f.Group == "" || f.Group == r.Group) &&
		(f.Before == 0 || r.ID < f.Before) &&
		(f.Run == "" || f.Run == r.Run) &&
		(f.Session == "" || f.Session == r.Session) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, r.Kind)) &&
		(f.Since.IsZero() || !r.At.Before(f.Since)) &&
		(f.Until.IsZero() || r.At.Before(f.Until)) &&
		(f.After == 0 || r.ID > f.After)
}
