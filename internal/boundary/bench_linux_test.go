package boundary

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// BenchmarkStart measures a start against its peers, interleaved in one run so
// that they share the machine's moods: the native boundary, cold and from one
// that stood ready, bubblewrap with the same mounts and namespaces (but without
// Landlock, seccomp and wire), and a bare fork and exec. Each runs /usr/bin/true
// and is measured until that has ended; "closed" until everything is reaped.
func BenchmarkStart(b *testing.B) {
	spec, dir := fixture(b)
	spec.Log = nil
	cold := newNative(b, Options{})
	ready := newNative(b, Options{})
	keep(b, ready, 1)

	// Folders of its own: bubblewrap, started by root, is not the group's uid.
	workspace, home := filepath.Join(dir, "peer-workspace"), filepath.Join(dir, "peer-home")
	must(b, os.Mkdir(workspace, 0o755))
	must(b, os.Mkdir(home, 0o755))
	rows := []struct {
		name string
		run  func() (end, closed time.Duration)
	}{
		{"cold", func() (end, closed time.Duration) { return once(b, cold, spec) }},
		{"spare", func() (end, closed time.Duration) {
			makeSpare(b, ready, spec)
			return once(b, ready, spec)
		}},
		{"bwrap", func() (end, closed time.Duration) { return command(b, bwrap(workspace, home)) }},
		{"bare", func() (end, closed time.Duration) { return command(b, exec.Command("/usr/bin/true")) }},
	}
	ends, closes := make([][]time.Duration, len(rows)), make([][]time.Duration, len(rows))
	for i := 0; b.Loop(); i++ {
		for j := range rows {
			r := (i + j) % len(rows)
			end, closed := rows[r].run()
			ends[r], closes[r] = append(ends[r], end), append(closes[r], closed)
		}
	}
	peer := float64(median(ends[2]))
	for i, r := range rows {
		end, closed := median(ends[i]), median(closes[i])
		b.ReportMetric(float64(end.Microseconds()), r.name+"-µs")
		if r.name != "bwrap" {
			b.ReportMetric(float64(end)/peer, r.name+"/bwrap")
		}
		if closed != end {
			b.ReportMetric(float64(closed)/peer, r.name+"-closed/bwrap")
		}
	}
	b.ReportMetric(0, "ns/op") // four things in one loop; their sum says nothing
}

// BenchmarkStartMany is the same for many at once: how long until the last of
// them has ended and is reaped.
func BenchmarkStartMany(b *testing.B) {
	const many = 20
	spec, dir := fixture(b)
	spec.Log = nil
	cold, ready := newNative(b, Options{}), newNative(b, Options{})
	keep(b, ready, many)
	workspace, home := filepath.Join(dir, "peer-workspace"), filepath.Join(dir, "peer-home")
	must(b, os.Mkdir(workspace, 0o755))
	must(b, os.Mkdir(home, 0o755))
	together := func(run func() error) time.Duration {
		began := time.Now()
		var all sync.WaitGroup
		for range many {
			all.Go(func() {
				if err := run(); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
		return time.Since(began)
	}
	session := func(n *Native) func() error {
		return func() error { _, _, err := trial(n, spec); return err }
	}
	rows := []struct {
		name string
		run  func() time.Duration
	}{
		{"cold", func() time.Duration { return together(session(cold)) }},
		{"spare", func() time.Duration {
			for range many {
				makeSpare(b, ready, spec)
			}
			return together(session(ready))
		}},
		{"bwrap", func() time.Duration { return together(func() error { return bwrap(workspace, home).Run() }) }},
	}
	times := make([][]time.Duration, len(rows))
	for i := 0; b.Loop(); i++ {
		for j := range rows {
			r := (i + j) % len(rows)
			times[r] = append(times[r], rows[r].run())
		}
	}
	peer := median(times[2])
	for i, r := range rows {
		b.ReportMetric(float64(median(times[i]).Microseconds()), r.name+"-µs")
		b.ReportMetric(float64(median(times[i]))/float64(peer), r.name+"/bwrap")
	}
	b.ReportMetric(0, "ns/op")
}

// once starts a session, runs one process in it and ends it.
func once(b *testing.B, n *Native, spec Spec) (end, closed time.Duration) {
	end, closed, err := trial(n, spec)
	must(b, err)
	return end, closed
}

func trial(n *Native, spec Spec) (end, closed time.Duration, err error) {
	began := time.Now()
	s, err := n.Start(context.Background(), spec)
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	p, err := s.Exec(context.Background(), wire.Exec{Argv: []string{"/usr/bin/true"}, Dir: grant.Workspace})
	if err == nil {
		_, err = p.Wait(context.Background())
	}
	if err != nil {
		return 0, 0, err
	}
	end = time.Since(began)
	s.Close()
	closed = time.Since(began)
	if s.prepared != (n.spares.most > 0) {
		err = fmt.Errorf("a boundary that stood ready was used: %t", s.prepared)
	}
	return end, closed, err
}

// command runs a command to its end.
func command(b *testing.B, cmd *exec.Cmd) (end, closed time.Duration) {
	began := time.Now()
	must(b, cmd.Run())
	end = time.Since(began)
	return end, end
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
