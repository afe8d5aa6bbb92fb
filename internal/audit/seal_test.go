package audit_test

import (
	"bytes"
	"testing"

	"nanoclaw/internal/audit"
)

// What was sealed is given back to who asks for its kind, with the key that
// sealed it, and only whole.
func TestSeal(t *testing.T) {
	key, err := audit.OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other, err := audit.OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const text = `{"a":"ä\u0007"}`
	signed, err := key.Seal("attestation", text)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := key.Unseal("attestation", signed); got != text || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := key.Unseal("receipt", signed); err == nil {
		t.Errorf("taken for another kind: %q", got)
	}
	if _, err := other.Unseal("attestation", signed); err == nil {
		t.Error("another key takes it")
	}
	for i := range signed {
		changed := bytes.Clone(signed)
		changed[i] ^= 1
		if got, err := key.Unseal("attestation", changed); err == nil && got != text {
			t.Errorf("byte %d changed: %q", i, got)
		}
	}
}
