package boundary

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"nanoclaw/internal/boundary/podmantest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// BenchmarkPodman is a cold start in podman beside the very same podman run by hand:
// the same mounts, limits and filter, with echo in the place of our init and nobody on
// the other end. Each is measured until echo was heard, and "closed" until the
// container is gone.
func BenchmarkPodman(b *testing.B) {
	p := podmantest.New(b)
	p.Hollow(hollow)
	c := newContainer(b, p)
	spec, _ := fixture(b)
	spec.Log = nil
	trial := 0
	next := func() Spec {
		trial++
		spec := spec
		spec.Session = chat.SessionID(fmt.Sprint("bench-", trial))
		return spec
	}
	type took struct{ first, closed []time.Duration }
	var ours, byHand took
	for i := 0; b.Loop(); i++ {
		for j := range 2 {
			if (i+j)%2 == 0 {
				first, closed := podmanOurs(b, c, next())
				ours.first, ours.closed = append(ours.first, first), append(ours.closed, closed)
			} else {
				first, closed := podmanByHand(b, c, next())
				byHand.first, byHand.closed = append(byHand.first, first), append(byHand.closed, closed)
			}
		}
	}
	b.ReportMetric(ms(median(ours.first)), "ours-ms")
	b.ReportMetric(ms(median(byHand.first)), "by-hand-ms")
	b.ReportMetric(float64(median(ours.first))/float64(median(byHand.first)), "ours/by-hand")
	b.ReportMetric(float64(median(ours.closed))/float64(median(byHand.closed)), "closed/by-hand")
	b.ReportMetric(0, "ns/op")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func podmanOurs(b *testing.B, c *Container, spec Spec) (first, closed time.Duration) {
	began := time.Now()
	s, err := c.Start(b.Context(), spec)
	must(b, err)
	proc, err := s.Exec(b.Context(), wire.Exec{Argv: []string{"/usr/bin/echo", "heard"}, Dir: grant.Workspace})
	must(b, err)
	said := make([]byte, 6)
	_, err = io.ReadFull(proc.Stdout, said)
	must(b, err)
	first = time.Since(began)
	_, err = proc.Wait(b.Context())
	must(b, err)
	s.Close()
	return first, time.Since(began)
}

// podmanByHand makes what podman is asked for beforehand, and asks.
func podmanByHand(b *testing.B, c *Container, spec Spec) (first, closed time.Duration) {
	facts, err := c.facts(b.Context())
	must(b, err)
	plan, err := c.plan(spec, facts)
	must(b, err)
	defer plan.close()
	must(b, plan.write())
	defer plan.remove()
	args := plan.run.arguments(c.name)
	args[slices.Index(args, "--entrypoint")+1] = "/usr/bin/echo"
	args = append(args[:slices.Index(args, plan.run.image)+1], "heard")
	cmd := c.cli.command(context.Background(), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	must(b, err)
	in, err := cmd.StdinPipe()
	must(b, err)
	defer in.Close()
	began := time.Now()
	must(b, cmd.Start())
	if _, err = io.ReadFull(out, make([]byte, 6)); err != nil {
		b.Fatalf("%v: %s", err, stderr.String())
	}
	first = time.Since(began)
	in.Close()
	if err := cmd.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, stderr.String())
		b.Fatal(err)
	}
	return first, time.Since(began)
}
