package daemon

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

const observedConfig = `{
	"version": 1,
	"hostMode": {"enabled": true},
	"agent": {"kind": "shell"},
	"observe": {"metrics": "unix"},
	"groups": {"main": {"mode": "host", "hostModeAllowed": true}},
}`

// One message is seen in the numbers of every stage that it passes, and none of it is in
// them. They are the owner's, behind a socket.
func TestMetricsOfARun(t *testing.T) {
	i := newInstall(t, observedConfig)
	d, stop := i.run()
	path := filepath.Join(i.paths.RuntimeDir, MetricsSocket)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var c net.Dialer
		return c.DialContext(ctx, "unix", path)
	}}}
	get := func(page string) (int, string) {
		t.Helper()
		r, err := client.Get("http://nanoclaw" + page)
		must(t, err)
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		must(t, err)
		return r.StatusCode, string(text)
	}
	eventually(t, "the socket is there", func() bool {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the socket has %v (%v), and is for its owner alone", fi, err)
	}
	if a := ask(t, d, chat.Main, "echo swordfish"); a.State != control.Succeeded {
		t.Fatalf("%+v", a)
	}
	_, text := get("/metrics")
	for _, want := range []string{
		`nanoclaw_messages_total{group="main",verdict="run"} 1`, `nanoclaw_message_durable_seconds_count 1`, `nanoclaw_queue_wait_seconds_count{group="main"} 1`,
		`nanoclaw_runs_total{group="main",state="succeeded"} 1`, `nanoclaw_run_seconds_count{group="main"} 1`, `nanoclaw_boundary_starts_total{engine="`,
		`nanoclaw_boundary_start_seconds_count{engine="`, `nanoclaw_outbox_total{channel="console"} `, `nanoclaw_deliveries_total{channel="console",state="delivered"} `,
		`nanoclaw_audit_entries_total{kind="run.ended"} 1`, `nanoclaw_build_info{version="test"} 1`, `nanoclaw_messages_waiting 0`, `nanoclaw_scrape_errors_total 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "swordfish") {
		t.Errorf("what was said is in\n%s", text)
	}
	if code, text := get("/readyz"); code != http.StatusOK || !strings.HasSuffix(text, "\nready\n") || !strings.Contains(text, "ok store\n") {
		t.Errorf("%d %s", code, text)
	}
	stop()
	if _, err := client.Get("http://nanoclaw/healthz"); err == nil {
		t.Error("it answers after its end")
	}
}

// Nothing listens and nothing counts unless the owner wants it.
func TestNothingIsObserved(t *testing.T) {
	d := newInstall(t, hostConfig).open()
	if d.metrics != nil {
		t.Error("it counts")
	}
	must(t, d.Close())
}

// A run is a trace at the collector of the configuration, whose last spans come when the
// daemon ends, and nothing of what was said is in it.
func TestTracesOfARun(t *testing.T) {
	var mu sync.Mutex
	var all strings.Builder
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.Copy(&all, r.Body)
		all.WriteString(r.URL.Path)
	}))
	t.Cleanup(s.Close)
	d, stop := newInstall(t, strings.Replace(observedConfig, `"metrics": "unix"`, `"traces": "`+s.URL+`"`, 1)).run()
	if d.metrics != nil {
		t.Error("it counts, and nobody wants it")
	}
	a := ask(t, d, chat.Main, "echo swordfish")
	stop()
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"/v1/traces", string(a.Run), `"name":"run"`, `"name":"inbound"`, `"name":"queue"`, `"name":"boundary"`, `"name":"agent"`, `"name":"outbox"`, `"stringValue":"succeeded"`} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %s in\n%s", want, all.String())
		}
	}
	if strings.Contains(all.String(), "swordfish") {
		t.Errorf("what was said is in\n%s", all.String())
	}
}

// Whoever follows one run in the log sees the lines of its session too.
func TestLinesOfARun(t *testing.T) {
	i := newInstall(t, hostConfig)
	var mu sync.Mutex
	var out strings.Builder
	i.log = slog.New(slog.NewJSONHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(b)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	d, stop := i.run()
	a := ask(t, d, chat.Main, "true")
	stop()
	mu.Lock()
	defer mu.Unlock()
	n := 0
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, `"run":"`+string(a.Run)+`"`) {
			n++
		}
		if strings.Count(line, `"run":`) > 1 || strings.Count(line, `"session":`) > 1 || strings.Count(line, `"group":`) > 1 {
			t.Errorf("a name is there twice: %s", line)
		}
	}
	if n == 0 {
		t.Errorf("no line names the run:\n%s", out.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
