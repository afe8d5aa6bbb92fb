package audit

import (
	"errors"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// The end of the log is looked at in full, and an empty log is good.
func TestCheckHead(t *testing.T) {
	honest, key := filled(t, 50)
	if n, err := CheckHead(t.Context(), honest, key.Verifier); n != 50 || err != nil {
		t.Errorf("an honest log: %d, %v", n, err)
	}
	if n, err := CheckHead(t.Context(), &memory{}, key.Verifier); n != 0 || err != nil {
		t.Errorf("an empty log: %d, %v", n, err)
	}
	for name, spoil := range map[string]func(m *memory){
		"checkpoint changed":     func(m *memory) { m.head.Checkpoint[len("nanoclaw/audit/0123456789\n")] = '6' },
		"size changed":           func(m *memory) { m.head.Size-- },
		"cut":                    func(m *memory) { m.rows = m.rows[:49] },
		"newest payload changed": func(m *memory) { m.rows[49].Payload = []byte(`{}`) },
		"newest group changed":   func(m *memory) { m.rows[49].Group = "family2" },
		"hash changed":           func(m *memory) { m.hashes[tlog.StoredHashIndex(4, 2)][0] ^= 1 },
		"newest and its hash": func(m *memory) {
			m.rows[49].Group = "family2"
			rehash(m)
		},
	} {
		m := honest.clone()
		spoil(m)
		_, err := CheckHead(t.Context(), m, key.Verifier)
		var bad *BadError
		if !errors.As(err, &bad) {
			t.Errorf("%s: not found: %v", name, err)
		}
	}
}
