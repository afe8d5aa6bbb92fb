package audit

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"
)

func TestSequenceAndVerify(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 8, 100, batchRows, batchRows + 1, 3 * batchRows} {
		m, key := filled(t, n)
		rep, err := Verify(t.Context(), m, key.Verifier)
		if err != nil {
			t.Fatalf("%d entries: %v", n, err)
		}
		if rep.Size != int64(n) || rep.Entries != int64(n) || rep.Unsequenced != 0 {
			t.Errorf("%d entries: %+v", n, rep)
		}
	}
}

// The tree that grows in steps is the tree of package tlog.
func TestTreeIsTlogs(t *testing.T) {
	grown, all := newTree(), []tlog.Hash{}
	read := tlog.HashReaderFunc(func(ix []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range ix {
			out = append(out, all[i])
		}
		return out, nil
	})
	for n := range int64(300) {
		leaf := tlog.RecordHash([]byte{byte(n), byte(n >> 8)})
		want, err := tlog.StoredHashesForRecordHash(n, leaf, read)
		if err != nil {
			t.Fatal(err)
		}
		got := grown.append(leaf)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("leaf %d: %s", n, diff)
		}
		all = append(all, got...)
		loaded := newTree()
		if err := loaded.load(n+1, read); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(grown.edge, loaded.edge); diff != "" {
			t.Fatalf("edge of %d: %s", n+1, diff)
		}
		if want, err := tlog.TreeHash(n+1, read); err != nil || grown.root() != want {
			t.Fatalf("root of %d: %v", n+1, err)
		}
	}
}

func TestVerifyNamesTheFirstBadEntry(t *testing.T) {
	honest, key := filled(t, 50)
	reseal := func(r *Row) { r.Commitment = Commit(r.Salt, r.Payload) }
	tests := []struct {
		name  string
		spoil func(m *memory)
		entry int64
		why   string
	}{
		{"payload changed", func(m *memory) { m.rows[20].Payload = []byte(`{}`) }, 41, "not what was committed"},
		{"salt changed", func(m *memory) { m.rows[20].Salt[0] ^= 1 }, 41, "not what was committed"},
		{"payload and commitment changed", func(m *memory) { m.rows[20].Payload = []byte(`{}`); reseal(&m.rows[20]) }, 41, "not what was sequenced"},
		{"time changed", func(m *memory) { m.rows[20].At = m.rows[20].At.Add(1) }, 41, "not what was sequenced"},
		{"kind changed", func(m *memory) { m.rows[20].Kind = Delivered }, 41, "not what was sequenced"},
		{"group changed", func(m *memory) { m.rows[20].Group = "family2" }, 41, "not what was sequenced"},
		{"run changed", func(m *memory) { m.rows[20].Run = "r2" }, 41, "not what was sequenced"},
		{"session changed", func(m *memory) { m.rows[20].Session = "s2" }, 41, "not what was sequenced"},
		{"names shifted", func(m *memory) { m.rows[21].Run, m.rows[21].Session = "", "r1s1" }, 43, "not what was sequenced"},
		{"id changed", func(m *memory) { m.rows[20].ID++ }, 42, "not what was sequenced"},
		{"only the salt erased", func(m *memory) { m.rows[20].Salt = nil }, 41, "half erased"},
		{"entry deleted", func(m *memory) { m.rows = append(m.rows[:20], m.rows[21:]...) }, 43, "1 entries are missing"},
		{"last deleted", func(m *memory) { m.rows = m.rows[:49] }, 0, "1 entries at the end are missing"},
		{"two swapped", func(m *memory) {
			a, b := &m.rows[20], &m.rows[21]
			*a, *b = *b, *a
			a.ID, b.ID = b.ID, a.ID
		}, 41, "missing"},
		{"inserted below the head", func(m *memory) {
			r := m.rows[20]
			r.ID, r.Leaf = 42, -1
			m.rows = append(m.rows[:21], append([]Row{r}, m.rows[21:]...)...)
		}, 42, "put below"},
		{"stored leaf hash changed", func(m *memory) { m.hashes[tlog.StoredHashIndex(0, 20)][0] ^= 1 }, 41, "not what was sequenced"},
		{"stored node hash changed", func(m *memory) { m.hashes[tlog.StoredHashIndex(2, 5)][0] ^= 1 }, 47, "stored hash above"},
		{"hashes missing", func(m *memory) { m.hashes = m.hashes[:10] }, 0, "missing"},
		{"checkpoint changed", func(m *memory) { m.head.Checkpoint[len("nanoclaw/audit/0123456789\n")] = '6' }, 0, "not signed"},
		{"size changed", func(m *memory) { m.head.Size-- }, 0, "counts 49 entries, the checkpoint 50"},
		{"log emptied", func(m *memory) { *m = memory{head: m.head} }, 0, "missing"},
		{"entry and hashes changed together", func(m *memory) {
			m.rows[20].Group = "family2"
			rehash(m)
		}, 0, "not with the signed checkpoint"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := honest.clone()
			tc.spoil(m)
			_, err := Verify(t.Context(), m, key.Verifier)
			var bad *BadError
			if !errors.As(err, &bad) {
				t.Fatalf("not found: %v", err)
			}
			if bad.Entry != tc.entry || !strings.Contains(bad.Why, tc.why) {
				t.Errorf("got entry %d, %q; want entry %d, %q", bad.Entry, bad.Why, tc.entry, tc.why)
			}
		})
	}
}

// rehash makes the stored hashes those of the rows.
func rehash(m *memory) {
	tr := newTree()
	m.hashes = nil
	for _, r := range m.rows {
		m.hashes = append(m.hashes, tr.append(r.leafHash())...)
	}
}

func TestErasedWordsStillVerify(t *testing.T) {
	m, key := filled(t, 20)
	m.rows[4].Payload, m.rows[4].Salt = nil, nil
	m.add(t, 3)
	rep, err := Verify(t.Context(), m, key.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	want := Report{Origin: key.Verifier.Name(), Size: 20, Root: rep.Root, Entries: 23, Erased: 1, Unsequenced: 3, FirstUnsequenced: 41}
	if diff := cmp.Diff(want, rep); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyLogVerifies(t *testing.T) {
	key, err := OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), &memory{}, key.Verifier); err != nil {
		t.Error(err)
	}
	if _, err := Export(t.Context(), &strings.Builder{}, &memory{}, key.Public, Filter{}); !errors.Is(err, errEmpty) {
		t.Error(err)
	}
}

func TestSequencerSignsNothingOnTopOfTampering(t *testing.T) {
	honest, key := filled(t, 20)
	other, err := OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		key   *Key
		spoil func(m *memory)
	}{
		{"tree changed", key, func(m *memory) { m.rows[3].Group = "x"; rehash(m) }},
		{"edge changed", key, func(m *memory) { m.hashes[tlog.StoredHashIndex(2, 4)][0] ^= 1 }},
		{"key replaced", other, func(*memory) {}},
		{"checkpoint gone", key, func(m *memory) { m.head.Checkpoint = nil }},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := honest.clone()
			tc.spoil(m)
			m.add(t, 1)
			if n, err := NewSequencer(m, tc.key, nil).Sequence(t.Context()); !errors.Is(err, ErrTampered) || n != 0 {
				t.Errorf("sequenced %d: %v", n, err)
			}
		})
	}
}

func TestRunSignsWithinTheBound(t *testing.T) {
	key, err := OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		m := &memory{appended: make(chan Head, 10)}
		m.add(t, 3) // left by an earlier process
		s := NewSequencer(m, key, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		if h := <-m.appended; h.Size != 3 {
			t.Errorf("at start: size %d", h.Size)
		}
		begin := time.Now()
		m.add(t, 2)
		s.Kick()
		if h := <-m.appended; h.Size != 5 {
			t.Errorf("after a commit: size %d", h.Size)
		}
		if d := time.Since(begin); d > 200*time.Millisecond {
			t.Errorf("signed after %v", d)
		}
		m.add(t, 1)
		stop() // no kick: the last pass finds it
		if h := <-m.appended; h.Size != 6 {
			t.Errorf("at the end: size %d", h.Size)
		}
		<-done
	})
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	k, err := OpenKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, KeyFile)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	again, err := OpenKey(dir)
	if err != nil || again.Public != k.Public {
		t.Errorf("another key: %v", err)
	}
	v, err := ReadPublic(filepath.Join(dir, PublicFile))
	if err != nil || v.KeyHash() != k.Verifier.KeyHash() {
		t.Errorf("public half: %v", err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKey(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path+".moved", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path+".moved", path); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(dir); err == nil {
		t.Error("a link was followed")
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("garbage"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(dir); err == nil || strings.Contains(err.Error(), "garbage") {
		t.Errorf("garbage as a key: %v", err)
	}
}

func TestPayloadIsBounded(t *testing.T) {
	long := strings.Repeat("ü<", 100_000)
	many := make([]string, 40_000)
	for i := range many {
		many[i] = "word"
	}
	tests := []struct {
		name string
		data any
		want string // a part of it
	}{
		{"nil", nil, "{}"},
		{"short", InboundData{Text: "hi"}, `"text":"hi"`},
		{"one long text", InboundData{Text: long, Reason: "why"}, "… [cut: 300000 bytes in all]"},
		{"long text keeps the rest", InboundData{Text: long, Reason: "why"}, `"reason":"why"`},
		{"many parts", many, `"cut":`},
		{"invalid text", map[string]string{"a": "\xff"}, `\ufffd`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r, err := Seal(Entry{At: noon, Kind: Inbound, Data: tc.data})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Payload) > MaxPayload || !json.Valid(r.Payload) {
				t.Errorf("%d bytes, valid %v", len(r.Payload), json.Valid(r.Payload))
			}
			if !strings.Contains(string(r.Payload), tc.want) {
				t.Errorf("%.200s does not hold %s", r.Payload, tc.want)
			}
		})
	}
	if _, err := Seal(Entry{Kind: Inbound}); err == nil {
		t.Error("an entry without a time was sealed")
	}
	if _, err := Seal(Entry{At: noon, Kind: Inbound, Data: func() {}}); err == nil {
		t.Error("a function was sealed")
	}
}

// Equal payloads give unequal commitments, or a dictionary would open them.
func TestCommitmentsHide(t *testing.T) {
	a, _ := Seal(Entry{At: noon, Kind: Inbound, Data: "yes"})
	b, _ := Seal(Entry{At: noon, Kind: Inbound, Data: "yes"})
	if a.Commitment == b.Commitment {
		t.Error("two entries with the same payload can be told")
	}
	if Commit([]byte("ab"), []byte("c")) == Commit([]byte("a"), []byte("bc")) {
		t.Error("salt and payload are not kept apart")
	}
}
