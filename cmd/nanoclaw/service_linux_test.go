package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/control"
	"nanoclaw/internal/service"
)

// What the unit imposes is imposed here by hand, as root in a mount namespace made for
// it, and the real program looks whether the boundary stands under it. The second half
// shows why the unit lacks what it lacks: under ProtectKernelTunables= and
// ProtectKernelLogs=, which mask parts of /proc, it does not, and doctor says so.
func TestBoundaryUnderTheUnit(t *testing.T) {
	dir := t.TempDir()
	program, init := filepath.Join(dir, "nanoclaw"), filepath.Join(dir, "nanoclaw-init")
	copyProgram(t, program)
	if err := os.WriteFile(init, boundarytest.Init(t), 0o755); err != nil {
		t.Fatal(err)
	}
	u := service.Unit{Manager: service.Systemd, Program: program}
	if os.Geteuid() == 0 {
		u.System, u.User = true, service.Name
	}
	type attempt struct{ name, mask string }
	attempts := []attempt{{name: "as it is"}}
	if u.System { // only root can mask what the whole machine's root is not a stranger in
		attempts = append(attempts, attempt{"with /proc masked", "mount --bind /dev/null /proc/kmsg\nmount --bind /proc/sys /proc/sys\nmount -o remount,bind,ro /proc/sys\n"})
	}
	for _, tt := range attempts {
		t.Run(tt.name, func(t *testing.T) {
			home := filepath.Join(t.TempDir(), "home")
			if err := os.Mkdir(home, 0o700); err != nil {
				t.Fatal(err)
			}
			if u.System {
				if err := os.Chown(home, serviceUID, serviceUID); err != nil {
					t.Fatal(err)
				}
			}
			script := imposed(t, u, tt.mask) + fmt.Sprintf(" env -i PATH=/usr/bin:/bin HOME=%s NANOCLAW_HOME=%s %s=%s %s doctor --json", home, home, boundarytest.EnvInit, init, program)
			command := []string{"sh", "-euc", script}
			if u.System {
				command = append([]string{"unshare", "--mount"}, command...)
			}
			cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
			var errs strings.Builder
			cmd.Stderr = &errs
			out, _ := cmd.Output() // exit code 1 where something fails
			var report control.DoctorReport
			if err := json.Unmarshal(out, &report); err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, errs.String())
			}
			i := slices.IndexFunc(report.Checks, func(c control.Check) bool { return c.Name == "probe" })
			if i < 0 {
				t.Fatalf("no probe in %+v", report.Checks)
			}
			got := report.Checks[i]
			if tt.mask == "" && (got.State != "ok" || !strings.Contains(got.Detail, "none got through")) {
				t.Errorf("%+v", got)
			}
			if tt.mask != "" && (got.State != "fail" || !strings.Contains(got.Detail, "proc")) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// imposed is a script that does what systemd does with a unit before it starts the
// program, as far as it can be had without systemd.
func imposed(t *testing.T, u service.Unit, mask string) string {
	t.Helper()
	text, err := u.Text()
	if err != nil {
		t.Fatal(err)
	}
	d := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			d[name] = value
		}
	}
	script := ""
	if u.System {
		script = "mount --make-rprivate /\n"
	}
	if d["ProtectSystem"] == "full" {
		for _, dir := range []string{"/usr", "/etc", "/boot"} {
			script += fmt.Sprintf("mount --bind %s %s\nmount -o remount,bind,ro %s\n", dir, dir, dir)
		}
	}
	script += mask + "umask " + d["UMask"] + fmt.Sprintf("\nprlimit --pid $$ --core=%[1]s:%[1]s\n", d["LimitCORE"])
	if d["User"] == "" {
		return script + "exec" // for a user it changes nothing else
	}
	list := func(names string) string {
		out := []string{"-all"}
		for _, c := range strings.Fields(names) {
			out = append(out, "+"+strings.ToLower(strings.TrimPrefix(c, "CAP_")))
		}
		return strings.Join(out, ",")
	}
	ambient := list(d["AmbientCapabilities"])
	return script + fmt.Sprintf("exec setpriv --reuid %d --regid %d --clear-groups --bounding-set %s --inh-caps %s --ambient-caps %s",
		serviceUID, serviceUID, list(d["CapabilityBoundingSet"]), ambient, ambient)
}

// The unit gives what the daemon keeps, no more and no less.
func TestUnitGivesWhatIsKept(t *testing.T) {
	names := map[string]int{
		"CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN, "CAP_SETUID": unix.CAP_SETUID, "CAP_SETGID": unix.CAP_SETGID, "CAP_CHOWN": unix.CAP_CHOWN,
		"CAP_DAC_READ_SEARCH": unix.CAP_DAC_READ_SEARCH, "CAP_DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE, "CAP_FOWNER": unix.CAP_FOWNER,
		"CAP_FSETID": unix.CAP_FSETID, "CAP_KILL": unix.CAP_KILL, "CAP_SETPCAP": unix.CAP_SETPCAP, "CAP_NET_ADMIN": unix.CAP_NET_ADMIN,
		"CAP_SYS_CHROOT": unix.CAP_SYS_CHROOT, "CAP_SYS_PTRACE": unix.CAP_SYS_PTRACE, "CAP_SYS_RESOURCE": unix.CAP_SYS_RESOURCE,
		"CAP_MKNOD": unix.CAP_MKNOD, "CAP_SETFCAP": unix.CAP_SETFCAP,
	}
	numbers := func(list []string) (out []int) {
		for _, n := range list {
			c, ok := names[n]
			if !ok {
				t.Errorf("%s is unknown here", n)
			}
			out = append(out, c)
		}
		slices.Sort(out)
		return out
	}
	daemon, engines := boundary.Capabilities()
	all := slices.Sorted(slices.Values(slices.Concat(daemon, engines)))
	slices.Sort(daemon)
	if got := numbers(service.Unit{}.Capabilities()); !slices.Equal(got, daemon) {
		t.Errorf("the system user gets %v, the daemon keeps %v", got, daemon)
	}
	if got := numbers(service.Unit{System: true, User: "root"}.Bounding()); !slices.Equal(got, all) {
		t.Errorf("root's bounding set is %v, the daemon keeps %v", got, all)
	}
}
