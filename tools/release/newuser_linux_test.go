package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Somebody new unpacks an archive by the line of docs/releases.md, in a home where
// nothing is, and talks with a confined agent. "make newuser" goes the whole way, from
// a bare Debian and with Claude Code.
func TestNewUserWithArchive(t *testing.T) {
	r := once(t)
	page, err := os.ReadFile("../../docs/releases.md")
	must(t, err)
	_, rest, ok := strings.Cut(string(page), "\ntar xzf ")
	line, _, ok2 := strings.Cut(rest, "\n")
	if !ok || !ok2 {
		t.Fatal("docs/releases.md does not say how an archive is installed")
	}
	line = "tar xzf " + strings.NewReplacer("VERSION", testVersion, "amd64", host.arch).Replace(line)
	home := t.TempDir()
	must(t, os.Link(filepath.Join(r.out, r.name(host, ".tar.gz")), filepath.Join(home, r.name(host, ".tar.gz"))))
	// NANOCLAW_HOME keeps root's state out of the folders of the machine.
	env := []string{"HOME=" + home, "NANOCLAW_HOME=" + filepath.Join(home, "nanoclaw"), "LANG=C.UTF-8"}
	began := time.Now()
	out, err := script(t, 0, env, `
		cd "$HOME"
		umask 077
		`+line+`
		PATH="$HOME/.local/bin:$PATH"
		nanoclaw doctor
		echo "== chat"
		echo 'id -u; cat /etc/shadow' | nanoclaw chat
		echo "== audit"
		nanoclaw audit verify`)
	t.Logf("%.1f s", time.Since(began).Seconds())
	_, said, _ := strings.Cut(out, "== chat\n")
	if err != nil || !strings.Contains(said, "1000\ncat: /etc/shadow: No such file or directory\n") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, stumble := range []string{"fail  ", "open to others", "do not have: nanoclaw"} {
		if strings.Contains(out, stumble) {
			t.Errorf("somebody new is told %q:\n%s", stumble, out)
		}
	}
}
