package chaostest

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestSoak is half a minute of mixed traffic on a host that has to stay as it is.
// make soak does it for as long as one likes.
func TestSoak(t *testing.T) {
	dir, _, program := programs(t)
	var log bytes.Buffer
	s, err := Soak(t.Context(), Options{Program: program, Dir: dir, Seed: uint64(time.Now().UnixNano()), Length: 24 * time.Second, Log: &log})
	must(t, err)
	for _, f := range append(s.Failures(), s.Grew...) {
		t.Error(f)
	}
	t.Logf("%s\n%s%s", dir, s.Table, s.Line())
}

// A soak notices what grows.
func TestFlat(t *testing.T) {
	made := func(grow func(i int, s *Sample)) []Sample {
		all := make([]Sample, 90)
		for i := range all {
			all[i] = Sample{Second: i, Messages: i * 10, RSS: 40, Anon: 20, Files: 30, Goroutines: 60, Children: 3, Cgroups: 3, Left: 5, Store: float64(i) * 0.01}
			grow(i, &all[i])
		}
		return all
	}
	for _, tt := range []struct {
		name string
		grow func(i int, s *Sample)
		want string
	}{
		{"all is flat", func(int, *Sample) {}, ""},
		{"warming up counts for nothing", func(i int, s *Sample) { s.Anon -= float64(max(0, 20-i)) }, ""},
		{"memory", func(i int, s *Sample) { s.Anon += float64(i) / 3 }, "memory"},
		{"descriptors", func(i int, s *Sample) { s.Files += 3 * i }, "descriptors"},
		{"goroutines", func(i int, s *Sample) { s.Goroutines += 3 * i }, "goroutines"},
		{"processes", func(i int, s *Sample) { s.Children += i / 3 }, "processes"},
		{"cgroups", func(i int, s *Sample) { s.Cgroups += i / 3 }, "cgroups"},
		{"files", func(i int, s *Sample) { s.Left += i / 3 }, "files left"},
		{"the store", func(i int, s *Sample) { s.Store *= 100 }, "store per message"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			grew, _ := flat(made(tt.grow))
			if got := strings.Join(grew, "; "); (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) {
				t.Errorf("it grew: %q, want %q", got, tt.want)
			}
		})
	}
	if grew, _ := flat(nil); grew == nil {
		t.Error("nothing at all counts as flat")
	}
}
