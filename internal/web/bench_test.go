package web

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"nanoclaw/internal/config"
	"nanoclaw/internal/daemon"
	"nanoclaw/internal/store"
)

// history fills a store with runs that ended, each with a message, its reply and four
// entries of the log, half of them of main.
const history = `
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %[1]d)
INSERT INTO runs (id, grp, state, mode, agent, queued, started, ended)
	SELECT printf('r%%07d', i), iif(i %% 2, 'main', 'family'), 'succeeded', 'host', 'shell', i * 1000000000, i * 1000000000, i * 1000000000 + 5 FROM n;
INSERT INTO inbox (channel, chat, message, grp, state, trigger, reason, body, run, at)
	SELECT 'console', grp, 'm' || id, grp, 'done', 1, 'owner', '{}', id, queued FROM runs;
INSERT INTO outbox (key, channel, chat, kind, text, grp, run, failed, last, state, due, at, ended)
	SELECT 'k' || id, 'console', grp, 'reply', 'an answer of some words', grp, id, 0, 1, 'sent', queued, queued, ended FROM runs;
INSERT INTO audit (at, kind, grp, run, session, payload, salt, commitment)
	SELECT r.queued, k.column1, r.grp, r.id, 's' || r.id, '{}', zeroblob(16), zeroblob(32)
	FROM runs r, (VALUES ('run.queued'), ('run.started'), ('tool.allowed'), ('run.ended')) k ORDER BY r.row;`

// filled is a host whose store has so many runs.
func filled(b *testing.B, runs int) (*daemon.Daemon, time.Duration) {
	b.Helper()
	dir := b.TempDir()
	env := map[string]string{"PATH": "/usr/bin:/bin", "HOME": dir, "NANOCLAW_HOME": filepath.Join(dir, "nanoclaw")}
	getenv := func(name string) string { return env[name] }
	paths, err := config.Locate(config.Options{Getenv: getenv, UID: os.Getuid()})
	must(b, err)
	must(b, paths.EnsureDirs())
	must(b, os.WriteFile(paths.Config, []byte(`{"version": 1, "groups": {"main": {"agent": "shell"}, "family": {"agent": "shell"}}}`), 0o600))
	open := func() *daemon.Daemon {
		d, err := daemon.Open(b.Context(), daemon.Options{
			ContainerProgram: "/nonexistent/podman", Paths: paths, Version: "test", Getenv: getenv, Environ: func() []string { return nil },
			Log:  slog.New(slog.DiscardHandler),
			Init: func() (io.ReadSeekCloser, error) { return nil, errors.New("nothing is confined here") },
		})
		must(b, err)
		return d
	}
	must(b, open().Close())
	if runs > 0 {
		db, err := sql.Open("sqlite", filepath.Join(paths.DataDir, store.FileName))
		must(b, err)
		_, err = db.ExecContext(b.Context(), fmt.Sprintf(history, runs))
		must(b, errors.Join(err, db.Close()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	began := time.Now()
	d := open()
	go func() { done <- d.Run(ctx, func() { close(ready) }) }()
	b.Cleanup(func() {
		cancel()
		must(b, errors.Join(<-done, d.Close()))
	})
	<-ready
	took := time.Since(began)
	db, err := sql.Open("sqlite", filepath.Join(paths.DataDir, store.FileName))
	must(b, err)
	defer db.Close()
	for { // what was filled in is sealed before anything is measured
		var open bool
		must(b, db.QueryRowContext(b.Context(), `SELECT coalesce((SELECT last FROM audit_head), 0) < coalesce((SELECT max(id) FROM audit), 0)`).Scan(&open))
		if !open {
			return d, took
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// measured are the pages whose time is taken.
var measured = []string{"/", "/groups", "/groups/main", "/groups/main/chat", "/approvals", "/tasks", "/runs", "/runs?group=family", "/runs?before=r0050000", "/audit", "/audit?group=family", "/audit?kind=nothing.such", "/channels", "/people", "/nodes", "/doctor", "/runs/r0050000"}

// manyRuns is how much history the pages are measured with.
const manyRuns = 100_000

// BenchmarkPages is how long each page takes, from the request to the first of it that a
// browser can paint and to its last byte, with 100,000 runs in the store beside the same
// page with none, in turn. The aim is to paint within 100 ms.
func BenchmarkPages(b *testing.B) {
	type site struct {
		client *http.Client
		base   string
	}
	var sites [2]site
	var starts [2]time.Duration
	for i, runs := range []int{manyRuns, 0} {
		d, took := filled(b, runs)
		starts[i] = took
		s := New(Options{Host: d, Log: slog.New(slog.DiscardHandler)})
		b.Cleanup(s.Close)
		l, err := s.Link(0)
		must(b, err)
		c := browser(b)
		base, _ := signIn(b, c, l)
		sites[i] = site{c, base}
	}
	b.Logf("start to ready: %v with the runs, %v without", starts[0], starts[1])
	for _, path := range measured {
		b.Run(strings.TrimPrefix(path, "/"), func(b *testing.B) {
			var took, first [2][]time.Duration
			for round := 0; b.Loop(); round++ {
				for k := range 2 {
					i := (round + k) % 2
					began := time.Now()
					r, err := sites[i].client.Get(sites[i].base + path)
					must(b, err)
					_, err = io.ReadFull(r.Body, make([]byte, 64))
					first[i] = append(first[i], time.Since(began))
					_, rest := io.Copy(io.Discard, r.Body)
					took[i] = append(took[i], time.Since(began))
					must(b, errors.Join(err, rest, r.Body.Close()))
					if r.StatusCode != 200 && i == 0 {
						b.Fatalf("%s: %s", path, r.Status)
					}
				}
			}
			middle := func(d []time.Duration) time.Duration {
				slices.Sort(d)
				return d[len(d)/2]
			}
			many, none := middle(took[0]), middle(took[1])
			b.ReportMetric(float64(middle(first[0]).Microseconds())/1000, "many-first-ms")
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(many.Microseconds())/1000, "many-ms")
			b.ReportMetric(float64(none.Microseconds())/1000, "none-ms")
			b.ReportMetric(float64(many)/float64(none), "many/none")
		})
	}
}

// BenchmarkFirstPaint is when a real browser paints the first content of each page, counted
// from the click that asks for it, with 100,000 runs in the store beside the same page with
// none, in turn. The aim is 100 ms.
func BenchmarkFirstPaint(b *testing.B) {
	type site struct {
		ctx  context.Context
		base string
	}
	var sites [2]site
	for i, runs := range []int{manyRuns, 0} {
		d, _ := filled(b, runs)
		s := New(Options{Host: d, Log: slog.New(slog.DiscardHandler)})
		b.Cleanup(s.Close)
		l, err := s.Link(0)
		must(b, err)
		ctx, _ := chromium(b)
		run(b, ctx, "sign in", chromedp.Navigate(l.Plain), chromedp.WaitReady(chromedp.CSS("#login button:focus")), chromedp.Click(chromedp.CSS("#login button")), chromedp.WaitVisible(chromedp.ID("live")))
		sites[i] = site{ctx, strings.TrimSuffix(l.Plain[:strings.Index(l.Plain, "/login")], "/")}
	}
	const paint = `new Promise((done) => new PerformanceObserver((l) => {
  const e = l.getEntriesByName("first-contentful-paint")[0];
  if (e) done(e.startTime);
}).observe({ type: "paint", buffered: true }))`
	for _, path := range measured {
		b.Run(strings.TrimPrefix(path, "/"), func(b *testing.B) {
			var took [2][]float64
			for round := 0; b.Loop(); round++ {
				for k := range 2 {
					i := (round + k) % 2
					run(b, sites[i].ctx, path, chromedp.Navigate(sites[i].base+path))
					ms, err := chromedp.Run(sites[i].ctx, chromedp.Evaluate[float64](paint, chromedp.EvalAwaitPromise))
					must(b, err)
					took[i] = append(took[i], ms)
				}
			}
			for i, name := range []string{"many-ms", "none-ms"} {
				slices.Sort(took[i])
				b.ReportMetric(took[i][len(took[i])/2], name)
			}
			b.ReportMetric(took[0][len(took[0])*95/100], "many-p95-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkIdle is the memory that a dashboard holds that is open and that nobody
// looks at just then.
func BenchmarkIdle(b *testing.B) {
	h := fullHost()
	inUse := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := inUse()
	var kept []*Server
	for b.Loop() {
		s := New(Options{Host: h, Log: slog.New(slog.DiscardHandler)})
		if _, err := s.Link(0); err != nil {
			b.Fatal(err)
		}
		kept = append(kept, s)
	}
	n := len(kept)
	b.ReportMetric((float64(inUse())-float64(before))/float64(n)/(1<<20), "MB/dashboard")
	for _, s := range kept {
		s.Close()
	}
}
