package boundary

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A hard limit of 0 is taken where a core would be a file, and refused where a crash
// inside would start a program of the host.
func TestCoreLimitOfZero(t *testing.T) {
	for _, c := range []struct {
		name    string
		limit   uint64
		pattern string
		err     error
		refused string
	}{
		{"a limit of 1", 1, "|/usr/share/apport/apport", nil, ""},
		{"cores are files", 0, "core\n", nil, ""},
		{"cores are nothing", 0, "", nil, ""},
		{"a handler", 0, "|/usr/share/apport/apport %p\n", nil, "hands crashes to |/usr/share/apport/apport %p"},
		{"a socket", 0, "@/run/coredump.socket\n", nil, "hands crashes to @/run/coredump.socket"},
		{"it is not known", 0, "", errors.New("masked"), "masked"},
	} {
		err := cores(c.limit, func() ([]byte, error) { return []byte(c.pattern), c.err })
		if (err != nil) != (c.refused != "") || err != nil && (!strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "LimitCORE=1")) {
			t.Errorf("%s: %v, want %q", c.name, err, c.refused)
		}
	}
}

// A boundary stands below a hard limit of 0, and leaves it there. The process that
// tries it is one of its own: the limit cannot be taken back.
func TestStartsBelowACoreLimitOfZero(t *testing.T) {
	if os.Getenv("NANOCLAW_TEST_CORES") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "NANOCLAW_TEST_CORES=1", runVar+"=")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		t.Fatal(err)
	}
	text, err := corePattern()
	handled := err != nil || strings.HasPrefix(string(text), "|") || strings.HasPrefix(string(text), "@")
	if handled {
		err := cores(reachable(rlimitCore, 1), corePattern)
		if err == nil {
			t.Errorf("%q is taken for a file", text)
		}
		return
	}
	if out := start(t).sh("ulimit -c; ulimit -Hc; ulimit -c 1 2>/dev/null; ulimit -c"); out != "0\n0\n0" {
		t.Errorf("inside it is %q", out)
	}
}
