// Package boundarytest helps tests that start real boundaries. It builds the
// nanoclaw-init that belongs to the sources under test.
package boundarytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// EnvInit names the variable with the path of a ready init, for test binaries
// that are run by another one as a user who cannot build.
const EnvInit = "NANOCLAW_TEST_INIT"

// Init gives the nanoclaw-init of this source tree, built once for each test
// binary.
func Init(tb testing.TB) []byte {
	tb.Helper()
	program, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return program
}

var build = sync.OnceValues(func() ([]byte, error) {
	if path := os.Getenv(EnvInit); path != "" {
		return os.ReadFile(path)
	}
	return Build()
})

// Build builds an init with further build tags.
func Build(tags ...string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "nanoclaw-init-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "nanoclaw-init")
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", out}
	for _, t := range tags {
		args = append(args, "-tags", t)
	}
	cmd := exec.Command("go", append(args, "nanoclaw/cmd/nanoclaw-init")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}
