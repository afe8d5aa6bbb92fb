package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/mod/sumdb/note"
)

// The names of the key's files in the data folder.
const (
	KeyFile    = "audit.key" // private, 0600
	PublicFile = "audit.pub" // public: give it to whoever verifies exports
)

// Key signs checkpoints.
type Key struct {
	signer note.Signer
	// Verifier checks what the key signed.
	Verifier note.Verifier
	// Public is the verifier key as text, as in the file audit.pub.
	Public string
}

// OpenKey reads the signing key in dir, or makes one on the first start. It
// refuses a key that anybody but its owner may read or write. The caller holds
// the instance lock, so that two processes cannot make two keys.
func OpenKey(dir string) (*Key, error) {
	path := filepath.Join(dir, KeyFile)
	text, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = createKey(path)
	}
	if err != nil {
		return nil, err
	}
	k, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not an audit key (%w): put the right file back; without it new entries cannot be signed", path, err)
	}
	// The public half is derived, so a stray audit.pub cannot mislead anyone
	// after the next start.
	pub := filepath.Join(dir, PublicFile)
	if old, err := os.ReadFile(pub); err != nil || string(old) != k.Public+"\n" {
		if err := renameio.WriteFile(pub, []byte(k.Public+"\n"), 0o644); err != nil {
			return nil, fmt.Errorf("write the public audit key: %w", err)
		}
	}
	return k, nil
}

func createKey(path string) (string, error) {
	var id [5]byte
	rand.Read(id[:])
	skey, _, err := note.GenerateKey(rand.Reader, fmt.Sprintf("nanoclaw/audit/%x", id))
	if err != nil {
		return "", fmt.Errorf("make the audit key: %w", err)
	}
	if err := renameio.WriteFile(path, []byte(skey+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write the audit key: %w", err)
	}
	return skey, nil
}

// readPrivate reads a small regular file that only its owner can touch. The
// checks are made on the open file, so that it cannot be swapped between them.
func readPrivate(path string) (string, error) {
	if fi, err := os.Lstat(path); err == nil && !fi.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file: remove it and put the audit key back", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !fi.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be used by others (mode %04o): run chmod 600 %s; whoever read it can forge the log", path, fi.Mode().Perm(), path)
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	return string(b), err
}

// parseKey derives the public half from the private one (form of package note:
// PRIVATE+KEY+name+hash+base64 of one byte for Ed25519 and the seed).
func parseKey(text string) (*Key, error) {
	text = strings.TrimSpace(text)
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, err
	}
	parts := strings.SplitN(text, "+", 5)
	if len(parts) != 5 {
		return nil, errors.New("malformed")
	}
	raw, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, errors.New("malformed")
	}
	pub, _ := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	vkey, err := note.NewEd25519VerifierKey(signer.Name(), pub)
	if err != nil {
		return nil, err
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, err
	}
	return &Key{signer: signer, Verifier: v, Public: vkey}, nil
}

// ReadPublic reads a verifier key from a file such as audit.pub.
func ReadPublic(path string) (note.Verifier, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the public audit key: %w", err)
	}
	v, _, err := parsePublic(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// parsePublic reads a verifier key and insists on its one spelling.
func parsePublic(text string) (note.Verifier, string, error) {
	bad := errors.New("not a public audit key: it looks like NAME+HASH+BASE64, as in audit.pub")
	v, err := note.NewVerifier(text)
	if err != nil {
		return nil, "", bad
	}
	parts := strings.SplitN(text, "+", 3)
	raw, err := base64.StdEncoding.Strict().DecodeString(parts[len(parts)-1])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize {
		return nil, "", bad
	}
	canonical, err := note.NewEd25519VerifierKey(v.Name(), ed25519.PublicKey(raw[1:]))
	if err != nil || canonical != text {
		return nil, "", bad
	}
	return v, canonical, nil
}
