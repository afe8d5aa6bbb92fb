package nanoclaw_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// platforms are the systems that we build for.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"}

// env makes the variables that choose a platform.
func env(platform string) []string {
	system, arch, _ := strings.Cut(platform, "/")
	return []string{"GOOS=" + system, "GOARCH=" + arch}
}

// The init runs on the untrusted side. What it links is what somebody finds
// there who has taken it over, so its whole closure is written down. Packages
// of the standard library that only it can import are left out.
func TestTheInitLinksOnlyWhatIsListed(t *testing.T) {
	var closure []string
	for _, platform := range platforms[:2] {
		for _, p := range goTool(t, env(platform), "list", "-deps", "./cmd/nanoclaw-init") {
			if std := !strings.Contains(p, ".") && !strings.HasPrefix(p, module+"/"); strings.HasPrefix(p, "vendor/") || std && strings.Contains("/"+p+"/", "/internal/") {
				continue
			}
			closure = append(closure, p)
		}
	}
	slices.Sort(closure)
	closure = slices.Compact(closure)
	for _, never := range []string{"net/http", "os/exec", "database/sql", "crypto/tls", "plugin"} {
		if slices.Contains(closure, never) {
			t.Errorf("nanoclaw-init links %s", never)
		}
	}
	golden(t, "testdata/init-deps.txt", strings.Join(closure, "\n")+"\n")
}

// modernc.org/libc is generated together with modernc.org/sqlite; another
// version of it corrupts memory instead of failing.
func TestLibcIsTheOneThatSQLiteWasMadeFor(t *testing.T) {
	const sqlite, libc = "modernc.org/sqlite", "modernc.org/libc"
	chosen := goTool(t, nil, "list", "-m", "-f", "{{.Version}}", libc)[0]
	dir := goTool(t, nil, "list", "-m", "-f", "{{.Dir}}", sqlite)[0]
	file := filepath.Join(dir, "go.mod")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := modfile.Parse(file, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range parsed.Require {
		if r.Mod.Path == libc {
			if r.Mod.Version != chosen {
				t.Errorf("go.mod chooses %s %s, but this %s was made for %s", libc, chosen, sqlite, r.Mod.Version)
			}
			return
		}
	}
	t.Errorf("%s does not require %s", file, libc)
}
