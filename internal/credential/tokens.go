package credential

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"filippo.io/age"

	"nanoclaw/internal/config"
)

// tokensFolder is where the tokens of chat networks lie, beside the configuration.
const tokensFolder = "channels"

// Tokens are the secrets of one chat network, by their names. They print as nothing.
type Tokens map[string]string

// String says how many there are.
func (t Tokens) String() string { return fmt.Sprintf("%d tokens", len(t)) }

// GoString says the same.
func (t Tokens) GoString() string { return t.String() }

// TokensFile is where a network's tokens lie.
func (s *Store) TokensFile(network string) string {
	return filepath.Join(s.paths.ConfigDir, tokensFolder, network+extension)
}

// SaveTokens stores a network's tokens, encrypted, in place of its old ones.
func (s *Store) SaveTokens(network string, t Tokens) error {
	if !config.ProviderName(network) {
		return fmt.Errorf("%q cannot be the name of a network", network)
	}
	err := s.locked(func() error {
		to, err := s.recipient()
		if err != nil {
			return err
		}
		plain, err := json.Marshal(map[string]string(t))
		if err != nil {
			return err
		}
		var sealed bytes.Buffer
		w, err := age.Encrypt(&sealed, to)
		if err == nil {
			_, err = w.Write(plain)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			return err
		}
		return config.WritePrivate(s.TokensFile(network), sealed.Bytes())
	})
	if err != nil {
		return fmt.Errorf("store the tokens of %s: %w", network, err)
	}
	return nil
}

// LoadTokens gives a network's tokens, nil if there are none.
func (s *Store) LoadTokens(network string) (Tokens, error) {
	file := s.TokensFile(network)
	sealed, err := config.ReadPrivate(file, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key, err := s.key()
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened: %w", file, err)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), key)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened with the key of this installation\nfix: nanoclaw channel login %s", file, network)
	}
	var t Tokens
	// The decoder's own words are left out: they can quote what it read.
	if json.NewDecoder(io.LimitReader(r, maxFile)).Decode(&t) != nil || len(t) == 0 {
		return nil, fmt.Errorf("%s does not hold what nanoclaw wrote\nfix: nanoclaw channel login %s", file, network)
	}
	return t, nil
}

// RemoveTokens removes a network's tokens and says whether there were any.
func (s *Store) RemoveTokens(network string) (was bool, err error) {
	err = s.locked(func() error {
		err := config.RemovePrivate(s.TokensFile(network))
		was = err == nil
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return was, err
}
