package chaostest

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/chat"
)

// sampleEvery is how often a soak looks.
const sampleEvery = time.Second

// Sample is one look at the host.
type Sample struct {
	Second     int
	Messages   int     // that people wrote so far
	RSS, Anon  float64 // MB
	Files      int     // descriptors
	Goroutines int
	Children   int     // processes that come from it
	Cgroups    int     // of its sessions, 0 where it makes none
	Left       int     // files in its runtime folder and its temporary folder
	Store      float64 // MB
}

// columns are the names of the fields, and row their values.
var columns = []string{"second", "messages", "rss_mb", "anon_mb", "descriptors", "goroutines", "processes", "cgroups", "files_left", "store_mb"}

func (s Sample) row() []string {
	f := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
	d := strconv.Itoa
	return []string{d(s.Second), d(s.Messages), f(s.RSS), f(s.Anon), d(s.Files), d(s.Goroutines), d(s.Children), d(s.Cgroups), d(s.Left), f(s.Store)}
}

// Soaked is what came of a soak.
type Soaked struct {
	Report
	Samples []Sample
	Grew    []string // what is beyond its bound, in words
	Table   string   // every figure beside its bound
}

// Line is the last line of a run.
func (s Soaked) Line() string {
	state := "flat"
	if len(s.Grew) > 0 {
		state = "NOT flat"
	}
	return fmt.Sprintf("soak: %d s, %d messages, %d lost, %d doubled, %d reordered, audit %s, %s",
		len(s.Samples), s.messages, len(s.lost), len(s.doubled), len(s.reordered), s.Audit, state)
}

// Soak has people write for as long as Length says, and nobody is killed.
func Soak(ctx context.Context, o Options) (Soaked, error) {
	c, done, err := o.open()
	if err != nil {
		return Soaked{}, err
	}
	defer done()
	p, err := c.begin()
	if err != nil {
		return Soaked{}, err
	}
	defer p.kill()
	if err := p.awaitReady(slow); err != nil {
		return Soaked{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var people sync.WaitGroup
	defer people.Wait()
	defer cancel()
	people.Go(func() { c.people(ctx) })
	people.Go(func() { c.boss(ctx) })
	var others sync.WaitGroup
	writing, quiet := context.WithCancel(ctx)
	defer quiet()
	others.Go(func() { c.others(writing) })
	var out Soaked
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < o.Length; {
		select {
		case <-tick.C:
		case <-p.over:
			return out, fmt.Errorf("the daemon ended by itself: %w", p.err)
		case <-ctx.Done():
			return out, ctx.Err()
		}
		s, err := c.sample(p.cmd.Process.Pid)
		if err != nil {
			return out, err
		}
		s.Second = int(time.Since(began).Seconds())
		out.Samples = append(out.Samples, s)
	}
	quiet() // a command that goes on would be ended with the host
	others.Wait()
	if err := p.stop(slow); err != nil {
		return out, err
	}
	err = c.settle(ctx)
	out.Report = c.report
	out.Grew, out.Table = flat(out.Samples)
	return out, err
}

// others are what the owner does beside: commands in a group's boundary, in bursts.
func (c *campaign) others(ctx context.Context) {
	rng := rand.New(rand.NewPCG(c.Seed, 4))
	for n := 0; ctx.Err() == nil; n++ {
		if out, err := c.command(context.WithoutCancel(ctx), nil, "exec", "--group", "b", "--", "sh", "-c", "echo seen"); err != nil && ctx.Err() == nil {
			c.problem("exec: %v %s", err, out)
		}
		for range rng.IntN(8) { // a burst
			w := c.judge.write("burst")
			c.net.Say("burst", "ann", chat.MessageID(w.String()), "echo "+w.String())
		}
		select {
		case <-time.After(time.Duration(1+rng.IntN(3)) * time.Second):
		case <-ctx.Done():
		}
	}
}

// bound is how much the floor of a figure in the last third may be above that of
// the one before it: a share of it, and so much beside.
type bound struct {
	name  string
	of    func(Sample) float64
	share float64
	plus  float64
}

func bounds() []bound {
	return []bound{
		{"memory of its own (MB)", func(s Sample) float64 { return s.Anon }, 0.15, 4},
		{"descriptors", func(s Sample) float64 { return float64(s.Files) }, 0.1, 60},
		{"goroutines", func(s Sample) float64 { return float64(s.Goroutines) }, 0.1, 60},
		{"processes", func(s Sample) float64 { return float64(s.Children) }, 0, 8},
		{"cgroups", func(s Sample) float64 { return float64(s.Cgroups) }, 0, 8},
		{"files left behind", func(s Sample) float64 { return float64(s.Left) }, 0, 8},
	}
}

// storePerMessage bounds what the store keeps of a message with its run, its reply
// and their record, in KB.
const storePerMessage = 40

// flat compares the last third of the samples with the one before it; the first is
// for warming up.
func flat(all []Sample) (grew []string, table string) {
	third := len(all) / 3
	if third < 3 {
		return []string{"it was too short to tell"}, ""
	}
	before, after := all[third:2*third], all[2*third:]
	var text strings.Builder
	line := func(name string, a, b, most float64) {
		fmt.Fprintf(&text, "%-24s %8.1f then %8.1f, at most %8.1f\n", name, a, b, most)
		if b > most {
			grew = append(grew, fmt.Sprintf("%s: %.1f, then %.1f, and no more than %.1f is allowed", name, a, b, most))
		}
	}
	for _, o := range bounds() {
		a, b := floor(before, o.of), floor(after, o.of)
		line(o.name, a, b, a*(1+o.share)+o.plus)
	}
	first, last := before[0], after[len(after)-1]
	if n := last.Messages - first.Messages; n > 0 {
		line("store per message (KB)", 0, (last.Store-first.Store)*1024/float64(n), storePerMessage)
	}
	return grew, text.String()
}

// floor is the level that a figure comes back to between the peaks of the work at
// hand, which differ: a fifth of the samples are below it. What leaks lifts it. A
// zero was not to be had.
func floor(all []Sample, of func(Sample) float64) float64 {
	var v []float64
	for _, s := range all {
		if f := of(s); f > 0 {
			v = append(v, f)
		}
	}
	if v == nil {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/5]
}

// sample looks at the host from outside; only its goroutines it says itself.
func (c *campaign) sample(pid int) (s Sample, err error) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(string(status)) {
		key, rest, _ := strings.Cut(line, ":")
		if f := strings.Fields(rest); len(f) == 2 && f[1] == "kB" {
			kB, _ := strconv.ParseFloat(f[0], 64)
			switch key {
			case "VmRSS":
				s.RSS = kB / 1024
			case "RssAnon":
				s.Anon = kB / 1024
			}
		}
	}
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		return s, err
	}
	s.Files = len(fds)
	groups, _ := os.ReadFile(proc + "cgroup")
	s.Cgroups = sessions(string(groups))
	s.Children = children(pid)
	s.Left = filesIn(c.paths.RuntimeDir) + filesIn(filepath.Join(c.dir, "tmp"))
	for _, ending := range []string{"", "-wal"} {
		if info, err := os.Stat(filepath.Join(c.paths.DataDir, "nanoclaw.db"+ending)); err == nil {
			s.Store += float64(info.Size()) / (1 << 20)
		}
	}
	s.Goroutines = c.net.Goroutines()
	c.judge.mu.Lock()
	for _, n := range c.judge.next {
		s.Messages += n
	}
	c.judge.mu.Unlock()
	return s, nil
}

// sessions counts the cgroups below those of a process, in the hierarchies that
// are mounted where they usually are.
func sessions(groups string) (n int) {
	for line := range strings.Lines(groups) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, root := range []string{"/sys/fs/cgroup/" + f[1], "/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
			entries, err := os.ReadDir(filepath.Join(root, f[2]))
			if err != nil {
				continue
			}
			for _, e := range entries {
				if e.IsDir() && strings.HasPrefix(e.Name(), "nanoclaw") {
					n++
					n += subdirs(filepath.Join(root, f[2], e.Name()))
				}
			}
			break
		}
	}
	return n
}

func subdirs(dir string) (n int) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			n++
		}
	}
	return n
}

// children counts the processes whose parent is one.
func children(pid int) (n int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range tasks {
		text, _ := os.ReadFile(name)
		n += len(strings.Fields(string(text)))
	}
	return n
}

// filesIn counts everything below a folder.
func filesIn(dir string) (n int) {
	_ = filepath.WalkDir(dir, func(_ string, _ fs.DirEntry, err error) error {
		if err == nil {
			n++
		}
		return nil // what goes away meanwhile is gone
	})
	return n
}

// WriteCSV writes samples as a table.
func WriteCSV(w io.Writer, all []Sample) error {
	out := csv.NewWriter(w)
	err := out.Write(columns)
	for _, s := range all {
		err = errors.Join(err, out.Write(s.row()))
	}
	out.Flush()
	return errors.Join(err, out.Error())
}
