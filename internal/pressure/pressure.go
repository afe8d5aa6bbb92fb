// Package pressure says whether the machine is short of memory, so that what is
// only kept for speed can be given up before something needed is.
//
// It promises cheap looks (a few small files of the kernel) and one answer in
// words; who asks decides how often, and what to end. Two things are looked at:
// how much memory is left, of the machine and of the cgroups (version 2) that
// this process is in, and how much time processes lose by waiting for memory
// (pressure stall information). Waiting alone does not count, since a single
// group that runs into its own limit makes all of the machine's figures look bad.
//
// What a kernel does not say is not guessed: without these files, as on macOS,
// nothing is ever short.
package pressure

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// tooLittle is the part of the memory, as one in so many, that must be left.
	tooLittle = 16
	// little is the part below which waiting counts.
	little = 4
	// stalled is the part of the last ten seconds, in percent, in which some
	// process waited for memory.
	stalled = 10.0
)

// Meter reads the kernel's files below Root, "" for the machine's own.
type Meter struct{ Root string }

// Short says why the machine is short of memory, "" if it is not or cannot say.
func (m Meter) Short() string {
	waited := m.waited()
	for _, s := range append([]store{m.machine()}, m.groups()...) {
		switch {
		case s.all == 0:
		case s.left < s.all/tooLittle:
			return fmt.Sprintf("%s has %d of %d MB left", s.name, s.left>>20, s.all>>20)
		case s.left < s.all/little && waited >= stalled:
			return fmt.Sprintf("%s has %d of %d MB left, and processes waited for memory for %.0f %% of the last ten seconds",
				s.name, s.left>>20, s.all>>20, waited)
		}
	}
	return ""
}

// Measured says whether this machine tells how much memory is left.
func (m Meter) Measured() bool { return m.machine().all > 0 }

// store is an amount of memory, in bytes, and what is left of it.
type store struct {
	name      string
	all, left uint64
}

// machine reads MemTotal and MemAvailable (proc_meminfo(5)).
func (m Meter) machine() store {
	s := store{name: "the machine"}
	for line := range strings.Lines(m.read("proc/meminfo")) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		n, err := strconv.ParseUint(f[1], 10, 50)
		if err != nil {
			continue
		}
		switch f[0] {
		case "MemTotal:":
			s.all = n << 10
		case "MemAvailable:":
			s.left = n << 10
		}
	}
	return s
}

// groups are the cgroups of this process that have a limit. What their files
// hold in memory can be dropped, so it is left.
func (m Meter) groups() []store {
	var out []store
	own := ""
	for line := range strings.Lines(m.read("proc/self/cgroup")) {
		if p, ok := strings.CutPrefix(line, "0::"); ok { // version 2 (cgroups(7))
			own = path.Clean("/" + strings.TrimSpace(p))
		}
	}
	for ; own != "" && own != "/"; own = path.Dir(own) {
		dir := "sys/fs/cgroup" + own
		all, err := strconv.ParseUint(strings.TrimSpace(m.read(dir+"/memory.max")), 10, 63)
		used, err2 := strconv.ParseUint(strings.TrimSpace(m.read(dir+"/memory.current")), 10, 63)
		if err != nil || err2 != nil { // "max": none
			continue
		}
		for line := range strings.Lines(m.read(dir + "/memory.stat")) {
			if n, ok := strings.CutPrefix(line, "inactive_file "); ok {
				dropped, _ := strconv.ParseUint(strings.TrimSpace(n), 10, 63)
				used -= min(used, dropped)
			}
		}
		out = append(out, store{"the cgroup " + own, all, all - min(all, used)})
	}
	return out
}

// waited is the part of the last ten seconds in which some process waited for
// memory, in percent (Documentation/accounting/psi.rst of the kernel).
func (m Meter) waited() float64 {
	for line := range strings.Lines(m.read("proc/pressure/memory")) {
		rest, ok := strings.CutPrefix(line, "some avg10=")
		if !ok {
			continue
		}
		text, _, _ := strings.Cut(rest, " ")
		n, err := strconv.ParseFloat(text, 64)
		if err == nil {
			return n
		}
	}
	return 0
}

// read gives a small file of the kernel, "" if it is not there.
func (m Meter) read(name string) string {
	text, err := os.ReadFile(filepath.Join("/", m.Root, name))
	if err != nil {
		return ""
	}
	return string(text)
}
