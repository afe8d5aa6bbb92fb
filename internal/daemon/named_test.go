package daemon

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/grant"
)

// A question names the files of a call by what is in them, wherever the agent's
// paths lead; its links lead nowhere, and nothing of it is waited for.
func TestNamed(t *testing.T) {
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("secret"), 0o600))
	must(t, os.MkdirAll(filepath.Join(dir, "scripts"), 0o700))
	for name, text := range map[string]string{"scripts/build.sh": "make", "a.txt": "a"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	must(t, os.Symlink(secret, filepath.Join(dir, "link")))
	must(t, os.Symlink(filepath.Dir(secret), filepath.Join(dir, "folder")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Truncate(func() string { p := filepath.Join(dir, "large"); must(t, os.WriteFile(p, nil, 0o600)); return p }(), maxHashed+1))
	g := grant.Grant{Mounts: []grant.Mount{{Target: grant.Workspace, Source: dir}, {Target: grant.Home, Source: dir}}}
	sum := func(s string) string {
		return fmt.Sprintf("sha256 %x, %d bytes, as it is now", sha256.Sum256([]byte(s)), len(s))
	}
	tests := []struct {
		name, tool, input, dir string
		want                   []string // in the parts, one each
	}{
		{"a script", "Bash", `{"command":"bash -x scripts/build.sh --fast"}`, "", []string{grant.Workspace + "/scripts/build.sh\n" + sum("make")}},
		{"from another folder", "Bash", `{"command":"./build.sh|tee out"}`, grant.Workspace + "/scripts", []string{"/scripts/build.sh\n" + sum("make")}},
		{"by its whole path, in quotes", "Bash", `{"command":"sh -c 'source /workspace/group/a.txt'"}`, "", []string{"a.txt\n" + sum("a")}},
		{"in the home", "Bash", `{"command":"~/a.txt;~/a.txt"}`, "", []string{grant.Home + "/a.txt\n" + sum("a")}},
		{"no file", "Bash", `{"command":"ls -l /etc/shadow nothing .. scripts"}`, "", nil},
		{"links and pipes", "Bash", `{"command":"cat link folder/secret fifo ../x"}`, "", nil},
		{"too large", "Bash", `{"command":"sh large"}`, "", []string{"bytes, too large"}},
		{"a file that changes", "Edit", `{"file_path":"/workspace/group/a.txt"}`, "", []string{"a.txt\n" + sum("a")}},
		{"a file that is new", "Write", `{"file_path":"/workspace/group/b.txt","content":"b"}`, "", []string{"b.txt\nis not there yet"}},
		{"a link that is written", "Write", `{"file_path":"/workspace/group/link","content":"b"}`, "", []string{"link\ncannot be looked at"}},
		{"beyond the grant", "Write", `{"file_path":"/etc/passwd","content":"b"}`, "", []string{"/etc/passwd\ncannot be looked at"}},
		{"the web", "WebFetch", `{"url":"https://Example.com:8443/a%2fb?q=1"}`, "", []string{"Example.com:8443/a%2fb"}},
		{"no JSON", "Bash", `ls`, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := named(g, g, agent.ToolCall{Name: tt.tool, Input: json.RawMessage(tt.input), Dir: tt.dir})
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for i, p := range got {
				if !strings.Contains(p.Value, tt.want[i]) {
					t.Errorf("got %q, want %q", p.Value, tt.want[i])
				}
			}
		})
	}
}

// What is looked at is bounded, whatever a command names.
func TestNamedIsBounded(t *testing.T) {
	dir := t.TempDir()
	var all []string
	for i := range maxNamed + 4 {
		all = append(all, fmt.Sprintf("f%02d", i))
		must(t, os.WriteFile(filepath.Join(dir, all[i]), []byte("x"), 0o600))
	}
	g := grant.Grant{Mounts: []grant.Mount{{Target: grant.Workspace, Source: dir}}}
	raw, err := json.Marshal(map[string]string{"command": "cat " + strings.Join(all, " ") + strings.Repeat(" x y", 10_000)})
	must(t, err)
	got := named(g, g, agent.ToolCall{Name: "Bash", Input: raw})
	if len(got) != maxNamed+1 || !strings.Contains(got[maxNamed].Value, "more files") {
		t.Errorf("%d parts, the last %q", len(got), got[len(got)-1].Value)
	}
}
