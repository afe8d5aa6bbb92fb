package nanoclaw_test

import (
	"bufio"
	"encoding/json"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// secureByDefault starts the program as it is shipped on a home where nothing of it
// was, changes nothing, and looks at what it opened, wrote, shows and permits.
func secureByDefault(t *testing.T, tree string) {
	t.Helper()
	home := t.TempDir()
	const secret = "sk-planted-51c7"
	program := filepath.Join(tree, "bin", "nanoclaw")
	cmd := exec.Command(program, "run", "--verbose")
	cmd.Env = append(freshEnv(t, home), "ANTHROPIC_API_KEY="+secret)
	log, err := os.Create(filepath.Join(home, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	ready, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(ready, "ready") {
		t.Fatalf("it says %q, %v", ready, err)
	}

	answers(t, program, tree, home)
	privateFiles(t, filepath.Join(home, "nanoclaw"), secret)
	noSecretShown(t, cmd.Process.Pid, secret, log.Name())
}

// answers asks the program what it permits: no port, nothing but main in host mode,
// no way out, nobody but the owner, and an audit log that holds.
func answers(t *testing.T, program, tree, home string) {
	t.Helper()
	text, _ := nanoclaw(t, tree, home, "doctor", "--no-probe", "--json")
	var report struct {
		Checks []struct{ Name, State, Detail string }
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"network ports": "none is open", "host mode": "for main", "private files": "all the owner's alone",
		"config folder": home, "data folder": home, "socket folder": home,
	}
	for _, c := range report.Checks {
		if part, ok := want[c.Name]; ok {
			delete(want, c.Name)
			if c.State != "ok" || !strings.HasSuffix(c.Detail, part) && !strings.HasPrefix(c.Detail, part) {
				t.Errorf("doctor: %s is %s: %s; want %q", c.Name, c.State, c.Detail, part)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("doctor does not tell of %v", want)
	}
	if people, said := nanoclaw(t, tree, home, "people", "list"); !strings.Contains(people+said, "nobody but you") {
		t.Errorf("people list: %s%s", people, said)
	}
	if verify, _ := nanoclaw(t, tree, home, "audit", "verify", "--json"); !strings.Contains(strings.ReplaceAll(verify, " ", ""), `"ok":true`) {
		t.Errorf("audit verify: %s", verify)
	}
	for _, question := range []string{"example.com", "http://10.0.0.1/", "/etc/shadow", "/etc/nanoclaw/config.jsonc", "write:/usr/bin/x", "$ANTHROPIC_API_KEY"} {
		ask := exec.Command(program, "policy", "explain", "--group", "main", question)
		ask.Env = freshEnv(t, home)
		answer, err := ask.CombinedOutput()
		if ask.ProcessState == nil || ask.ProcessState.ExitCode() != 3 {
			t.Errorf("main may touch %s: %v\n%s", question, err, answer)
		}
	}
	added, _ := nanoclaw(t, tree, home, "group", "add", "visitors", "--chat", "slack:T1/C1")
	if !strings.Contains(added, "+ mode container") {
		t.Errorf("a new group is not in container mode:\n%s", added)
	}
	for line := range strings.Lines(added) {
		if strings.HasPrefix(line, "+ egress ") && !strings.HasPrefix(line, "+ egress at most ") {
			t.Errorf("a new group may go out: %s", line)
		}
	}
}

// privateFiles checks the modes of all that was written, and that the secret is
// nowhere in it. What lies in a closed folder may say of itself what it likes.
func privateFiles(t *testing.T, dir, secret string) {
	t.Helper()
	sockets := 0
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil // gone meanwhile
		}
		depth := strings.Count(strings.TrimPrefix(file, dir), "/")
		if open := info.Mode().Perm()&0o077 != 0; open && depth < 2 {
			t.Errorf("%s is open to others: %v", file, info.Mode())
		}
		switch {
		case d.Type()&fs.ModeSocket != 0:
			sockets++
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("the socket %s is open to others: %v", file, info.Mode())
			}
			if c, err := net.Dial("unix", file); err != nil {
				t.Errorf("the socket %s: %v", file, err)
			} else {
				c.Close()
			}
		case d.Type().IsRegular():
			if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), secret) {
				t.Errorf("the secret is in %s", file)
			}
		}
		return nil
	})
	if err != nil || sockets != 1 {
		t.Errorf("%d sockets, %v; want the control socket", sockets, err)
	}
}

// noSecretShown: neither the log nor the list of processes shows the secret.
func noSecretShown(t *testing.T, daemon int, secret, log string) {
	t.Helper()
	if text, err := os.ReadFile(log); err != nil || len(text) == 0 || strings.Contains(string(text), secret) {
		t.Errorf("the log, %v:\n%s", err, text)
	}
	seen := false
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	own := regexp.MustCompile(`bin/nanoclaw\x00run`)
	for _, file := range lines {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended
		}
		seen = seen || own.Match(text)
		if strings.Contains(string(text), secret) {
			t.Errorf("%s shows the secret: %q", file, text)
		}
	}
	if !seen {
		t.Errorf("the daemon, process %d, is in no list", daemon)
	}
}
