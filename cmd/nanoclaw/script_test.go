package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"nanoclaw/internal/boundary/boundarytest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"nanoclaw": main})
}

// The scripts run the real program, each with a home of its own. Where the
// build put no nanoclaw-init into the program it finds the one beside it, so
// the scripts always meet the init of the sources under test.
func TestScripts(t *testing.T) {
	placeInit(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			for name, value := range map[string]string{
				"NANOCLAW_HOME": e.WorkDir + "/home", "HOME": e.WorkDir,
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

// placeInit puts nanoclaw-init beside the test binary.
func placeInit(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(self), "nanoclaw-init")
	if err := os.WriteFile(path, boundarytest.Init(t), 0o755); err != nil {
		t.Fatal(fmt.Errorf("placing the init: %w", err))
	}
}
