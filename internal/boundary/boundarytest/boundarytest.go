// Package boundarytest helps tests that start real boundaries. It builds the
// nanoclaw-init that belongs to the sources under test.
package boundarytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// EnvInit and EnvLayers name variables with the paths of ready programs, for
// test binaries that are run by another one as a user who cannot build.
const (
	EnvInit   = "NANOCLAW_TEST_INIT"
	EnvLayers = "NANOCLAW_TEST_INIT_LAYERS"
)

// Init gives the nanoclaw-init of this source tree, built once for each test
// binary.
func Init(tb testing.TB) []byte {
	tb.Helper()
	return must(tb, plain)
}

// Layers gives an init that leaves out the layers it is told to. Only the tests
// of package boundary can tell it.
func Layers(tb testing.TB) []byte {
	tb.Helper()
	return must(tb, layers)
}

// Liar gives an init that lies to the host as programs inside tell it to, as one
// would that somebody has taken over. Its boundary is the real one.
func Liar(tb testing.TB) []byte {
	tb.Helper()
	return must(tb, liar)
}

var (
	liar   = sync.OnceValues(func() ([]byte, error) { return Build("liartest") })
	plain  = sync.OnceValues(func() ([]byte, error) { return ready(EnvInit) })
	layers = sync.OnceValues(func() ([]byte, error) { return ready(EnvLayers, "layertest") })
)

func must(tb testing.TB, f func() ([]byte, error)) []byte {
	tb.Helper()
	program, err := f()
	if err != nil {
		tb.Fatal(err)
	}
	return program
}

func ready(env string, tags ...string) ([]byte, error) {
	if path := os.Getenv(env); path != "" {
		return os.ReadFile(path)
	}
	return Build(tags...)
}

// Without builds an init that leaves out the steps of these names, whoever starts
// it.
func Without(steps ...string) ([]byte, error) {
	return build("-X main.always="+strings.Join(steps, ","), "layertest")
}

// Build builds an init with build tags.
func Build(tags ...string) ([]byte, error) { return build("", tags...) }

func build(ldflags string, tags ...string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "nanoclaw-init-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "nanoclaw-init")
	args := []string{"build", "-trimpath", "-ldflags=-s -w -E=main.entry " + ldflags, "-o", out}
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
