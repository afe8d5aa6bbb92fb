package daemon

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/store"
	"nanoclaw/internal/wire"
)

// Every benchmark here measures its peers in the same loop, in changing order,
// and gives medians and their ratios: the machine's moods then strike all alike.
// The aims are printed beside the figures and decide nothing.

// clock is a command that prints the time at which the shell came to it, and
// starts no process for it.
const clock = "echo $EPOCHREALTIME"

// shellArgv is how the shell agent starts a command.
func shellArgv(command string) []string {
	return []string{"/bin/sh", "-c", `exec 2>&1; command -v bash >/dev/null && exec bash -c "$1" bash; exec sh -c "$1" sh`, "sh", command}
}

// BenchmarkFirstInstruction is the time from a message of the owner to the
// first instruction of its command inside the boundary: once from the moment it
// is handed in and once from the moment it is durable. The peers run the same
// command: the boundary alone, bubblewrap with the same mounts and namespaces,
// and a bare fork and exec.
func BenchmarkFirstInstruction(b *testing.B) {
	d, stop := benchInstall(b, hostConfig).run()
	defer stop()
	owner, g := newOwner(b, d)
	start := bare(b, d, g)
	times := newTimes("message", "stored", "boundary", "bwrap", "bare")
	for round := 0; b.Loop(); round++ {
		times.inTurn(round,
			func() {
				began := time.Now()
				id := owner.say(b, clock)
				stored := time.Now()
				first := readClock(b, owner.answer(b, id))
				times.add("message", first.Sub(began))
				times.add("stored", first.Sub(stored))
			},
			func() {
				began := time.Now()
				times.add("boundary", readClock(b, start(clock)).Sub(began))
			},
			func() { times.add("bwrap", firstOf(b, bwrap(d, g))) },
			func() { times.add("bare", firstOf(b, exec.Command("/bin/sh", shellArgv(clock)[1:]...))) },
		)
	}
	times.report(b, "message", "30 ms from message to first instruction on an idle machine")
}

// owner is a terminal of main that shows at once what it hears.
type owner struct {
	d       *Daemon
	replies chan string // the last message of each run
}

// newOwner attaches a terminal and lets one message pass, which waits for the
// probe. It gives the grant of such messages too.
func newOwner(b *testing.B, d *Daemon) (owner, grant.Grant) {
	b.Helper()
	o := owner{d, make(chan string, 1)}
	term, err := d.Attach(b.Context(), chat.Main)
	must(b, err)
	b.Cleanup(func() { term.Close() })
	go func() {
		for {
			m, _, err := term.Next(context.Background())
			if err != nil {
				return
			}
			if m != nil && m.Last {
				o.replies <- m.Text
			}
		}
	}()
	readClock(b, o.answer(b, o.say(b, clock)))
	g, err := d.decide(b.Context(), chat.Main, grant.Trigger{Kind: "message", Owner: true, Terminal: true})
	must(b, err)
	return o, g
}

// say returns once the message is durable.
func (o owner) say(b *testing.B, text string) chat.MessageID {
	b.Helper()
	id, err := o.d.Say(b.Context(), control.SayRequest{Group: chat.Main, Text: text})
	must(b, err)
	return id
}

// answer returns once everything about a message is over.
func (o owner) answer(b *testing.B, id chat.MessageID) string {
	b.Helper()
	_, err := o.d.Wait(b.Context(), chat.Main, id)
	must(b, err)
	return <-o.replies
}

func readClock(b *testing.B, text string) time.Time {
	b.Helper()
	sec, frac, ok := strings.Cut(strings.TrimSpace(text), ".")
	s, err := strconv.ParseInt(sec, 10, 64)
	us, err2 := strconv.ParseInt(frac, 10, 64)
	if !ok || err != nil || err2 != nil {
		b.Fatalf("the command was to print its clock and printed %q", text)
	}
	return time.UnixMicro(s*1e6 + us)
}

// firstOf runs a command that prints its clock, and gives the time from before
// its start to that moment.
func firstOf(b *testing.B, cmd *exec.Cmd) time.Duration {
	b.Helper()
	began := time.Now()
	out, err := cmd.Output()
	must(b, err)
	return readClock(b, string(out)).Sub(began)
}

// bwrap is bubblewrap with the mounts of a grant and the namespaces of the
// native boundary. It has no Landlock, no limits and no wire.
func bwrap(d *Daemon, g grant.Grant) *exec.Cmd {
	args := []string{"--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL",
		"--die-with-parent", "--new-session", "--clearenv", "--hostname", "nanoclaw",
		"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"}
	for _, m := range g.Mounts {
		if link, err := os.Readlink(m.Source); err == nil && m.Optional { // /bin and its like
			args = append(args, "--symlink", link, m.Target)
		} else if _, err := os.Stat(m.Source); err == nil {
			args = append(args, map[bool]string{true: "--bind", false: "--ro-bind"}[m.Write], m.Source, m.Target)
		}
	}
	for _, v := range g.Env {
		args = append(args, "--setenv", v.Name, v.Value)
	}
	cmd := exec.Command("bwrap", append(args, shellArgv(clock)...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// BenchmarkShellRuns is how many shell runs a second go through the whole path,
// one after the other, beside boundary starts of the same grant and command
// alone.
func BenchmarkShellRuns(b *testing.B) {
	d, stop := benchInstall(b, hostConfig).run()
	defer stop()
	owner, g := newOwner(b, d)
	start := bare(b, d, g)
	times := newTimes("run", "boundary")
	for round := 0; b.Loop(); round++ {
		times.inTurn(round,
			func() {
				began := time.Now()
				owner.answer(b, owner.say(b, "true"))
				times.add("run", time.Since(began))
			},
			func() { times.add("boundary", timed(func() { start("true") })) },
		)
	}
	b.ReportMetric(1/times.median("run").Seconds(), "runs/s")
	times.report(b, "run", "none; the boundary alone is the floor")
}

// bare gives a function that runs a command in a boundary of its own, with
// nothing of the daemon around it, and gives what it wrote.
func bare(b *testing.B, d *Daemon, g grant.Grant) func(command string) string {
	b.Helper()
	m, err := d.engine(b.Context(), "native")
	must(b, err)
	native, err := m.open()
	must(b, err)
	uid, err := d.uid(b.Context(), g.Group)
	must(b, err)
	return func(command string) string {
		s, err := native.Start(b.Context(), boundary.Spec{Grant: g, Session: chat.NewSessionID(), UID: uid})
		must(b, err)
		p, err := s.Exec(b.Context(), wire.Exec{Argv: shellArgv(command), Dir: grant.Workspace, Stdio: wire.Pipes})
		must(b, err)
		p.Stdin.Close()
		out, err := io.ReadAll(p.Stdout)
		must(b, err)
		_, err = p.Wait(b.Context())
		must(b, err)
		must(b, s.Close())
		return string(out)
	}
}

// BenchmarkInbound is how many messages a second become durable on their way
// through router and store, each with its audit entry, beside a bare loop that
// inserts the same text with the same durability.
func BenchmarkInbound(b *testing.B) {
	i := benchInstall(b, strings.Replace(hostConfig, `"work": {}`, `"work": {"chats": ["bench:1"], "senders": ["bench:ann"]}`, 1))
	d := i.open()
	defer d.Close()
	var n atomic.Int64
	receive := func() {
		in := chat.Inbound{
			From: chat.Address{Channel: "bench", Chat: "1"}, ID: chat.MessageID(fmt.Sprint(n.Add(1))), Sent: time.Now(),
			Sender: chat.Sender{ID: "ann", Name: "Ann"}, Text: "a message of usual length, some eighty characters of text in a chat, or so",
		}
		must(b, sink{d}.Receive(b.Context(), in))
	}
	insert := bareInsert(b)
	times := newTimes("alone", "64 at once", "bare insert")
	for round := 0; b.Loop(); round++ {
		times.inTurn(round,
			func() { times.add("alone", timed(receive)) },
			func() {
				times.add("64 at once", timed(func() {
					var all sync.WaitGroup
					for range 64 {
						all.Go(receive)
					}
					all.Wait()
				})/64)
			},
			func() { times.add("bare insert", timed(insert)) },
		)
	}
	b.ReportMetric(1/times.median("alone").Seconds(), "alone/s")
	b.ReportMetric(1/times.median("64 at once").Seconds(), "together/s")
	times.report(b, "alone", "none; one durable insert is the floor for one channel that waits for each")
}

// bareInsert gives a function that inserts one message durably into a database
// of its own.
func bareInsert(b *testing.B) func() {
	dir := b.TempDir()
	s, err := store.Open(b.Context(), dir, store.Options{}) // registers the driver; its file is not used
	must(b, err)
	must(b, s.Close())
	db, err := sql.Open("sqlite", filepath.Join(dir, "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	must(b, err)
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	_, err = db.Exec(`CREATE TABLE m (id INTEGER PRIMARY KEY, body TEXT)`)
	must(b, err)
	st, err := db.Prepare(`INSERT INTO m (body) VALUES (?)`)
	must(b, err)
	body, err := json.Marshal(chat.Inbound{Text: "a message of usual length, some eighty characters of text in a chat, or so"})
	must(b, err)
	return func() {
		_, err := st.Exec(string(body))
		must(b, err)
	}
}

func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// benchInstall is newInstall without the log.
func benchInstall(b *testing.B, text string) *install {
	i := newInstall(b, text)
	i.log = slog.New(slog.DiscardHandler)
	return i
}

// times are the measured times of several rows.
type times struct {
	names []string
	all   map[string][]time.Duration
}

func newTimes(names ...string) *times { return &times{names, map[string][]time.Duration{}} }

func (t *times) add(name string, d time.Duration) { t.all[name] = append(t.all[name], d) }

// inTurn does all of a round, beginning with another one each time.
func (t *times) inTurn(round int, all ...func()) {
	for k := range all {
		all[(round+k)%len(all)]()
	}
}

func (t *times) median(name string) time.Duration {
	d := slices.Clone(t.all[name])
	slices.Sort(d)
	return d[len(d)/2]
}

// report gives the medians, and the ratio of the first row to each of the
// others, as metrics and as a table.
func (t *times) report(b *testing.B, ours, aim string) {
	var text strings.Builder
	fmt.Fprintf(&text, "%d rounds; aim: %s\n", len(t.all[ours]), aim)
	for _, name := range t.names {
		m, unit := t.median(name), strings.ReplaceAll(name, " ", "-")
		ratio := float64(t.median(ours)) / float64(m)
		fmt.Fprintf(&text, "%14s %9.2f ms  min %9.2f", name, ms(m), ms(slices.Min(t.all[name])))
		b.ReportMetric(ms(m), unit+"-ms")
		if name != ours {
			fmt.Fprintf(&text, "  %s/%s %.2f", ours, name, ratio)
			b.ReportMetric(ratio, strings.ReplaceAll(ours, " ", "-")+"/"+unit)
		}
		text.WriteByte('\n')
	}
	b.ReportMetric(0, "ns/op") // several things in one loop; their sum says nothing
	b.Log(text.String())
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
