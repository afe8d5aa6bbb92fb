package audit

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the right edge of a growing log: the roots of the largest complete
// subtrees, at most one for each level. It is all that appending needs, so a log of any length
// is built or checked in a few kilobytes. The hashing itself is tlog's.
type tree struct {
	size int64
	edge map[int64]tlog.Hash // by stored hash index
}

func newTree() *tree { return &tree{edge: map[int64]tlog.Hash{}} }

// ReadHashes makes the edge a tlog.HashReader.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, ix := range indexes {
		h, ok := t.edge[ix]
		if !ok {
			return nil, fmt.Errorf("hash %d is not on the edge of a log of %d: this is a fault in nanoclaw", ix, t.size)
		}
		out[i] = h
	}
	return out, nil
}

// append adds a leaf and gives the hashes to store for it, in order.
func (t *tree) append(leaf tlog.Hash) ([]tlog.Hash, error) {
	n := t.size
	hashes, err := tlog.StoredHashesForRecordHash(n, leaf, t)
	if err != nil {
		return nil, err
	}
	// The leaf completes one subtree for each trailing one of n; their left
	// halves are no longer on the edge.
	top := len(hashes) - 1
	for level := range top {
		delete(t.edge, tlog.StoredHashIndex(level, n>>level-1))
	}
	t.edge[tlog.StoredHashIndex(top, n>>top)] = hashes[top]
	t.size++
	return hashes, nil
}

// load replaces the tree by the edge of a stored one.
func (t *tree) load(size int64, read func([]int64) ([]tlog.Hash, error)) error {
	var indexes []int64
	for level, rest := 0, size; rest > 0; level, rest = level+1, rest>>1 {
		if rest&1 == 1 {
			indexes = append(indexes, tlog.StoredHashIndex(level, rest-1))
		}
	}
	hashes, err := read(indexes)
	if err != nil {
		return err
	}
	t.size = size
	clear(t.edge)
	for i, ix := range indexes {
		t.edge[ix] = hashes[i]
	}
	return nil
}

func (t *tree) root() (tlog.Hash, error) { return tlog.TreeHash(t.size, t) }
