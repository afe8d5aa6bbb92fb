package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/install"
	"nanoclaw/internal/store/storetest"
)

func TestMain(m *testing.M) {
	program := func(change func(*app)) func() {
		return func() {
			a := newApp()
			a.open = func(ctx context.Context, o hostOptions) (host, error) {
				o.containerProgram = "/nonexistent/podman" // what this machine has is not for tests
				return openWith(ctx, o, initUnderTest)
			}
			// An upgrade replaces a program that a script made, and never the tests' own.
			a.program = func() (string, error) { return os.Getenv("PROGRAM"), nil }
			version = os.Getenv("PROGRAM_VERSION")
			change(a)
			os.Exit(a.run(os.Args[1:]))
		}
	}
	testscript.Main(m, map[string]func(){
		"nanoclaw":     program(func(*app) {}),
		"old-nanoclaw": oldNanoClaw,
		// The same, for which a small text is Claude Code.
		"nanoclaw-pinned": program(func(a *app) {
			a.claude = func() (install.Package, error) { return tinyClaude().pin, nil }
		}),
	})
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
	registry, model := tinyRegistry(t), keyedModel(t)
	releases := tinyReleases(t)
	server, err := storetest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Remove(); err != nil {
			t.Error(err)
		}
	})
	database := strings.Replace(server.Address("postgres"), "nanoclaw@", "nanoclaw:hunter2@", 1)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			for name, value := range map[string]string{
				boundarytest.EnvInit: init,
				"NANOCLAW_HOME":      e.WorkDir + "/home", "HOME": e.WorkDir,
				"OWNER_SECRET": "canary-in-the-environment",
				"DATABASE":     database,
				"RELEASES":     releases, "PROGRAM": e.WorkDir + "/nanoclaw", "PROGRAM_VERSION": "v1.0.0",
				"REGISTRY": registry, "MODEL": model, "npm_config_registry": registry + "/nowhere",
				"HTTP_PROXY": "", "http_proxy": "",
				// Nothing of the machine that runs the tests decides what they see.
				"ANTHROPIC_API_KEY": "", "ANTHROPIC_AUTH_TOKEN": "", "CLAUDE_CODE_OAUTH_TOKEN": "", "ANTHROPIC_BASE_URL": "",
			} {
				e.Setenv(name, value)
			}
			return nil
		},
	})
}
