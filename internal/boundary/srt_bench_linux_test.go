package boundary

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// BenchmarkSRT measures srt as it is sold, started from its own command line, and
// as the engine here, against the native boundary. A start of srt takes half a
// second, so that native has several for each.
func BenchmarkSRT(b *testing.B) {
	spec, _ := fixtureSRT(b)
	spec.Log = nil
	engine, native := newSRT(b, Options{}), newNative(b, Options{})
	parts, err := engine.locate()
	must(b, err)
	dir := openDir(b)
	var bare, ours, its []time.Duration
	measure := func(to *[]time.Duration, run func()) {
		began := time.Now()
		run()
		*to = append(*to, time.Since(began))
	}
	for b.Loop() {
		measure(&bare, func() {
			cmd := exec.Command(parts.node, filepath.Join(parts.modules, parts.cli), "-c", "true")
			cmd.Dir = dir // srt leaves files in its working folder
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("srt: %v\n%s", err, out)
			}
		})
		measure(&ours, func() { must(b, session(engine, spec)) })
		for range 10 {
			measure(&its, func() { must(b, session(native, spec)) })
		}
	}
	srt, start := median(bare), median(its)
	b.ReportMetric(float64(srt.Milliseconds()), "srt-ms")
	b.ReportMetric(float64(median(ours).Milliseconds()), "engine-ms")
	b.ReportMetric(float64(start.Microseconds()), "native-µs")
	b.ReportMetric(float64(srt)/float64(start), "srt/native")
	b.ReportMetric(0, "ns/op") // three things in one loop; their sum says nothing
}

// session starts a session, runs one process in it and ends it.
func session(e Engine, spec Spec) error {
	s, err := e.Start(context.Background(), spec)
	if err != nil {
		return err
	}
	defer s.Close()
	p, err := s.Exec(context.Background(), wire.Exec{Argv: []string{"/usr/bin/true"}, Dir: grant.Workspace})
	if err == nil {
		_, err = p.Wait(context.Background())
	}
	return err
}
