package boundary

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A root daemon that has lowered its privileges still makes boundaries, and no
// thread of it has kept what is not needed.
func TestLowerPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		kept, err := LowerPrivileges(false)
		if kept != nil || err != nil {
			t.Errorf("an ordinary user kept %v, %v", kept, err)
		}
		return
	}
	dir := openDir(t)
	program, initPath := filepath.Join(dir, "lowered"), filepath.Join(dir, "init")
	build := exec.Command("go", "build", "-o", program, "nanoclaw/internal/boundary/boundarytest/lowered")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(program, "again").CombinedOutput(); err != nil {
		t.Errorf("lowered twice, with a container engine: %v: %s", err, out)
	}
	if err := os.WriteFile(initPath, newInit(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, engine := range Engines() {
		if !Weaker(engine) {
			lower(t, engine, program, initPath)
		}
	}
}

// lower plays a session of a daemon with lowered privileges.
func lower(t *testing.T, engine, program, initPath string) {
	t.Helper()
	dir := openDir(t)
	workspace, home := filepath.Join(dir, "workspace"), filepath.Join(dir, "home")
	owned := filepath.Join(home, "project")
	for _, d := range []string{workspace, home, owned} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{home, owned} {
		if err := os.Chown(d, 64123, 64123); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(program, engine, initPath, workspace, owned, "1900000008").CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", engine, err, out)
	}
	kept, rest, _ := strings.Cut(string(out), "--\n")
	if strings.Count(kept, "CAP_") != len(neededCaps) {
		t.Errorf("kept:\n%s", kept)
	}
	if !strings.HasPrefix(rest, "1000\nwritten\nclosed\n") {
		t.Errorf("the session: %.200s", rest)
	}
	var want uint64
	for _, c := range neededCaps {
		want |= 1 << c.number
	}
	wanted := fmt.Sprintf("%016x", want)
	sets := regexp.MustCompile(`(?m)^Cap(Eff|Prm|Bnd|Inh|Amb):\t([0-9a-f]+)$`).FindAllStringSubmatch(rest, -1)
	if len(sets) < 10 {
		t.Fatalf("%d sets are told", len(sets))
	}
	for _, s := range sets {
		empty := s[1] == "Inh" || s[1] == "Amb"
		if empty && strings.Trim(s[2], "0") != "" || !empty && s[2] != wanted {
			t.Errorf("Cap%s of a thread is %s, kept is %s", s[1], s[2], wanted)
		}
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(owned, "made"), &st); err != nil || st.Uid != 64123 {
		t.Errorf("the file in the owner's folder belongs to %d, %v", st.Uid, err)
	}
}
