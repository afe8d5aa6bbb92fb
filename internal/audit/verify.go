package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Report is what a verification found.
type Report struct {
	// Origin and Size are the checkpoint's: which log, and how many entries it
	// covers.
	Origin string `json:"origin"`
	Size   int64  `json:"size"`
	Root   string `json:"root"`
	// Entries is how many were checked, the unsequenced ones included.
	Entries int64 `json:"entries"`
	// Erased is how many of them have lost their words.
	Erased int64 `json:"erased"`
	// Unsequenced is how many rows no checkpoint covers yet, FirstUnsequenced
	// the id of the first of them. In a running daemon they are covered a moment later.
	Unsequenced      int64 `json:"unsequenced"`
	FirstUnsequenced int64 `json:"firstUnsequenced,omitempty"`
	// Part is set for an export that holds only some entries.
	Part *Filter `json:"part,omitempty"`
	// Key is the verifier key that an export was checked with.
	Key string `json:"key,omitempty"`
}

// BadError says that the log is not what was signed, and where that begins.
type BadError struct {
	Entry int64 // id of the first bad entry; 0 if it is not one entry
	Leaf  int64 // its place; -1 if it has none
	Line  int   // line of an export; 0 for a store
	Why   string
}

func (e *BadError) Error() string {
	s := "the audit log does not verify"
	if e.Line > 0 {
		s += fmt.Sprintf(": line %d", e.Line)
	}
	if e.Entry > 0 {
		s += fmt.Sprintf(": entry %d", e.Entry)
	}
	return s + ": " + e.Why
}

// How many stored hashes Verify reads at once, and how many rows.
const (
	hashWindow = 4096
	rowsAhead  = 64
)

// windows reads the first n stored hashes, many at once.
func windows(ctx context.Context, src Source, n int64) iter.Seq2[[]tlog.Hash, error] {
	return func(yield func([]tlog.Hash, error) bool) {
		for read := int64(0); read < n; read += hashWindow {
			indexes := make([]int64, min(n-read, hashWindow))
			for i := range indexes {
				indexes[i] = read + int64(i)
			}
			if hashes, err := src.ReadHashes(ctx, indexes); !yield(hashes, err) || err != nil {
				return
			}
		}
	}
}

// ahead runs a source in a goroutine of its own, so that it reads on while what it
// gave is used: size values at a time, and at most a few times that many ahead.
// Source and goroutine are over when the loop is.
func ahead[T any](ctx context.Context, size int, source iter.Seq2[T, error]) iter.Seq2[T, error] {
	type value struct {
		v   T
		err error
	}
	return func(yield func(T, error) bool) {
		whole := ctx
		ctx, stop := context.WithCancel(ctx)
		given := make(chan []value, 2)
		defer func() {
			stop()
			for range given { // until it is closed
			}
		}()
		go func() {
			defer close(given)
			var some []value
			give := func() bool {
				select {
				case given <- some:
					some = nil
					return true
				case <-ctx.Done():
					return false
				}
			}
			for v, err := range source {
				if some = append(some, value{v, err}); len(some) == size && !give() {
					return
				}
			}
			give()
		}()
		for some := range given {
			for _, x := range some {
				if !yield(x.v, x.err) {
					return
				}
			}
		}
		if err := whole.Err(); err != nil { // it was not read to its end
			var none T
			yield(none, err)
		}
	}
}

// Verify checks a store's whole log: every payload against its commitment,
// every row against its leaf, the leaves against the stored hashes, and the root
// against the signed checkpoint. The error is a *BadError if the log is not what
// was signed, and something else if it could not be read.
//
// It may run while a daemon appends: it checks the log as it was at the
// beginning, and what came since counts as unsequenced.
func Verify(ctx context.Context, src Source, v note.Verifier) (Report, error) {
	head, err := src.Head(ctx)
	if err != nil {
		return Report{}, err
	}
	rep := Report{Origin: v.Name()}
	var want Checkpoint
	if head.Size > 0 || len(head.Checkpoint) > 0 {
		if want, err = OpenCheckpoint(head.Checkpoint, v); err != nil {
			return rep, &BadError{Leaf: -1, Why: err.Error()}
		}
		rep.Size, rep.Root = want.Size, want.Root.String()
		if want.Size != head.Size {
			return rep, &BadError{Leaf: -1, Why: fmt.Sprintf("the store counts %d entries, the checkpoint %d", head.Size, want.Size)}
		}
	}
	check := &storeCheck{head: head, rep: &rep, tree: newTree()}
	var done func()
	check.hashes, done = iter.Pull2(ahead(ctx, 1, windows(ctx, src, tlog.StoredHashCount(head.Size))))
	defer done()
	for r, err := range ahead(ctx, rowsAhead, src.Rows(ctx, Filter{})) {
		if err != nil {
			return rep, err
		}
		if err := check.row(r); err != nil {
			return rep, err
		}
	}
	return rep, check.end(want)
}

// storeCheck is one pass of Verify over the rows.
type storeCheck struct {
	head Head
	rep  *Report
	tree *tree
	hash hasher
	last int64 // id of the row before

	stored []tlog.Hash // the next stored hashes, of a window
	hashes func() ([]tlog.Hash, error, bool)
}

func (c *storeCheck) row(r Row) error {
	bad := func(why string) error { return &BadError{Entry: r.ID, Leaf: r.Leaf, Why: why} }
	if r.ID <= c.last {
		return bad("it is out of order")
	}
	c.last = r.ID
	c.rep.Entries++
	if err := c.hash.checkPayload(&r); err != nil {
		return bad(err.Error())
	}
	if r.Erased() {
		c.rep.Erased++
	}
	n := c.tree.size
	switch {
	case n == c.head.Size && r.ID > c.head.LastID:
		if c.rep.Unsequenced++; c.rep.FirstUnsequenced == 0 {
			c.rep.FirstUnsequenced = r.ID
		}
		return nil
	case r.Leaf < 0:
		return bad("it was put below entries that were signed before it")
	case r.Leaf > n:
		return bad(fmt.Sprintf("before it %d entries are missing", r.Leaf-n))
	case r.Leaf < n || n >= c.head.Size:
		return bad("it is not at its place")
	}
	for i, h := range c.tree.append(c.hash.leaf(&r)) {
		got, err := c.next()
		if err != nil {
			return err
		}
		if h != got && i == 0 {
			return bad("it is not what was sequenced")
		}
		if h != got {
			return bad("a stored hash above it is not that of the entries below")
		}
	}
	return nil
}

// next gives the next stored hash.
func (c *storeCheck) next() (tlog.Hash, error) {
	if len(c.stored) == 0 {
		window, err, ok := c.hashes()
		if err == nil && (!ok || len(window) == 0) {
			err = errors.New("there are fewer stored hashes than entries")
		}
		switch {
		case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
			return tlog.Hash{}, err
		case err != nil:
			return tlog.Hash{}, &BadError{Leaf: -1, Why: err.Error()}
		}
		c.stored = window
	}
	h := c.stored[0]
	c.stored = c.stored[1:]
	return h, nil
}

func (c *storeCheck) end(want Checkpoint) error {
	if n := c.tree.size; n < c.head.Size {
		return &BadError{Leaf: -1, Why: fmt.Sprintf("%d entries at the end are missing", c.head.Size-n)}
	}
	if c.head.Size == 0 {
		return nil
	}
	if c.tree.root() != want.Root {
		return &BadError{Leaf: -1, Why: "entries and stored hashes agree with each other, but not with the signed checkpoint: somebody changed both"}
	}
	return nil
}

// errEmpty is returned for an export of a log with nothing in it.
var errEmpty = errors.New("no entry is sequenced yet: start nanoclaw once, then export")
