package nanoclaw_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The first of the README's two commands, in a copy of the tree where nothing
// was built, as somebody does who has just cloned it: the message is written
// into a pipe, and what comes out is the answer from inside and nothing else.
func TestFirstRunFromAFreshClone(t *testing.T) {
	tree, home := copyTree(t), t.TempDir()
	const planted = "planted-4c1f"
	for _, name := range []string{".ssh/id_ed25519", ".aws/credentials"} {
		plant(t, filepath.Join(home, name), planted)
	}
	plant(t, filepath.Join(tree, ".env"), planted)

	message := "id -u; echo home:; ls -A ~; cat /etc/shadow; cat /proc/1/environ; " +
		"cat " + filepath.Join(home, ".ssh/id_ed25519") + " " + filepath.Join(tree, ".env") + "; env\n"
	// -i and -j come from outside on some machines and must not matter.
	stdout, stderr := runMake(t, tree, home, message, "-s", "-j4", "run")

	first, rest, _ := strings.Cut(stdout, "\n")
	if first != "1000" {
		t.Errorf("the first line of the answer is %q; want 1000\nstdout:\n%s\nstderr:\n%s", first, stdout, stderr)
	}
	listing, _, ok := strings.Cut(rest, "cat: ")
	if !ok || !strings.HasPrefix(listing, "home:\n") || strings.Contains(listing, ".ssh") || strings.Contains(listing, ".aws") {
		t.Errorf("the answer goes on with\n%s\nwant the listing of the group's own home", rest)
	}
	for _, never := range []string{planted, "root:", "PLANTED_SECRET"} {
		if strings.Contains(stdout, never) {
			t.Errorf("the answer holds %q:\n%s", never, stdout)
		}
	}
	for _, refusal := range []string{"/etc/shadow", "/proc/1/environ", "id_ed25519"} {
		if !strings.Contains(stdout, refusal+": ") {
			t.Errorf("the answer tells no refusal of %s:\n%s", refusal, stdout)
		}
	}

	verify, stderr := nanoclaw(t, tree, home, "audit", "verify", "--json")
	if !strings.Contains(verify, `"ok": true`) && !strings.Contains(verify, `"ok":true`) {
		t.Errorf("audit verify says\n%s\n%s", verify, stderr)
	}
	story, _ := nanoclaw(t, tree, home, "audit", "list")
	at := 0
	for _, part := range []string{"message from owner", "run started, agent shell, mode host", "boundary native stands", "run succeeded", "delivered"} {
		next := strings.Index(story[at:], part)
		if next < 0 {
			t.Fatalf("audit list does not tell %q after what came before:\n%s", part, story)
		}
		at += next
	}
	attack(t, tree, home)
	secureByDefault(t, tree)
}

// attack has all attacks tried by the program as it is shipped: one of root's
// has given up most of its privileges by then, which no other test's has.
func attack(t *testing.T, tree, home string) {
	t.Helper()
	text, _ := nanoclaw(t, tree, home, "doctor", "--attack", "--json")
	var report struct {
		Engines []struct {
			Engine string
			Lines  []struct {
				Line, State, Detail string
				Good                bool
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil || len(report.Engines) != 2 {
		t.Fatalf("attacked %d engines, %v:\n%s", len(report.Engines), err, text)
	}
	for _, e := range report.Engines {
		if len(e.Lines) < 120 {
			t.Errorf("%s: %d lines", e.Engine, len(e.Lines))
		}
		for _, l := range e.Lines {
			if !l.Good {
				t.Errorf("%s on %s: %s: %s", l.Line, e.Engine, l.State, l.Detail)
			}
		}
	}
}

// copyTree copies what belongs to the repository into a new folder.
func copyTree(t *testing.T) string {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "nanoclaw")
	for _, name := range files(t) {
		info, err := os.Stat(name)
		if err != nil {
			continue // removed meanwhile by somebody who works in the tree
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func plant(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// runMake runs make as a person's shell would, with a home of its own and a
// secret in the environment.
func runMake(t *testing.T, tree, home, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	return start(t, tree, home, strings.NewReader(stdin), "make", args...)
}

func nanoclaw(t *testing.T, tree, home string, args ...string) (stdout, stderr string) {
	t.Helper()
	return start(t, tree, home, nil, filepath.Join(tree, "bin", "nanoclaw"), args...)
}

func start(t *testing.T, tree, home string, stdin io.Reader, program string, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = tree
	cmd.Stdin = stdin
	cmd.Env = freshEnv(t, home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\nstdout:\n%s\nstderr:\n%s", program, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// freshEnv is the environment of somebody who has Go and nothing else of ours.
// NANOCLAW_HOME keeps the state of a root user out of the machine's folders.
func freshEnv(t *testing.T, home string) []string {
	t.Helper()
	env := []string{"HOME=" + home, "NANOCLAW_HOME=" + filepath.Join(home, "nanoclaw"), "PLANTED_SECRET=x", "LANG=C.UTF-8", "PATH=" + os.Getenv("PATH")}
	names := []string{"GOCACHE", "GOMODCACHE", "GOPROXY"}
	for i, value := range goTool(t, nil, append([]string{"env"}, names...)...) {
		env = append(env, names[i]+"="+value)
	}
	return env
}
