package nanoclaw_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// files lists what belongs to the repository: what git tracks or would track,
// or, in a copy without git, everything that is not built or fetched.
func files(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err == nil {
		var list []string
		for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
			info, err := os.Lstat(name)
			if err != nil {
				continue // removed, and not committed so yet
			}
			if !info.Mode().IsRegular() {
				// A link to somewhere on one machine is broken on every other.
				t.Errorf("%s is %s, and the repository has files alone", name, info.Mode().Type())
				continue
			}
			list = append(list, name)
		}
		return list
	}
	var list []string
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "bin" || path == "tools/bin" || path == "tools/docker/root" || d.Name() == "node_modules" || d.Name() == ".git"):
			return fs.SkipDir
		case d.Type().IsRegular() && !strings.HasPrefix(d.Name(), "nanoclaw-init-"):
			list = append(list, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// unwanted are words that have no place in the repository. They are written
// in pieces, so that this file does not hold them.
var unwanted = []struct {
	reason string
	match  *regexp.Regexp
}{
	{"a path of one machine", regexp.MustCompile(`(^|[^a-zA-Z0-9_.~-])/(wo` + `rk/|fa` + `rm/|ro` + `ot/\.|tmp/(br` + `ief|ba` + `sh_jobs))`)},
	{"unfinished work: finish it, or write it into docs/rough-edges.md", regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)},
	{"a number that only we can look up: say what it is about", regexp.MustCompile(`(?i)\biss` + `ue #?[0-9]+\b`)},
	{"a test that does not run proves nothing: make it able to run", regexp.MustCompile(`\b[tb]\.Sk` + `ip(f|Now)?\(`)},
}

func TestUnwantedWords(t *testing.T) {
	list := files(t)
	if len(list) < 10 {
		t.Fatalf("only %d files found", len(list))
	}
	for _, name := range list {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(data, 0) >= 0 {
			continue // not text
		}
		number := 0
		for line := range strings.Lines(string(data)) {
			number++
			for _, u := range unwanted {
				if found := u.match.FindString(line); found != "" {
					t.Errorf("%s:%d: %q is %s", name, number, found, u.reason)
				}
			}
		}
	}
}
