package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample is the file as version 1 documented it.
const sample = `{
  "allowedRoots": [
    {"path": "~/projects", "allowReadWrite": true, "description": "Development projects"},
    {"path": "/data/photos", "allowReadWrite": false}
  ],
  "blockedPatterns": ["password", "secret"],
  "nonMainReadOnly": true
}`

func TestParseMountAllowlist(t *testing.T) {
	got, err := ParseMountAllowlist([]byte(sample))
	want := &MountAllowlist{
		AllowedRoots:    []AllowedRoot{{"~/projects", true, "Development projects"}, {Path: "/data/photos"}},
		BlockedPatterns: []string{"password", "secret"}, NonMainReadOnly: true,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for name, tt := range map[string]struct{ from, to, want string }{
		"no roots":              {`"allowedRoots"`, `"roots"`, "allowedRoots must be there"},
		"another case":          {`"nonMainReadOnly"`, `"nonmainreadonly"`, "nonMainReadOnly must be there"},
		"no names":              {`["password", "secret"]`, `null`, "blockedPatterns must be there"},
		"a name":                {`["password", "secret"]`, `"password"`, "blockedPatterns must be there"},
		"names of numbers":      {`"secret"]`, `1]`, "blockedPatterns must be there"},
		"an empty name":         {`"secret"]`, `""]`, "blockedPatterns[1] must be a name"},
		"only slashes":          {`"secret"]`, `"//"]`, "blockedPatterns[1] must be a name"},
		"a word for true":       {`"nonMainReadOnly": true`, `"nonMainReadOnly": "true"`, "nonMainReadOnly must be there"},
		"a word for a root":     {`{"path": "/data/photos", "allowReadWrite": false}`, `"/data/photos"`, "allowedRoots must be there"},
		"a relative root":       {`"/data/photos"`, `"photos"`, "allowedRoots[1].path"},
		"a root without a path": {`"path": "/data/photos", `, ``, "allowedRoots[1].path"},
		"a word for writing":    {`"allowReadWrite": true`, `"allowReadWrite": "yes"`, "allowedRoots[0].allowReadWrite"},
		"not whole":             {`"nonMainReadOnly": true` + "\n}", ``, "no JSON object"},
		"more than one":         {`"nonMainReadOnly": true` + "\n}", `"nonMainReadOnly": true}{}`, "no JSON object"},
	} {
		l, err := ParseMountAllowlist([]byte(strings.Replace(sample, tt.from, tt.to, 1)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v, want %q", name, l, err, tt.want)
		}
	}
	if _, err := ParseMountAllowlist([]byte(strings.Replace(sample, `{`, `{"_comment": [1], `, 1))); err != nil {
		t.Errorf("a field that version 1 did not know: %v", err)
	}
	if _, err := ParseMountAllowlist([]byte(sample + strings.Repeat(" ", maxAllowlist))); err == nil {
		t.Error("a file without bounds was read")
	}
}

func TestReadMountAllowlist(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if l, _, err := ReadMountAllowlist(dir); !errors.Is(err, fs.ErrNotExist) || l != nil {
		t.Errorf("without a file: %+v, %v", l, err)
	}
	file := filepath.Join(dir, MountAllowlistFile)
	if err := os.WriteFile(file, []byte(sample), 0o644); err != nil { // as version 1 left it
		t.Fatal(err)
	}
	l, was, err := ReadMountAllowlist(dir)
	if err != nil || len(l.AllowedRoots) != 2 {
		t.Fatalf("%+v, %v", l, err)
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if l, _, err := ReadMountAllowlist(dir); err == nil || l == nil || l.Broken == "" {
		t.Errorf("one that everybody can write: %+v, %v", l, err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, is, err := ReadMountAllowlist(dir)
	if err == nil || !strings.Contains(l.Broken, file) || was == is {
		t.Errorf("a torn one: %+v, %v", l, err)
	}
}

func TestMountAllowlistChanges(t *testing.T) {
	parse := func(text string) *MountAllowlist {
		l, err := ParseMountAllowlist([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	was := parse(sample)
	for _, tt := range []struct {
		name    string
		was, is *MountAllowlist
		want    []string
	}{
		{"nothing", was, parse(sample), nil},
		{"none", nil, nil, nil},
		{"a list where none was", nil, was, []string{"shrinks"}},
		{"no list any more", was, nil, []string{"grows"}},
		{"broken", was, &MountAllowlist{Broken: "torn"}, []string{"shrinks", "shrinks", "grows", "grows", "grows", "changes"}},
		{"a root more", was, parse(strings.Replace(sample, `"allowedRoots": [`, `"allowedRoots": [{"path": "/data/music"},`, 1)), []string{"grows"}},
		{"a name more", was, parse(strings.Replace(sample, `"password"`, `"password", "key"`, 1)), []string{"shrinks"}},
		{"others write", was, parse(strings.Replace(sample, `"nonMainReadOnly": true`, `"nonMainReadOnly": false`, 1)), []string{"grows"}},
	} {
		var got []string
		for _, c := range MountAllowlistChanges(tt.was, tt.is) {
			if !c.Security || c.Field[0] != mountAllowlist {
				t.Errorf("%s: %+v", tt.name, c)
			}
			got = append(got, string(c.Sense))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func FuzzParseMountAllowlist(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"allowedRoots": [{}], "blockedPatterns": [""], "nonMainReadOnly": 0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ParseMountAllowlist(data)
		if err != nil {
			return
		}
		for _, r := range l.AllowedRoots {
			if !strings.HasPrefix(r.Path, "/") && !strings.HasPrefix(r.Path, "~") {
				t.Errorf("a root at %q", r.Path)
			}
		}
		if l.Broken != "" {
			t.Errorf("read, and broken: %s", l.Broken)
		}
	})
}
