package boundary

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// BenchmarkStart measures a start against its peers, interleaved in one run so
// that they share the machine's moods: the native boundary, bubblewrap with the
// same mounts and namespaces (but without Landlock, seccomp and wire), and a
// bare fork and exec. Each runs /usr/bin/true and is measured until everything
// is reaped.
func BenchmarkStart(b *testing.B) {
	spec, dir := fixture(b)
	spec.Log = nil
	n := newNative(b, Options{})

	// Folders of its own: bubblewrap, started by root, is not the group's uid.
	workspace, home := filepath.Join(dir, "peer-workspace"), filepath.Join(dir, "peer-home")
	must(b, os.Mkdir(workspace, 0o755))
	must(b, os.Mkdir(home, 0o755))
	rows := []struct {
		name string
		run  func()
	}{
		{"native", func() { once(b, n, spec) }},
		{"bwrap", func() { must(b, bwrap(workspace, home).Run()) }},
		{"bare", func() { must(b, exec.Command("/usr/bin/true").Run()) }},
	}
	times := make([][]time.Duration, len(rows))
	for i := 0; b.Loop(); i++ {
		for j := range rows {
			r := (i + j) % len(rows)
			start := time.Now()
			rows[r].run()
			times[r] = append(times[r], time.Since(start))
		}
	}
	native, peer, bare := median(times[0]), median(times[1]), median(times[2])
	b.ReportMetric(float64(native.Microseconds()), "native-µs")
	b.ReportMetric(float64(peer.Microseconds()), "bwrap-µs")
	b.ReportMetric(float64(bare.Microseconds()), "bare-µs")
	b.ReportMetric(float64(native)/float64(peer), "native/bwrap")
	b.ReportMetric(float64(native)/float64(bare), "native/bare")
	b.ReportMetric(0, "ns/op") // three things in one loop; their sum says nothing
}

// once starts a session, runs one process in it and ends it.
func once(b *testing.B, n *Native, spec Spec) {
	s, err := n.Start(b.Context(), spec)
	must(b, err)
	p, err := s.Exec(b.Context(), wire.Exec{Argv: []string{"/usr/bin/true"}, Dir: grant.Workspace})
	must(b, err)
	_, err = p.Wait(b.Context())
	must(b, err)
	must(b, s.Close())
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// bwrap is bubblewrap with the mounts and namespaces of fixture.
func bwrap(workspace, home string) *exec.Cmd {
	cmd := exec.Command("bwrap", "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000",
		"--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv", "--hostname", "nanoclaw",
		"--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/sbin", "/sbin",
		"--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
		"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
		"--bind", workspace, grant.Workspace, "--bind", home, grant.Home,
		"--remount-ro", "/proc", "--chdir", grant.Workspace, "/usr/bin/true")
	cmd.Stderr = os.Stderr
	return cmd
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
