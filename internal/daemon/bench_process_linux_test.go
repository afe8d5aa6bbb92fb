package daemon

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a whole process that is measured.
type process struct {
	name string
	argv []string
	env  []string
	// lives is set if it says that it is ready and then goes on; else it just ends.
	lives bool
}

// BenchmarkReady is the time from the start of a whole process to the moment
// when it is ready: "nanoclaw run" on an installation that is there already,
// beside an empty Go program and an empty Node program.
func BenchmarkReady(b *testing.B) {
	all := []process{daemonProcess(b), {name: "empty Go", argv: []string{peerProgram(b)}}}
	if node, err := exec.LookPath("node"); err == nil {
		all = append(all, process{name: "empty Node", argv: []string{node, "-e", "0"}})
	}
	times := newTimes()
	var turns []func()
	for _, p := range all {
		times.names = append(times.names, p.name)
		turns = append(turns, func() {
			began := time.Now()
			ready := p.start(b)
			times.add(p.name, time.Since(began))
			ready.stop()
		})
	}
	for round := 0; b.Loop(); round++ {
		times.inTurn(round, turns...)
	}
	times.report(b, all[0].name, "60 ms from start to ready")
}

// BenchmarkIdleMemory is what the daemon holds two seconds after it was ready,
// beside an idle Go HTTP server. RssFile are clean pages of the program's file,
// which the kernel can drop and several processes share; RssAnon is memory of
// its own.
func BenchmarkIdleMemory(b *testing.B) {
	all := []process{daemonProcess(b), {name: "idle Go HTTP server", argv: []string{peerProgram(b), "serve"}, lives: true}}
	kinds := []string{"VmRSS", "RssAnon", "RssFile", "Pss"}
	var text strings.Builder
	fmt.Fprintf(&text, "aim: 20 MB idle\n%20s", "")
	for _, kind := range kinds {
		fmt.Fprintf(&text, " %11s", kind)
	}
	text.WriteByte('\n')
	got := map[string][]float64{}
	for b.Loop() {
		for _, p := range all {
			ready := p.start(b)
			time.Sleep(2 * time.Second) // idle is a matter of time
			now := memoryOf(b, ready.pid)
			ready.stop()
			for _, kind := range kinds {
				got[p.name+kind] = append(got[p.name+kind], now[kind])
			}
		}
	}
	for _, p := range all {
		fmt.Fprintf(&text, "%20s", p.name)
		for _, kind := range kinds {
			m := got[p.name+kind]
			slices.Sort(m)
			fmt.Fprintf(&text, " %8.1f MB", m[len(m)/2])
			b.ReportMetric(m[len(m)/2], strings.ReplaceAll(p.name, " ", "-")+"-"+kind+"-MB")
		}
		text.WriteByte('\n')
	}
	b.ReportMetric(0, "ns/op")
	b.Log(text.String())
}

// BenchmarkIdleGroups is what the daemon needs while nothing happens, with two groups and
// with ten thousand, each with a chat and a past: memory, and how much of one processor.
func BenchmarkIdleGroups(b *testing.B) {
	var many strings.Builder
	many.WriteString(`{"version": 1, "hostMode": {"enabled": true}, "agent": {"kind": "shell"}, "groups": {"main": {"mode": "host", "hostModeAllowed": true}`)
	for k := range 10_000 {
		fmt.Fprintf(&many, `, "g%d": {"chats": ["slack:c%d"], "senders": ["slack:u1", "slack:u2"]}`, k, k)
	}
	many.WriteString("}}")
	all := []process{daemonWith(b, hostConfig), daemonWith(b, many.String())}
	got := map[string][]float64{}
	for b.Loop() {
		for k, p := range all {
			ready := p.start(b)
			time.Sleep(restLook + 5*time.Second) // idle is a matter of time: it has rested
			before := cpuOf(b, ready.pid)
			time.Sleep(5 * time.Second)
			used, now := cpuOf(b, ready.pid)-before, memoryOf(b, ready.pid)
			ready.stop()
			name := []string{"2", "10000"}[k]
			got[name+"-groups-cpu-%"] = append(got[name+"-groups-cpu-%"], 100*used.Seconds()/5)
			for _, kind := range []string{"VmRSS", "RssAnon"} {
				got[name+"-groups-"+kind+"-MB"] = append(got[name+"-groups-"+kind+"-MB"], now[kind])
			}
		}
	}
	for name, values := range got {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], name)
	}
	b.ReportMetric(0, "ns/op")
	b.Log("aim: 0.5 % of a processor, and 40 MB with ten thousand groups")
}

// cpuOf is how long a process was on a processor (its threads' schedstat).
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	must(b, err)
	var sum time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // a thread that ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		must(b, err)
		sum += time.Duration(ns)
	}
	return sum
}

// daemonProcess is "nanoclaw run" on an installation of its own, which has been
// started once.
func daemonProcess(b *testing.B) process { return daemonWith(b, hostConfig) }

// daemonWith is the same with a configuration.
func daemonWith(b *testing.B, text string) process {
	b.Helper()
	if inside, _ := filepath.Glob("../../cmd/nanoclaw/inside/nanoclaw-init-linux-" + runtime.GOARCH); inside == nil {
		b.Fatal("the program would have no nanoclaw-init inside: run make build first")
	}
	i := newInstall(b, text)
	p := process{name: "nanoclaw", argv: []string{built(b, "nanoclaw/cmd/nanoclaw"), "run"}, env: i.environ(), lives: true}
	p.start(b).stop()
	return p
}

func peerProgram(b *testing.B) string { return built(b, "nanoclaw/internal/daemon/testdata/peer") }

// built builds a program as make build does.
func built(b *testing.B, pkg string) string {
	b.Helper()
	out := filepath.Join(b.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	return out
}

// running is a process that was started.
type running struct {
	pid  int
	stop func()
}

// start starts the process and returns once it is ready, or over.
func (p process) start(b *testing.B) running {
	b.Helper()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = p.env
	out, err := cmd.StdoutPipe()
	must(b, err)
	must(b, cmd.Start())
	if !p.lives {
		_, err := io.Copy(io.Discard, out)
		must(b, err)
		must(b, cmd.Wait())
		return running{stop: func() {}}
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "ready") {
		b.Fatalf("%s did not get ready: %q, %v", p.name, line, err)
	}
	return running{cmd.Process.Pid, func() {
		must(b, cmd.Process.Signal(syscall.SIGTERM))
		cmd.Wait() // the peer dies of it
	}}
}

// memoryOf reads a process's memory in MB (proc(5), status and smaps_rollup).
func memoryOf(b *testing.B, pid int) map[string]float64 {
	b.Helper()
	m := map[string]float64{}
	for _, name := range []string{"status", "smaps_rollup"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		must(b, err)
		for line := range strings.Lines(string(text)) {
			key, rest, _ := strings.Cut(line, ":")
			if f := strings.Fields(rest); len(f) == 2 && f[1] == "kB" {
				kB, err := strconv.ParseFloat(f[0], 64)
				must(b, err)
				m[key] = kB / 1024
			}
		}
	}
	return m
}
