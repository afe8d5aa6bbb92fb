package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// credentialName is the file of the stored credential, beside the configuration.
const credentialName = "credential.json"

// maxCredential bounds the file; real ones have about 200 bytes.
const maxCredential = 16 << 10

// CredentialKind is how a stored credential is sent.
type CredentialKind string

// The kinds.
const (
	APIKey     CredentialKind = "api-key"     // X-Api-Key
	OAuthToken CredentialKind = "oauth-token" // of a subscription: claude setup-token
	AuthToken  CredentialKind = "auth-token"  // a bearer token, for compatible endpoints
)

// Credential is what "nanoclaw login claude" stored. It never prints its value.
//
// Trust model: the file is plain text that only its owner can read, in a
// folder that is part of no grant. That holds against agents and other users,
// and not against whoever can read the owner's files; encryption with a key
// beside it would not either (docs/decisions/0006).
type Credential struct {
	Kind  CredentialKind
	Value string
	// Endpoint is the only address that it is sent to: an address that somebody
	// sets later does not get a credential that was meant for another.
	Endpoint string
}

// storedCredential is the form of the file. Only this file has it, so that no
// other place can write the value out by accident.
type storedCredential struct {
	Kind     CredentialKind `json:"kind"`
	Value    string         `json:"value"`
	Endpoint string         `json:"endpoint"`
}

func credentialFile(p Paths) string { return filepath.Join(p.ConfigDir, credentialName) }

// LoadCredential gives the stored credential, nil if there is none. It refuses
// a file that others could have written or can read, as Load does.
func LoadCredential(p Paths) (*Credential, error) {
	file := credentialFile(p)
	f, _, err := openTrusted(file, os.Geteuid())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("stored credential: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCredential))
	if err != nil {
		return nil, fmt.Errorf("stored credential: %w", err)
	}
	var s storedCredential
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	// The decoder's own words are left out: they can quote what it read.
	if d.Decode(&s) != nil || s.Value == "" || s.Endpoint == "" || !s.Kind.known() {
		return nil, fmt.Errorf("stored credential: %s does not hold what nanoclaw wrote\nfix: nanoclaw logout claude, then nanoclaw login claude", file)
	}
	return &Credential{s.Kind, s.Value, s.Endpoint}, nil
}

func (k CredentialKind) known() bool { return k == APIKey || k == OAuthToken || k == AuthToken }

// SaveCredential stores c in place of what was there, in one step and readable
// by its owner alone. It gives the file's path. The folder is there (EnsureDirs).
func SaveCredential(p Paths, c Credential) (string, error) {
	file := credentialFile(p)
	dir, err := walk(p.ConfigDir, os.Geteuid(), nil)
	if err != nil {
		return "", fmt.Errorf("store the credential: %w", err)
	}
	data, err := json.MarshalIndent(storedCredential(c), "", "  ")
	if err != nil {
		return "", err
	}
	err = renameio.WriteFile(filepath.Join(dir, credentialName), append(data, '\n'), 0o600,
		renameio.WithTempDir(dir), renameio.WithStaticPermissions(0o600))
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return "", fmt.Errorf("store the credential: %w", err)
	}
	return file, nil
}

// RemoveCredential removes the stored credential and says whether there was one.
func RemoveCredential(p Paths) (bool, error) {
	err := os.Remove(credentialFile(p))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("remove the stored credential: %w", err)
	}
	return true, syncDir(p.ConfigDir)
}

// String says what it is, without the value.
func (c Credential) String() string {
	return "credential{" + string(c.Kind) + " for " + c.Endpoint + "}"
}

// Format is String whatever the verb, since %d would print the fields.
func (c Credential) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is String, for slog.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is String, for JSON.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
