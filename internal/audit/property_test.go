package audit

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"nanoclaw/internal/chat"
)

// wantBad fails unless err says that the log is not what was signed.
func wantBad(t *testing.T, err error, format string, args ...any) {
	t.Helper()
	var bad *BadError
	if !errors.As(err, &bad) {
		t.Fatalf(format+": %v", append(args, err)...)
	}
}

// Every cut of an export, at any byte, is found; so is every line that is left out
// and every two that change places.
func TestEveryCutAndOrderOfAnExportIsFound(t *testing.T) {
	m, key := filled(t, 12)
	file := exported(t, m, key, Filter{})
	verify := func(b []byte) error {
		_, err := VerifyExport(bytes.NewReader(b), key.Verifier)
		return err
	}
	for n := range file {
		wantBad(t, verify(file[:n]), "cut to %d of %d bytes", n, len(file))
	}
	for _, more := range []string{"\n", " ", "{}\n", string(file[:bytes.IndexByte(file, '\n')+1])} {
		wantBad(t, verify(append(bytes.Clone(file), more...)), "%q added", more)
	}
	lines := bytes.SplitAfter(file, []byte("\n"))
	lines = lines[:len(lines)-1]
	for i := range lines {
		wantBad(t, verify(bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil)), "without line %d", i+1)
		for j := range i {
			swapped := slices.Clone(lines)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			wantBad(t, verify(bytes.Join(swapped, nil)), "lines %d and %d swapped", i+1, j+1)
		}
	}
}

// Random bits, runs of lines that are left out, blocks that change places, and cuts
// of an export that is not small.
func TestRandomChangesOfALargeExportAreFound(t *testing.T) {
	m, key := filled(t, 3000)
	file := exported(t, m, key, Filter{})
	lines := bytes.SplitAfter(file, []byte("\n"))
	lines = lines[:len(lines)-1]
	rnd := rand.New(rand.NewPCG(7, 11))
	for range 60 {
		i := rnd.IntN(len(file))
		bit := byte(1) << rnd.IntN(8)
		file[i] ^= bit
		_, err := VerifyExport(bytes.NewReader(file), key.Verifier)
		wantBad(t, err, "bit %08b of byte %d", bit, i)
		file[i] ^= bit
		from := 1 + rnd.IntN(len(lines)-2)
		to := from + 1 + rnd.IntN(len(lines)-from-1)
		_, err = VerifyExport(bytes.NewReader(bytes.Join(slices.Delete(slices.Clone(lines), from, to), nil)), key.Verifier)
		wantBad(t, err, "without lines %d to %d", from+1, to)
		mid := from + (to-from+1)/2
		moved := slices.Concat(lines[:from], lines[mid:to], lines[from:mid], lines[to:])
		if mid < to {
			_, err = VerifyExport(bytes.NewReader(bytes.Join(moved, nil)), key.Verifier)
			wantBad(t, err, "blocks at %d and %d swapped", from, mid)
		}
		_, err = VerifyExport(bytes.NewReader(file[:rnd.IntN(len(file))]), key.Verifier)
		wantBad(t, err, "cut")
	}
	if _, err := VerifyExport(bytes.NewReader(file), key.Verifier); err != nil {
		t.Fatalf("the test spoiled the export for good: %v", err)
	}
}

// Every bit of everything that a store keeps of a log: rows, hashes and the head.
func TestEveryFlippedBitOfAStoreIsFound(t *testing.T) {
	m, key := filled(t, 9)
	m.rows[4].Payload, m.rows[4].Salt = nil, nil // one whose words were erased
	verify := func(format string, args ...any) {
		t.Helper()
		_, err := Verify(t.Context(), m, key.Verifier)
		wantBad(t, err, format, args...)
	}
	if _, err := Verify(t.Context(), m, key.Verifier); err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte, what string, n int) {
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				verify("%s %d, byte %d, bit %d", what, n, i, bit)
				b[i] ^= 1 << bit
			}
		}
	}
	for n := range m.rows {
		r := &m.rows[n]
		flip(r.Payload, "payload", n)
		flip(r.Salt, "salt", n)
		flip(r.Commitment[:], "commitment", n)
		was := *r
		for bit := range 63 {
			for what, set := range map[string]func(){
				"id": func() { r.ID ^= 1 << bit }, "leaf": func() { r.Leaf ^= 1 << bit },
				"time": func() { r.At = time.Unix(0, r.At.UnixNano()^1<<bit) },
			} {
				set()
				verify("%s %d, bit %d", what, n, bit)
				*r = was
			}
		}
		for i := range max(len(was.Kind), len(was.Group), len(was.Run), len(was.Session)) {
			for bit := range 8 {
				for what, set := range map[string]func(){
					"kind": func() { r.Kind = flipped(r.Kind, i, bit) }, "group": func() { r.Group = flipped(r.Group, i, bit) },
					"run": func() { r.Run = flipped(r.Run, i, bit) }, "session": func() { r.Session = flipped(r.Session, i, bit) },
				} {
					if set(); !reflect.DeepEqual(*r, was) {
						verify("%s %d, byte %d, bit %d", what, n, i, bit)
					}
					*r = was
				}
			}
		}
	}
	for n := range m.hashes {
		flip(m.hashes[n][:], "hash", n)
	}
	flip(m.head.Checkpoint, "checkpoint", 0)
	head := m.head
	for bit := range 63 {
		m.head.Size ^= 1 << bit
		verify("size, bit %d", bit)
		m.head = head
	}
}

func flipped[T ~string](s T, i, bit int) T {
	b := []byte(s)
	if i < len(b) {
		b[i] ^= 1 << bit
	}
	return T(b)
}

// Somebody who has the key, and so can sign whatever they wrote, leaves out any run
// of entries, changes the places of any two, changes one, or cuts the end off. The
// anchor shows each of them.
func TestEveryRewrittenLogIsFoundByItsAnchor(t *testing.T) {
	m, key := filled(t, 24)
	anchor, err := OpenCheckpoint(m.head.Checkpoint, key.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	check := func(format string, args []any, rewrite func(c *memory)) {
		t.Helper()
		c := m.clone()
		rewrite(c)
		c.hashes, c.head = nil, Head{}
		for i := range c.rows {
			c.rows[i].Leaf = -1
		}
		if _, err := NewSequencer(c, key, nil).Sequence(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(t.Context(), c, key.Verifier); err != nil {
			t.Fatalf("it does not verify by itself, so the anchor shows nothing: %v", err)
		}
		wantBad(t, CheckAnchor(t.Context(), c, anchor), format, args...)
	}
	for i := range m.rows {
		check("cut to %d", []any{i}, func(c *memory) { c.rows = c.rows[:i] })
		check("without %d", []any{i}, func(c *memory) { c.rows = slices.Delete(c.rows, i, i+1) })
		check("%d changed", []any{i}, func(c *memory) { c.rows[i].Group += chat.Group("x") })
		for j := range i {
			check("%d and %d swapped", []any{i, j}, func(c *memory) {
				c.rows[i], c.rows[j] = c.rows[j], c.rows[i]
				c.rows[i].ID, c.rows[j].ID = c.rows[j].ID, c.rows[i].ID
			})
		}
	}
	check("one inserted", nil, func(c *memory) {
		r := c.rows[5]
		r.ID++
		c.rows = slices.Insert(c.rows, 6, r)
	})
}

// What the scanner of lines takes, the long way takes too, with the same values: so
// no line verifies that would not without it.
func TestScanLineTakesNothingMore(t *testing.T) {
	m, key := filled(t, 8)
	m.rows[2].Payload, m.rows[2].Salt = nil, nil
	quick := 0
	for _, line := range bytes.Split(bytes.TrimSpace(exported(t, m, key, Filter{})), []byte("\n"))[1:] {
		if sameLine(t, line) {
			quick++
		}
		for i := range line {
			for bit := range 8 {
				line[i] ^= 1 << bit
				sameLine(t, line)
				line[i] ^= 1 << bit
			}
		}
	}
	if quick != 8 {
		t.Errorf("only %d of 8 lines are read the short way, so the test shows little", quick)
	}
}

// sameLine compares both ways, and says whether the short one took the line.
func sameLine(t *testing.T, line []byte) bool {
	t.Helper()
	var short, long exportLine
	if !scanLine(line, &short) {
		return false
	}
	if !decodeExact(line, &long) {
		t.Fatalf("only the scanner takes %q", line)
	}
	if !reflect.DeepEqual(short, long) {
		t.Fatalf("%q is read as %+v, and should be %+v", line, short, long)
	}
	return true
}

func FuzzScanLine(f *testing.F) {
	m, key := filled(f, 4)
	m.rows[2].Payload, m.rows[2].Salt = nil, nil
	for _, line := range bytes.Split(exported(f, m, key, Filter{}), []byte("\n")) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) { sameLine(t, line) })
}

// The leaf's hash is what the tree's own package makes of the record.
func TestLeafHash(t *testing.T) {
	m, _ := filled(t, 5)
	var h hasher
	for _, r := range m.rows {
		if want := tlog.RecordHash(r.Record()); h.leaf(&r) != want || r.leafHash() != want {
			t.Errorf("entry %d has another hash", r.ID)
		}
	}
}

// A verification that is called off says so, and does not call the log changed.
func TestVerifyCalledOff(t *testing.T) {
	m, key := filled(t, 2000)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var bad *BadError
	if _, err := Verify(ctx, m, key.Verifier); !errors.Is(err, context.Canceled) || errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
}
