package boundary

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// On most machines the host's mounts are shared (systemd makes them so): a mount
// made there later would appear in every copy, without the attributes of the
// grant. A session's are copies of their own. This plays such a machine, in a
// mount namespace made for it, which takes root.
func TestMountsOfTheHostStayOutside(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the run as root plays an ordinary user as well
	}
	program := filepath.Join(openDir(t), "init")
	if err := os.WriteFile(program, newInit(t), 0o644); err != nil {
		t.Fatal(err)
	}
	tmp := openDir(t)
	if err := os.Chmod(tmp, 0o777); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(openDir(t), "holder")
	copyFile(t, "/proc/self/exe", self)
	for _, c := range []struct {
		name    string
		command []string
		uid     int
		// receives says that the engine cannot avoid it, and tells so as missing.
		receives bool
	}{
		{"root", []string{self}, groupUID, false},
		{"user", []string{"setpriv", "--reuid", fmt.Sprint(plainUID), "--regid", fmt.Sprint(plainUID), "--clear-groups", self}, 0, underTest() == BubblewrapEngine},
	} {
		daemon := exec.CommandContext(t.Context(), "unshare", append([]string{"--mount", "--propagation", "shared", "--"}, c.command...)...)
		daemon.Env = []string{roleVar + "=holder", engineVar + "=" + underTest(), "NANOCLAW_TEST_HOLD_INIT=" + program, "TMPDIR=" + tmp, srtVar + "=" + openSRT(t),
			fmt.Sprint("NANOCLAW_TEST_HOLD_UID=", c.uid), "PATH=/usr/bin:/bin:/usr/sbin"}
		daemon.Stderr = os.Stderr
		out, err := daemon.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		defer daemon.Process.Kill()
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		init, missing, _ := strings.Cut(strings.TrimSpace(line), " ")
		mounts, err := os.ReadFile("/proc/" + init + "/mountinfo")
		if err != nil || !strings.Contains(string(mounts), " /usr ") {
			t.Fatalf("%s: %s, %v", c.name, mounts, err)
		}
		if strings.Contains(string(mounts), " shared:") {
			t.Errorf("%s: mounts made inside would appear outside:\n%s", c.name, mounts)
		}
		if got := strings.Contains(string(mounts), " master:"); got != c.receives {
			t.Errorf("%s: mounts made outside appear inside: %t, want %t\n%s", c.name, got, c.receives, mounts)
		}
		if got := strings.Contains(missing, "private mounts"); got != c.receives {
			t.Errorf("%s: missing is told as %q", c.name, missing)
		}
		daemon.Process.Kill()
		daemon.Wait()
	}
}
