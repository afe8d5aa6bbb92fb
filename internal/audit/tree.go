package audit

import (
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the right edge of a growing log: the roots of the largest complete
// subtrees, at most one for each level. It is all that appending needs, so a log of any length
// is built or checked in a few kilobytes. The hashing itself is tlog's.
type tree struct {
	size int64
	edge []tlog.Hash // by level; the zero hash where size has no bit
	buf  []tlog.Hash // what append gives
}

func newTree() *tree { return &tree{} }

// append adds a leaf and gives the hashes to store for it, in order: its own, and
// that of each subtree which it completes. They stand until the next append.
func (t *tree) append(leaf tlog.Hash) []tlog.Hash {
	t.buf = append(t.buf[:0], leaf)
	level := 0
	for ; t.size>>level&1 == 1; level++ {
		leaf = tlog.NodeHash(t.edge[level], leaf)
		t.edge[level] = tlog.Hash{}
		t.buf = append(t.buf, leaf)
	}
	if level == len(t.edge) {
		t.edge = append(t.edge, leaf)
	}
	t.edge[level] = leaf
	t.size++
	return t.buf
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
	t.edge = make([]tlog.Hash, bits.Len64(uint64(size)))
	for level := range t.edge {
		if size>>level&1 == 1 {
			t.edge[level], hashes = hashes[0], hashes[1:]
		}
	}
	return nil
}

// root folds the edge from the right, as RFC 6962 section 2.1 has it. An empty log
// has none.
func (t *tree) root() (root tlog.Hash) {
	first := true
	for level, h := range t.edge {
		switch {
		case t.size>>level&1 == 0:
		case first:
			root, first = h, false
		default:
			root = tlog.NodeHash(h, root)
		}
	}
	return root
}
