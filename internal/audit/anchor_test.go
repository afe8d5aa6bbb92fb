package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// anchored is a log of 60 entries with an anchor after each 20.
func anchored(t *testing.T) (m *memory, key *Key, file string, older []*memory) {
	t.Helper()
	m, key = filled(t, 20)
	file = filepath.Join(t.TempDir(), "anchors")
	var last int64
	for i := range 3 {
		if i > 0 {
			m.add(t, 20)
			if _, err := NewSequencer(m, key, nil).Sequence(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // the second time nothing is new
			var err error
			if last, err = AppendAnchor(t.Context(), m, file, last, noon); err != nil {
				t.Fatal(err)
			}
		}
		older = append(older, m.clone())
	}
	return m, key, file, older
}

func TestAnchors(t *testing.T) {
	m, key, file, _ := anchored(t)
	m.add(t, 5)
	if _, err := NewSequencer(m, key, nil).Sequence(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := CheckAnchorFile(t.Context(), m, key.Verifier, file)
	if err != nil || got != (Anchored{3, 60}) {
		t.Errorf("%+v, %v", got, err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}

// TestOlderStoreIsFound: whoever writes the data folder, the key included, puts
// back an older store, cuts it, or writes another one and signs it. Each of them
// verifies by itself.
func TestOlderStoreIsFound(t *testing.T) {
	m, key, file, older := anchored(t)
	rewritten := func(change func(*memory)) *memory {
		c := m.clone()
		change(c)
		c.hashes, c.head = nil, Head{}
		for i := range c.rows {
			c.rows[i].Leaf = -1
		}
		if _, err := NewSequencer(c, key, nil).Sequence(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	tests := []struct {
		name string
		log  *memory
		want string
	}{
		{"the first store", older[0], "line 2: " + file + ": the log had 40 entries and has 20"},
		{"the second store", older[1], "line 3: " + file + ": the log had 60 entries and has 40"},
		{"cut and signed again", rewritten(func(c *memory) { c.rows = c.rows[:59] }), "the log had 60 entries and has 59"},
		{"an early entry left out", rewritten(func(c *memory) { c.rows = append(c.rows[:3:3], c.rows[4:]...) }), "line 1: " + file + ": its first 20 entries are not those"},
		{"a late entry changed", rewritten(func(c *memory) {
			r := &c.rows[50]
			r.Payload = []byte(`{"text":"never said"}`)
			r.Commitment = Commit(r.Salt, r.Payload)
		}), "line 3: " + file + ": its first 60 entries are not those"},
		{"nothing", &memory{}, "line 1: " + file + ": the log had 20 entries and has 0"},
	}
	for _, tc := range tests {
		if _, err := Verify(t.Context(), tc.log, key.Verifier); err != nil {
			t.Fatalf("%s does not verify by itself, so the test shows nothing: %v", tc.name, err)
		}
		_, err := CheckAnchorFile(t.Context(), tc.log, key.Verifier, file)
		var bad *BadError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// TestAnchorFileIsHostile: a flipped bit in any byte of an anchor is found, and
// what no daemon wrote is refused.
func TestAnchorFileIsHostile(t *testing.T) {
	m, key, file, _ := anchored(t)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	check := func(b []byte) error {
		var sum Anchored
		return checkAnchors(t.Context(), m, key.Verifier, bytes.NewReader(b), &sum)
	}
	if err := check(good); err != nil {
		t.Fatal(err)
	}
	from := bytes.Index(good, []byte(`"checkpoint"`)) // the time before it is not signed
	first := good[:bytes.IndexByte(good, '\n')+1]
	for i := from; i < len(first)-1; i++ {
		b := bytes.Clone(first)
		b[i] ^= 1 << (i % 8)
		if check(b) == nil {
			t.Fatalf("bit %d of byte %d: the file still holds: %q", i%8, i, b[:i+1])
		}
	}
	other, err := OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var sum Anchored
	if checkAnchors(t.Context(), m, other.Verifier, bytes.NewReader(good), &sum) == nil {
		t.Error("anchors of another key were taken")
	}
	if err := check(append(bytes.Clone(good), strings.Repeat("x", 2*maxAnchor)...)); err == nil {
		t.Error("a line without an end was read")
	}
	if err := check(append(bytes.Clone(good), `{"at":"2026`...)); err != nil {
		t.Errorf("a last line that was cut off: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if _, err := AppendAnchor(t.Context(), m, link, 0, noon); err == nil {
		t.Error("an anchor was written through a link")
	}
}

func TestAnchorInWords(t *testing.T) {
	m, key, _, older := anchored(t)
	c, err := OpenCheckpoint(older[1].head.Checkpoint, key.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseWords(" " + c.Words() + "\n")
	if err != nil || CheckAnchor(t.Context(), m, again) != nil {
		t.Errorf("%s: %v", c.Words(), err)
	}
	again.Root = tlog.Hash{1}
	if CheckAnchor(t.Context(), m, again) == nil {
		t.Error("another root was taken")
	}
	for _, s := range []string{"", "40", "40:", "x:" + c.Root.String(), "-1:" + c.Root.String(), "0:" + c.Root.String()} {
		if _, err := ParseWords(s); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}

// TestAnchorFileMakesRoom: a file that grew too large is put aside, and both count.
func TestAnchorFileMakesRoom(t *testing.T) {
	m, key, file, _ := anchored(t)
	lines, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, maxAnchors+1); err != nil {
		t.Fatal(err)
	}
	if _, err := AppendAnchor(t.Context(), m, file, 0, noon); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(file + ".1"); err != nil || fi.Size() != maxAnchors+1 {
		t.Fatalf("the old file was not put aside: %v", err)
	}
	if err := os.WriteFile(file+".1", lines, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := CheckAnchorFile(t.Context(), m, key.Verifier, file); err != nil || got != (Anchored{4, 60}) {
		t.Errorf("%+v, %v", got, err)
	}
}
