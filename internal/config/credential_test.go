package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCredential(t *testing.T) {
	p, err := Locate(Options{Getenv: func(string) string { return t.TempDir() }})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.EnsureDirs(); err != nil {
		t.Fatal(err)
	}
	if c, err := LoadCredential(p); c != nil || err != nil {
		t.Errorf("without one: %v, %v", c, err)
	}
	want := Credential{APIKey, "sk-hunter2", "https://api.example"}
	for _, want.Kind = range []CredentialKind{APIKey, OAuthToken, AuthToken} {
		file, err := SaveCredential(p, want)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(file); err != nil || info.Mode() != 0o600 || filepath.Dir(file) != p.ConfigDir {
			t.Errorf("%s has mode %v, %v", file, info.Mode(), err)
		}
		got, err := LoadCredential(p)
		if err != nil || !cmp.Equal(*got, want) {
			t.Errorf("stored %v, got %v, %v", want, got, err)
		}
	}
	file := credentialFile(p)
	os.Chmod(file, 0o644)
	if _, err := LoadCredential(p); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("open to others: %v", err)
	}
	for name, text := range map[string]string{
		"empty": "", "no JSON": "sk-hunter2", "another kind": `{"kind":"hunter2","value":"v","endpoint":"e"}`, "no value": `{"kind":"api-key","endpoint":"e"}`,
		"no endpoint": `{"kind":"api-key","value":"hunter2"}`, "more": `{"kind":"api-key","value":"hunter2","endpoint":"e","hunter2":1}`,
	} {
		os.WriteFile(file, []byte(text), 0o600)
		os.Chmod(file, 0o600)
		if c, err := LoadCredential(p); c != nil || err == nil || !strings.Contains(err.Error(), "fix: nanoclaw logout") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	for _, want := range []bool{true, false} {
		if was, err := RemoveCredential(p); was != want || err != nil {
			t.Errorf("removed: %v, %v; want %v", was, err, want)
		}
	}
	os.Symlink("/etc/passwd", file)
	if _, err := LoadCredential(p); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a link: %v", err)
	}
	if _, err := SaveCredential(p, want); err != nil {
		t.Errorf("in place of a link: %v", err)
	}
	if info, _ := os.Lstat(file); !info.Mode().IsRegular() {
		t.Errorf("it was written through a link: %v", info.Mode())
	}
}

func TestCredentialNeverPrintsItsValue(t *testing.T) {
	c := Credential{APIKey, "sk-hunter2", "https://api.example"}
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
