package boundarytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// EnvGoRoot and EnvGoCache are like EnvInit, for the folder of Go itself and for
// the archive that GoCache makes.
const (
	EnvGoRoot  = "NANOCLAW_TEST_GOROOT"
	EnvGoCache = "NANOCLAW_TEST_GOCACHE"
)

// GoEnv are the variables with which Go compiles what GoCache holds.
var GoEnv = []string{"CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOTOOLCHAIN=local", "GOTELEMETRY=off"}

// GoRoot is the folder of the Go that runs the tests.
func GoRoot(tb testing.TB) string {
	tb.Helper()
	if dir := os.Getenv(EnvGoRoot); dir != "" {
		return dir
	}
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// GoCache gives an archive of a build cache that holds Go's runtime, which takes
// long to compile and shows nothing that a small program does not. It is made
// once for each test binary.
func GoCache(tb testing.TB) []byte {
	tb.Helper()
	return must(tb, goCache)
}

var goCache = sync.OnceValues(func() ([]byte, error) {
	if path := os.Getenv(EnvGoCache); path != "" {
		return os.ReadFile(path)
	}
	dir, err := os.MkdirTemp("", "nanoclaw-go-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println() }\n"), 0o644); err != nil {
		return nil, err
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "program"), source)
	build.Env = append(os.Environ(), append(GoEnv, "GOCACHE="+filepath.Join(dir, "cache"))...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, err
	}
	return exec.Command("tar", "-c", "-C", filepath.Join(dir, "cache"), ".").Output()
})
