package credential

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"filippo.io/age"

	"nanoclaw/internal/config"
)

// own is how the provider without a name is called in file names. No provider can
// have this name (config.ProviderName).
const own = "model"

const (
	folder    = "credentials" // beside the configuration
	extension = ".age"
	// plainName is the file that earlier versions wrote, unencrypted.
	plainName = "credential.json"
	// maxFile bounds a file; real ones have less than 2 KB.
	maxFile = 64 << 10
)

// Store is where the credentials of an installation are kept.
type Store struct {
	paths  config.Paths
	getenv func(string) string
}

// New gives the store of an installation. It touches nothing.
func New(p config.Paths, getenv func(string) string) *Store { return &Store{p, getenv} }

// stored is the form inside a file. Only this file has it, so that no other place
// can write the value out by accident.
type stored struct {
	Kind     Kind      `json:"kind"`
	Value    string    `json:"value"`
	Endpoint string    `json:"endpoint"`
	Until    time.Time `json:"until,omitzero"`
	Refresh  string    `json:"refresh,omitempty"`
	TokenURL string    `json:"tokenURL,omitempty"`
}

func (s *Store) dir() string { return filepath.Join(s.paths.ConfigDir, folder) }

// File is where a provider's credential lies; "" is the provider without a name.
func (s *Store) File(provider string) string {
	if provider == "" {
		provider = own
	}
	return filepath.Join(s.dir(), provider+extension)
}

func (s *Store) plainFile() string { return filepath.Join(s.paths.ConfigDir, plainName) }

// Names lists the providers that have a credential.
func (s *Store) Names() ([]string, error) {
	entries, err := os.ReadDir(s.dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), extension); name == own && ok {
			names = append(names, "")
		} else if ok && config.ProviderName(name) {
			names = append(names, name)
		}
	}
	if _, err := os.Lstat(s.plainFile()); err == nil && !slices.Contains(names, "") {
		names = append(names, "")
	}
	return names, nil
}

// Load gives a provider's credential, nil if there is none.
func (s *Store) Load(provider string) (*Credential, error) {
	c, err := s.load(provider)
	if err != nil {
		return nil, fmt.Errorf("stored credential: %w", err)
	}
	return c, nil
}

func (s *Store) load(provider string) (*Credential, error) {
	file := s.File(provider)
	sealed, err := config.ReadPrivate(file, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		if provider == "" {
			return s.loadPlain()
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key, err := s.key()
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened: %w\nfix: put the key back, or remove the folder %s and log in again", file, err, s.paths.KeyDir)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), key)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened with the key of this installation\nfix: %s", file, again(provider))
	}
	return parse(file, provider, r)
}

// again is what the owner does about a credential that cannot be read.
func again(provider string) string {
	if provider != "" {
		provider = " --provider " + provider
	}
	return fmt.Sprintf("nanoclaw logout claude%s, then nanoclaw login claude%s", provider, provider)
}

// loadPlain reads the file of an earlier version.
func (s *Store) loadPlain() (*Credential, error) {
	data, err := config.ReadPrivate(s.plainFile(), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parse(s.plainFile(), "", bytes.NewReader(data))
}

func parse(file, provider string, r io.Reader) (*Credential, error) {
	var in stored
	d := json.NewDecoder(io.LimitReader(r, maxFile))
	d.DisallowUnknownFields()
	// The decoder's own words are left out: they can quote what it read.
	if d.Decode(&in) != nil || in.Value == "" || in.Endpoint == "" || !in.Kind.Known() {
		return nil, fmt.Errorf("%s does not hold what nanoclaw wrote\nfix: %s", file, again(provider))
	}
	c := Credential(in)
	return &c, nil
}

// Save stores a credential in place of the provider's old one. It gives the
// file's path.
func (s *Store) Save(provider string, c Credential) (string, error) {
	err := s.locked(func() error { return s.save(provider, c) })
	if err != nil {
		return "", fmt.Errorf("store the credential: %w", err)
	}
	return s.File(provider), nil
}

func (s *Store) save(provider string, c Credential) error {
	to, err := s.recipient()
	if err != nil {
		return err
	}
	plain, err := json.Marshal(stored(c))
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
	if err := config.WritePrivate(s.File(provider), sealed.Bytes()); err != nil {
		return err
	}
	if provider == "" {
		return s.forgetPlain()
	}
	return nil
}

// ErrChanged says that another credential was stored meanwhile.
var ErrChanged = errors.New("another credential was stored meanwhile")

// Renew stores the next credential in place of old, unless another one than old is
// there by now: then it is ErrChanged and nothing is written.
func (s *Store) Renew(provider string, old, next Credential) error {
	return s.locked(func() error {
		now, err := s.load(provider)
		if err != nil {
			return err
		}
		if now == nil || !now.Same(old) {
			return ErrChanged
		}
		return s.save(provider, next)
	})
}

// Remove removes a provider's credential and says whether there was one.
func (s *Store) Remove(provider string) (was bool, err error) {
	err = s.locked(func() error {
		switch err := config.RemovePrivate(s.File(provider)); {
		case err == nil:
			was = true
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if _, err := os.Lstat(s.plainFile()); provider != "" || err != nil {
			return nil
		}
		was = true
		return s.forgetPlain()
	})
	if err != nil {
		return false, fmt.Errorf("remove the stored credential: %w", err)
	}
	return was, nil
}

func (s *Store) forgetPlain() error {
	if err := config.RemovePrivate(s.plainFile()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Migrate encrypts the credential of an earlier version, if there is one, and says
// whether it did. What cannot be migrated stays as it is and goes on working.
func (s *Store) Migrate() (did bool, err error) {
	err = s.locked(func() error {
		c, err := s.loadPlain()
		if err != nil || c == nil {
			return err
		}
		if _, err := os.Lstat(s.File("")); err == nil { // stored since, and the end was cut off
			return s.forgetPlain()
		}
		did = true
		return s.save("", *c)
	})
	if err != nil {
		return false, fmt.Errorf("encrypt the stored credential: %w", err)
	}
	return did, nil
}

// locked does f while no other process changes the credentials. The lock is the
// folder of the configuration, which is there; it ends with the process.
func (s *Store) locked(f func() error) error {
	d, err := os.Open(s.paths.ConfigDir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		if err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", s.paths.ConfigDir, err)
	}
	return f()
}
