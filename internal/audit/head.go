package audit

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// CheckHead checks the end of a store's log in a time that hardly grows with it: the
// signature of the checkpoint, its root against the stored hashes, and the newest
// sequenced row against its leaf. It says nothing of older rows; Verify does. It gives
// how many entries the checkpoint covers. The error is a *BadError if the end is not
// what was signed.
func CheckHead(ctx context.Context, src Source, v note.Verifier) (int64, error) {
	head, err := src.Head(ctx)
	if err != nil || head.Size == 0 && len(head.Checkpoint) == 0 {
		return 0, err
	}
	bad := func(leaf int64, why string, args ...any) error {
		return &BadError{Leaf: leaf, Why: fmt.Sprintf(why, args...)}
	}
	want, err := OpenCheckpoint(head.Checkpoint, v)
	switch {
	case err != nil:
		return 0, bad(-1, "%v", err)
	case want.Size != head.Size:
		return 0, bad(-1, "the store counts %d entries, the checkpoint %d", head.Size, want.Size)
	case head.Size == 0:
		return 0, nil
	}
	read := func(indexes []int64) ([]tlog.Hash, error) { return src.ReadHashes(ctx, indexes) }
	t := newTree()
	if err := t.load(head.Size, read); err != nil {
		return 0, err
	}
	if t.root() != want.Root {
		return 0, bad(-1, "the stored hashes are not those that the checkpoint signs")
	}
	last := head.Size - 1
	leaf, err := read([]int64{tlog.StoredHashIndex(0, last)})
	if err != nil {
		return 0, err
	}
	found := false
	for r, err := range src.Rows(ctx, Filter{After: head.LastID - 1, Limit: 1}) {
		if err != nil {
			return 0, err
		}
		if found = r.ID == head.LastID && r.Leaf == last; found && r.leafHash() != leaf[0] {
			return 0, &BadError{Entry: r.ID, Leaf: last, Why: "it is not what was sequenced"}
		}
		if err := new(hasher).checkPayload(&r); found && err != nil {
			return 0, &BadError{Entry: r.ID, Leaf: last, Why: err.Error()}
		}
	}
	if !found {
		return 0, bad(last, "the newest entry is missing")
	}
	return head.Size, nil
}
