package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"nanoclaw/internal/chat"
)

// memory is a Storage in memory.
type memory struct {
	mu     sync.Mutex
	rows   []Row
	hashes []tlog.Hash
	head   Head
	// appended is told of every new head.
	appended chan Head
}

func (m *memory) Head(context.Context) (Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head, nil
}

func (m *memory) Rows(_ context.Context, f Filter) iter.Seq2[Row, error] {
	m.mu.Lock()
	first, _ := slices.BinarySearchFunc(m.rows, f.After, func(r Row, id int64) int { return int(r.ID - id) })
	rows := m.rows[first:]
	m.mu.Unlock()
	return func(yield func(Row, error) bool) {
		n := 0
		for _, r := range rows {
			if !f.Match(r) {
				continue
			}
			if f.Limit > 0 && n == f.Limit || !yield(r, nil) {
				return
			}
			n++
		}
	}
}

func (m *memory) ReadHashes(_ context.Context, indexes []int64) ([]tlog.Hash, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []tlog.Hash
	for _, ix := range indexes {
		if ix < 0 || ix >= int64(len(m.hashes)) {
			return nil, fmt.Errorf("hash %d is missing", ix)
		}
		out = append(out, m.hashes[ix])
	}
	return out, nil
}

func (m *memory) Append(_ context.Context, old Head, b Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.head.Size != old.Size {
		return errors.New("another sequencer")
	}
	leaf := old.Size
	for _, id := range b.IDs {
		i, _ := slices.BinarySearchFunc(m.rows, id, func(r Row, id int64) int { return int(r.ID - id) })
		m.rows[i].Leaf = leaf
		leaf++
	}
	m.hashes = append(m.hashes, b.Hashes...)
	m.head = b.Head
	if m.appended != nil {
		m.appended <- b.Head
	}
	return nil
}

// clone copies all that a test may change.
func (m *memory) clone() *memory {
	c := &memory{hashes: slices.Clone(m.hashes), head: m.head, rows: slices.Clone(m.rows)}
	c.head.Checkpoint = slices.Clone(m.head.Checkpoint)
	for i := range c.rows {
		c.rows[i].Payload = slices.Clone(c.rows[i].Payload)
		c.rows[i].Salt = slices.Clone(c.rows[i].Salt)
	}
	return c
}

var noon = time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC)

// add commits n entries, two ids apart, as if every second one were rolled back.
func (m *memory) add(t testing.TB, n int) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		i := len(m.rows)
		e := Entry{At: noon.Add(time.Duration(i) * time.Second), Kind: Inbound, Group: chat.Group([]string{"main", "family"}[i%2]),
			Data: InboundData{Sender: chat.Sender{ID: "x"}, Text: fmt.Sprintf("message <%d> ü", i), Verdict: "run"}}
		if i%3 == 0 {
			e.Kind, e.Run, e.Session, e.Data = RunEnded, "r1", "s1", RunEndedData{State: "succeeded"}
		}
		r, err := Seal(e)
		if err != nil {
			t.Fatal(err)
		}
		r.ID = int64(2*i + 1)
		m.rows = append(m.rows, r)
	}
}

// filled is a log of n sequenced entries.
func filled(t testing.TB, n int) (*memory, *Key) {
	t.Helper()
	key, err := OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{}
	m.add(t, n)
	if _, err := NewSequencer(m, key, nil).Sequence(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m, key
}
