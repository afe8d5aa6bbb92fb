package web

import (
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
)

func TestFigures(t *testing.T) {
	for got, want := range map[string]string{
		dollars(0): "$0.00", dollars(5): "less than $0.01", dollars(1_234_567): "$1.23",
		size(100): "100 bytes", size(2 << 30): "2 GiB", size(1536 << 10): "1.5 MiB", size(4096): "4 KiB",
		span(90 * time.Minute): "1h30m", span(2 * time.Hour): "2h", span(30 * time.Second): "30s", span(10 * time.Minute): "10m",
		used(control.CostBudget{Runs: 3, MaxRuns: 10, Tokens: 50, Micros: 2_000_000, MaxMicros: 20_000_000}): "3 of 10 runs, 50 tokens, $2.00 of $20.00",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	got := strings.Join(limits(grant.Limits{RunTime: 30 * time.Minute, Memory: 2 << 30, Processes: 100, OpenFiles: 1024, Disk: 5 << 30, FileSize: 1 << 30, TmpSize: 512 << 20}), "; ")
	want := "a run takes 30m at most; 2 GiB of memory, of all its processes together; 100 processes, each with 1024 open files; 5 GiB on the disk, 1 GiB in a file, 512 MiB in /tmp"
	if got != want {
		t.Errorf("the limits are %q, want %q", got, want)
	}
}
