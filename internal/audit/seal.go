package audit

import (
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Seal signs a text of ours that is no checkpoint. kind says what it is, and is
// signed with it, so that a text of one kind is never taken for another: a
// checkpoint begins with the name of the log, which holds no space. text must be
// UTF-8 without control characters but newlines.
func (k *Key) Seal(kind, text string) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: header(kind) + text + "\n"}, k.signer)
	if err != nil {
		return nil, fmt.Errorf("sign the %s: %w", kind, err)
	}
	return signed, nil
}

// Unseal gives the text of Seal, if this key signed it for this kind.
func (k *Key) Unseal(kind string, signed []byte) (string, error) {
	n, err := note.Open(signed, note.VerifierList(k.Verifier))
	if err != nil {
		return "", fmt.Errorf("the %s does not verify: %w", kind, err)
	}
	text, ok := strings.CutPrefix(n.Text, header(kind))
	if !ok {
		return "", fmt.Errorf("what was signed is no %s", kind)
	}
	return strings.TrimSuffix(text, "\n"), nil
}

func header(kind string) string { return "nanoclaw " + kind + "\n" }
