package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/hostproc"
	"nanoclaw/internal/install"
	"nanoclaw/internal/service"
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
		// The same, on a machine whose service manager is a stand-in of the script's, and
		// whose system user is whoever runs the test.
		"nanoclaw-managed": program(func(a *app) { a.host = standIn }),
		// The same, in an installation of the service's user.
		"nanoclaw-served": program(func(a *app) { a.host = servedHost }),
		// The same, for which a small text is Claude Code.
		"nanoclaw-pinned": program(func(a *app) {
			a.claude = func() (install.Package, error) { return tinyClaude().pin, nil }
		}),
	})
}

// standIn is a machine with programs of the script in place of its own: what is
// started, and how, is what would be started.
func standIn(getenv func(string) string) service.Host {
	h := service.This(getenv)
	manager := getenv("MANAGER")
	h.SystemUnits, h.Booted = filepath.Join(filepath.Dir(manager), "units"), manager
	h.Trusted = func(string) error { return nil }
	h.Lookup = func(string) (int, int, bool, error) { return os.Getuid(), os.Getgid(), true, nil }
	h.Do = func(ctx context.Context, act hostproc.Act, out io.Writer) (string, error) {
		name, args, err := act.Command()
		if err != nil {
			return "", err
		}
		said, err := exec.CommandContext(ctx, filepath.Join(manager, name), args...).Output()
		return string(said), err
	}
	return h
}

// serviceUID stands for the system user: an id that nobody has.
const serviceUID = 64_987

// servedHost is a machine on which somebody without a name has the service's. Its
// manager is a stand-in where a test has one.
func servedHost(getenv func(string) string) service.Host {
	h := service.This(getenv)
	if getenv("MANAGER") != "" {
		h = standIn(getenv)
	}
	h.Lookup = func(string) (int, int, bool, error) { return serviceUID, serviceUID, true, nil }
	return h
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
