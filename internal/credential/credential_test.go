package credential

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/config"
)

// newStore makes a store in folders of the test.
func newStore(t *testing.T, env map[string]string) (*Store, config.Paths) {
	t.Helper()
	home := t.TempDir()
	p, err := config.Locate(config.Options{Getenv: func(name string) string { return map[string]string{"NANOCLAW_HOME": home}[name] }})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.EnsureDirs(); err != nil {
		t.Fatal(err)
	}
	return New(p, func(name string) string { return env[name] }), p
}

func key(value string) Credential {
	return Credential{Kind: APIKey, Value: value, Endpoint: "https://api.example"}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	s, p := newStore(t, nil)
	if c, err := s.Load(""); c != nil || err != nil {
		t.Errorf("without one: %v, %v", c, err)
	}
	all := map[string]Credential{
		"":     {Kind: OAuthToken, Value: "sk-hunter2", Endpoint: "https://api.example"},
		"work": {Kind: AuthToken, Value: "hunter2", Endpoint: "http://127.0.0.1:9", Until: time.Unix(1<<31, 5).UTC(), Refresh: "hunter2-r", TokenURL: "https://t.example"},
	}
	for name, want := range all {
		for range 2 { // the second takes the first one's place
			file, err := s.Save(name, want)
			must(t, err)
			data, err := os.ReadFile(file)
			if info, _ := os.Lstat(file); err != nil || info.Mode() != 0o600 || !strings.HasPrefix(file, p.ConfigDir) || bytes.Contains(data, []byte("hunter2")) {
				t.Errorf("%s has mode %v and holds %.40q, %v", file, info.Mode(), data, err)
			}
			if got, err := s.Load(name); err != nil || got == nil || !got.Same(want) {
				t.Errorf("stored %v, got %v, %v", want, got, err)
			}
		}
	}
	if names, err := s.Names(); err != nil || !cmp.Equal(names, []string{"", "work"}) {
		t.Errorf("names %q, %v", names, err)
	}
	for _, name := range []string{"key", "recipient", "CACHEDIR.TAG"} {
		if info, err := os.Lstat(filepath.Join(p.KeyDir, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	for _, want := range []bool{true, false} {
		if was, err := s.Remove("work"); was != want || err != nil {
			t.Errorf("removed: %v, %v; want %v", was, err, want)
		}
	}
	if c, err := s.Load(""); err != nil || c == nil {
		t.Errorf("the other one is gone too: %v, %v", c, err)
	}
}

// What is wrong with a file or with the key is told with the fix, and never with a
// word of what stands in them.
func TestTrouble(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, s *Store, p config.Paths)
		want   string
	}{
		{"open to others", func(t *testing.T, s *Store, p config.Paths) { must(t, os.Chmod(s.File(""), 0o644)) }, "chmod 600"},
		{"the key open to others", func(t *testing.T, s *Store, p config.Paths) { must(t, os.Chmod(filepath.Join(p.KeyDir, "key"), 0o640)) }, "chmod 600"},
		{"no key", func(t *testing.T, s *Store, p config.Paths) { must(t, os.Remove(filepath.Join(p.KeyDir, "key"))) }, "there is no key"},
		{"another key", func(t *testing.T, s *Store, p config.Paths) {
			must(t, os.RemoveAll(p.KeyDir))
			_, err := s.Save("other", key("x"))
			must(t, err)
		}, "fix: nanoclaw logout claude, then"},
		{"no key at all", func(t *testing.T, s *Store, p config.Paths) {
			must(t, os.WriteFile(filepath.Join(p.KeyDir, "key"), []byte("sk-hunter2"), 0o600))
		}, "holds no key"},
		{"changed", func(t *testing.T, s *Store, p config.Paths) {
			data, err := os.ReadFile(s.File(""))
			must(t, err)
			data[len(data)-1] ^= 1
			must(t, os.WriteFile(s.File(""), data, 0o600))
		}, "fix: nanoclaw logout claude, then"},
		{"not encrypted", func(t *testing.T, s *Store, p config.Paths) {
			must(t, os.WriteFile(s.File(""), []byte(`{"kind":"api-key","value":"hunter2","endpoint":"e"}`), 0o600))
		}, "cannot be opened"},
		{"a link", func(t *testing.T, s *Store, p config.Paths) {
			must(t, os.Remove(s.File("")))
			must(t, os.Symlink("/etc/passwd", s.File("")))
		}, "symbolic link"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, p := newStore(t, nil)
			_, err := s.Save("", key("sk-hunter2"))
			must(t, err)
			tt.damage(t, s, p)
			if c, err := s.Load(""); c != nil || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, %v; want %q", c, err, tt.want)
			}
		})
	}
}

// Backup of the configuration and the data, which is what is copied: without the
// folder of the key it opens nothing.
func TestCopyWithoutKey(t *testing.T) {
	s, p := newStore(t, nil)
	_, err := s.Save("", key("sk-hunter2"))
	must(t, err)
	there, q := newStore(t, nil)
	must(t, os.CopyFS(filepath.Join(q.ConfigDir, "credentials"), os.DirFS(filepath.Join(p.ConfigDir, "credentials"))))
	must(t, os.Chmod(there.File(""), 0o600))
	must(t, os.Chmod(filepath.Dir(there.File("")), 0o700))
	if c, err := there.Load(""); c != nil || err == nil || !strings.Contains(err.Error(), "there is no key") {
		t.Errorf("opened a copy: %v, %v", c, err)
	}
}

// Where systemd hands the key to the service, a login from a shell stores without
// having it.
func TestServiceKey(t *testing.T) {
	env := map[string]string{}
	s, p := newStore(t, env)
	_, err := s.Save("", key("first"))
	must(t, err)
	dir := t.TempDir()
	must(t, os.Rename(filepath.Join(p.KeyDir, "key"), filepath.Join(dir, ServiceKey)))
	if _, err := s.Save("", key("second")); err != nil {
		t.Errorf("a login without the key: %v", err)
	}
	if c, err := s.Load(""); c != nil || err == nil {
		t.Errorf("without the key: %v, %v", c, err)
	}
	env["CREDENTIALS_DIRECTORY"] = dir
	if c, err := s.Load(""); err != nil || c == nil || c.Value != "second" {
		t.Errorf("the service: %v, %v", c, err)
	}
	if got := s.KeyPlace(); got != filepath.Join(dir, ServiceKey) {
		t.Errorf("the key is at %s", got)
	}
}

// The file of an earlier version goes on working, and is encrypted at the first
// chance.
func TestMigrate(t *testing.T) {
	const text = `{"kind":"api-key","value":"sk-hunter2","endpoint":"https://api.example"}`
	s, p := newStore(t, nil)
	plain := filepath.Join(p.ConfigDir, "credential.json")
	if did, err := s.Migrate(); did || err != nil {
		t.Errorf("nothing to do: %v, %v", did, err)
	}
	must(t, os.WriteFile(plain, []byte(text), 0o600))
	loads := func() {
		t.Helper()
		if c, err := s.Load(""); err != nil || c == nil || !c.Same(key("sk-hunter2")) {
			t.Errorf("got %v, %v", c, err)
		}
	}
	loads()
	if names, err := s.Names(); err != nil || !cmp.Equal(names, []string{""}) {
		t.Errorf("names %q, %v", names, err)
	}
	for _, want := range []bool{true, false} {
		if did, err := s.Migrate(); did != want || err != nil {
			t.Errorf("migrated: %v, %v; want %v", did, err, want)
		}
		loads()
		if _, err := os.Lstat(plain); !os.IsNotExist(err) {
			t.Errorf("the plain file is still there: %v", err)
		}
	}
	// A migration that was cut off after the encrypted file stood.
	must(t, os.WriteFile(plain, []byte(strings.Replace(text, "sk-hunter2", "old", 1)), 0o600))
	if _, err := s.Migrate(); err != nil {
		t.Error(err)
	}
	loads()
	// A new login takes the old file away.
	must(t, os.WriteFile(plain, []byte(text), 0o600))
	_, err := s.Save("", key("new"))
	must(t, err)
	if _, err := os.Lstat(plain); !os.IsNotExist(err) {
		t.Errorf("the plain file outlived a login: %v", err)
	}
	// And so does a logout.
	must(t, os.WriteFile(plain, []byte(text), 0o600))
	if was, err := s.Remove(""); !was || err != nil {
		t.Errorf("removed: %v, %v", was, err)
	}
	if c, err := s.Load(""); c != nil || err != nil {
		t.Errorf("after the logout: %v, %v", c, err)
	}
	for name, bad := range map[string]string{
		"empty": "", "no JSON": "sk-hunter2", "another kind": `{"kind":"hunter2","value":"v","endpoint":"e"}`, "no value": `{"kind":"api-key","endpoint":"e"}`,
		"no endpoint": `{"kind":"api-key","value":"hunter2"}`, "more": `{"kind":"api-key","value":"hunter2","endpoint":"e","hunter2":1}`,
	} {
		must(t, os.WriteFile(plain, []byte(bad), 0o600))
		if c, err := s.Load(""); c != nil || err == nil || !strings.Contains(err.Error(), "fix: nanoclaw logout") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

// A renewed token never takes the place of what the owner stored meanwhile, and of
// many who renew at once one wins.
func TestRenew(t *testing.T) {
	s, _ := newStore(t, nil)
	_, err := s.Save("", key("old"))
	must(t, err)
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			switch err := s.Renew("", key("old"), key(fmt.Sprint("next", i))); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ErrChanged):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d renewals were stored, want 1", won.Load())
	}
	_, err = s.Save("", key("of the owner"))
	must(t, err)
	if err := s.Renew("", key("old"), key("late")); !errors.Is(err, ErrChanged) {
		t.Errorf("a late renewal: %v", err)
	}
	if c, err := s.Load(""); err != nil || c.Value != "of the owner" {
		t.Errorf("got %v, %v", c, err)
	}
	_, err = s.Remove("")
	must(t, err)
	if err := s.Renew("", key("of the owner"), key("late")); !errors.Is(err, ErrChanged) {
		t.Errorf("a renewal after the logout: %v", err)
	}
}

func TestNeverPrintsItsValue(t *testing.T) {
	c := Credential{Kind: APIKey, Value: "sk-hunter2", Endpoint: "https://api.example", Refresh: "hunter2"}
	var all bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&all, verb+" "+verb+" "+verb+"\n", c, &c, struct{ C *Credential }{&c})
	}
	slog.New(slog.NewJSONHandler(&all, nil)).Info("x", "c", c, "p", &c)
	slog.New(slog.NewTextHandler(&all, nil)).Info("x", "c", c, "p", &c)
	j, err := json.Marshal([]any{c, &c})
	if err != nil {
		t.Fatal(err)
	}
	all.Write(j)
	if out := all.String(); strings.Contains(out, "hunter2") || strings.Contains(out, fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("the value was printed:\n%s", out)
	}
}
