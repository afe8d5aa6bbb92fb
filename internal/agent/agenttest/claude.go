package agenttest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nanoclaw/internal/agent"
)

// Claude gives the path of the pinned real Claude Code (agent.ClaudeVersion).
//
// It is NANOCLAW_TEST_CLAUDE if that is set, else the one in the user's cache
// folder, where the platform's package is installed with npm the first time.
// The test fails, and says how to go on, if the program cannot be had. Its
// licence is its own: it is fetched, and never becomes part of this project.
func Claude(tb testing.TB) string {
	tb.Helper()
	path, err := findClaude(tb.Context())
	if err != nil {
		tb.Fatalf("this test drives the real Claude Code %s: %v\nInstall it and set NANOCLAW_TEST_CLAUDE to its path.", agent.ClaudeVersion, err)
	}
	return path
}

func findClaude(ctx context.Context) (string, error) {
	if path := os.Getenv("NANOCLAW_TEST_CLAUDE"); path != "" {
		return path, check(ctx, path)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "nanoclaw-test", "claude-"+agent.ClaudeVersion)
	path := filepath.Join(dir, "node_modules", "@anthropic-ai", platformPackage(), "claude")
	unlock, err := lock(dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	if check(ctx, path) == nil {
		return path, nil
	}
	if err := install(ctx, dir); err != nil {
		return "", err
	}
	return path, check(ctx, path)
}

// lock keeps two tests from installing at once.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

func install(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	what := "@anthropic-ai/" + platformPackage() + "@" + agent.ClaudeVersion
	cmd := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-save", "--prefix", dir, what)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm install %s: %w\n%s", what, err, out)
	}
	return nil
}

// check makes sure that the program is there and of the pinned version.
func check(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = []string{"HOME=/nonexistent", "PATH=/usr/bin:/bin"}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s --version: %w", path, err)
	}
	if v, _, _ := strings.Cut(strings.TrimSpace(string(out)), " "); v != agent.ClaudeVersion {
		return fmt.Errorf("%s is version %q", path, v)
	}
	return nil
}

// ClaudeOptions are what the real Claude Code needs as a plain child of a test:
// a home of its own, the scripted model, and leave to run as root.
func ClaudeOptions(tb testing.TB, m *Model) agent.Options {
	tb.Helper()
	home, work := tb.TempDir(), tb.TempDir()
	env := []string{
		"HOME=" + home, "PATH=/usr/bin:/bin", "TMPDIR=" + tb.TempDir(), "CLAUDE_CONFIG_DIR=" + filepath.Join(home, ".claude"),
		"CLAUDE_CODE_TMPDIR=" + tb.TempDir(), "ANTHROPIC_BASE_URL=" + m.URL, "IS_SANDBOX=1", "CLAUDE_CODE_MAX_RETRIES=1",
	}
	for _, v := range agent.ClaudeEnv() {
		switch v.Name {
		case "CLAUDE_CONFIG_DIR", "ANTHROPIC_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy":
		default:
			env = append(env, v.Name+"="+v.Value)
		}
	}
	return agent.Options{Argv0: Claude(tb), Env: env, Dir: work}
}

// Tool makes an Options.Tool of a function that gives the reason to refuse, ""
// for none.
func Tool(refuse func(agent.ToolCall) string) func(context.Context, agent.ToolCall) agent.ToolVerdict {
	return func(_ context.Context, c agent.ToolCall) agent.ToolVerdict { return agent.ToolVerdict{Deny: refuse(c)} }
}
