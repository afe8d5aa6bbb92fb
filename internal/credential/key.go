package credential

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"nanoclaw/internal/config"
)

// Names of the files in the folder of the key.
const (
	keyName = "key"
	// recipientName holds the public half, so that a login can store a credential
	// where only the service has the key.
	recipientName = "recipient"
	// tagName marks a folder that backups leave out (bford.info/cachedir). The key
	// can be lost: logging in again makes another.
	tagName = "CACHEDIR.TAG"
)

const tag = `Signature: 8a477f597d28d172789f06886806bc55
# This folder holds the key of nanoclaw's stored credentials. A backup that has it
# beside the credentials could open them. Without it you log in again.
`

// ServiceKey is the name under which systemd hands the key to the service
// (systemd.exec(5), LoadCredentialEncrypted=).
const ServiceKey = "nanoclaw-key"

// maxKey bounds the file of a key.
const maxKey = 4 << 10

// serviceKey is the file in which systemd hands the key over, "" where this process
// was given none.
func (s *Store) serviceKey() string {
	dir := s.getenv("CREDENTIALS_DIRECTORY")
	if !filepath.IsAbs(dir) {
		return ""
	}
	file := filepath.Join(dir, ServiceKey)
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return file
}

// KeyPlace says where this process has the key from.
func (s *Store) KeyPlace() string {
	if file := s.serviceKey(); file != "" {
		return file
	}
	return filepath.Join(s.paths.KeyDir, keyName)
}

// key gives the key of this installation: from systemd where this process has it
// from there, else from its file. Errors quote nothing of it.
func (s *Store) key() (*age.X25519Identity, error) {
	file := s.KeyPlace()
	data, err := config.ReadPrivate(file, maxKey)
	if file == s.serviceKey() {
		// systemd made the file for us, owned by root and opened by an access list, so
		// the checks of our own files do not fit it.
		data, err = os.ReadFile(file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no key at %s", file)
	}
	if err != nil {
		return nil, err
	}
	key, err := age.ParseX25519Identity(strings.TrimSpace(string(data)))
	if err != nil {
		return nil, fmt.Errorf("%s holds no key", file)
	}
	return key, nil
}

// recipient gives the public half of the key, and makes a key if there was none.
func (s *Store) recipient() (*age.X25519Recipient, error) {
	if key, err := s.key(); err == nil {
		return key.Recipient(), nil
	}
	file := filepath.Join(s.paths.KeyDir, recipientName)
	data, err := config.ReadPrivate(file, maxKey)
	if errors.Is(err, fs.ErrNotExist) {
		return s.makeKey()
	}
	if err != nil {
		return nil, err
	}
	to, err := age.ParseX25519Recipient(strings.TrimSpace(string(data)))
	if err != nil {
		return nil, fmt.Errorf("%s is no public key\nfix: remove the folder %s and log in again", file, s.paths.KeyDir)
	}
	return to, nil
}

// makeKey makes the key of an installation. The public half comes last: while it is
// missing, the key is made anew.
func (s *Store) makeKey() (*age.X25519Recipient, error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	for _, f := range []struct{ name, text string }{
		{tagName, tag}, {keyName, key.String() + "\n"}, {recipientName, key.Recipient().String() + "\n"},
	} {
		if err := config.WritePrivate(filepath.Join(s.paths.KeyDir, f.name), []byte(f.text)); err != nil {
			return nil, err
		}
	}
	return key.Recipient(), nil
}
