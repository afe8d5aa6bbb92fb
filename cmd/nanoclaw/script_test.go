package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"nanoclaw/internal/boundary/boundarytest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"nanoclaw": func() {
		a := newApp()
		a.open = func(ctx context.Context, o hostOptions) (host, error) { return openWith(ctx, o, initUnderTest) }
		os.Exit(a.run(os.Args[1:]))
	}})
}

// initUnderTest is the init that TestScripts built.
func initUnderTest() (io.ReadSeekCloser, error) { return os.Open(os.Getenv(boundarytest.EnvInit)) }

// The scripts run the real program, each with a home of its own, and with the
// nanoclaw-init of the sources under test: what an earlier build embedded may be
// another.
func TestScripts(t *testing.T) {
	init := filepath.Join(t.TempDir(), "nanoclaw-init")
	if err := os.WriteFile(init, boundarytest.Init(t), 0o755); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			for name, value := range map[string]string{
				boundarytest.EnvInit: init,
				"NANOCLAW_HOME":      e.WorkDir + "/home", "HOME": e.WorkDir,
				"OWNER_SECRET": "canary-in-the-environment",
				// Nothing of the machine that runs the tests decides what they see.
				"ANTHROPIC_API_KEY": "", "ANTHROPIC_AUTH_TOKEN": "", "CLAUDE_CODE_OAUTH_TOKEN": "", "ANTHROPIC_BASE_URL": "",
			} {
				e.Setenv(name, value)
			}
			return nil
		},
	})
}
