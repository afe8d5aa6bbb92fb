package observe

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/egress"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

type begun int64

func (b begun) BegunBy() int64 { return int64(b) }

func newMetrics() *Metrics {
	names := Names{Groups: []chat.Group{"main", "family"}, Channels: []chat.ChannelID{"slack"}}
	return NewMetrics(names, func(context.Context) (State, error) {
		return State{Waiting: 2, Channels: map[chat.ChannelID]bool{"slack": true, "odd": false}, Version: "v1", Started: noon}, nil
	})
}

// story is a message that became an answer, and what can go wrong beside it.
func story() []audit.Entry {
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	to := chat.Address{Channel: "slack", Chat: "C-of-secret"}
	return []audit.Entry{
		{At: at(0), Kind: audit.Inbound, Group: "family", Data: audit.InboundData{Row: 7, Verdict: "run", Text: "secret", Sender: chat.Sender{ID: "secret"}, From: to}},
		{At: at(100), Kind: audit.RunStarted, Group: "family", Run: "r1", Session: "s1", Data: audit.RunStartedData{Trigger: begun(7), Mode: "host", Agent: "claude"}},
		{At: at(120), Kind: audit.SessionStarted, Group: "family", Run: "r1", Session: "s1", Data: audit.SessionStartedData{Engine: "native"}},
		{At: at(150), Kind: audit.ToolCalled, Group: "family", Run: "r1", Session: "s1", Data: audit.ToolCalledData{Tool: "secret", Verdict: "denied"}},
		{At: at(160), Kind: audit.HostToolCalled, Group: "family", Run: "r1", Session: "s1", Data: audit.HostToolCalledData{Tool: "send", Verdict: "allowed"}},
		{At: at(170), Kind: audit.EgressTried, Group: "family", Run: "r1", Session: "s1", Data: egress.Event{ID: 1, Gate: egress.ModelGate, Phase: egress.Open, Verdict: egress.Allowed, Host: "secret", At: at(170)}},
		{At: at(270), Kind: audit.EgressTried, Group: "family", Run: "r1", Session: "s1", Data: egress.Event{ID: 1, Gate: egress.ModelGate, Phase: egress.Close, Verdict: egress.Allowed, Up: 10, Down: 20, Took: 100 * time.Millisecond, Host: "secret", Path: "/secret"}},
		{At: at(300), Kind: audit.RunEnded, Group: "family", Run: "r1", Session: "s1", Data: audit.RunEndedData{State: "failed", Class: "timeout", Ms: 250, CostUSD: 0.5, Error: "secret", Model: &audit.ModelUse{Input: 3, Output: 4}}},
		{At: at(300), Kind: audit.Outbox, Group: "family", Run: "r1", Data: audit.OutboxData{ID: 9, To: to, Bytes: 5}},
		{At: at(700), Kind: audit.Delivered, Group: "family", Run: "r1", Data: audit.OutboxData{ID: 9, To: to, Tries: 2, Network: "secret"}},
		{At: at(800), Kind: audit.SessionEnded, Group: "family", Session: "s1", Data: audit.SessionEndedData{Reason: "secret"}},
		{At: at(900), Kind: audit.Trouble, Data: audit.TroubleData{Class: "rate_limit", State: audit.TroubleBegan, Text: "secret"}},
	}
}

func scrape(t *testing.T, m *Metrics) (string, map[string]float64) {
	t.Helper()
	var b strings.Builder
	if err := m.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(b.String()))
	if err != nil {
		t.Fatalf("a reader of the format does not understand it: %v\n%s", err, b.String())
	}
	got := map[string]float64{}
	for name, f := range families {
		for _, s := range f.GetMetric() {
			key := strings.TrimPrefix(name, "nanoclaw_")
			for _, l := range s.GetLabel() {
				key += " " + l.GetValue()
			}
			switch {
			case s.GetHistogram() != nil:
				got[key] = float64(s.GetHistogram().GetSampleCount())
				got[key+" sum"] = s.GetHistogram().GetSampleSum()
			case s.GetCounter() != nil:
				got[key] = s.GetCounter().GetValue()
			default:
				got[key] = s.GetGauge().GetValue()
			}
		}
	}
	return b.String(), got
}

// The numbers are those of what happened, and hold nothing of what was said.
func TestMetrics(t *testing.T) {
	m := newMetrics()
	m.Entries(story())
	m.Entries([]audit.Entry{{At: noon, Kind: audit.Inbound, Group: "not of the configuration", Data: audit.InboundData{Verdict: "ignore"}}})
	text, got := scrape(t, m)
	for key, want := range map[string]float64{
		"messages_total family run": 1, "messages_total other ignore": 1, "message_durable_seconds": 2, "queue_wait_seconds family": 1, "queue_wait_seconds family sum": 0.1,
		"runs_total family failed": 1, "run_failures_total timeout": 1, "run_seconds family sum": 0.25, "boundary_starts_total native false": 1, "boundary_start_seconds native sum": 0.02,
		"tool_calls_total agent denied": 1, "tool_calls_total host allowed": 1, "egress_total model allowed": 1, "egress_bytes_total model down": 20, "model_tokens_total family input": 3,
		"model_cost_usd_total family": 0.5, "outbox_total slack": 1, "deliveries_total slack delivered": 1, "delivery_tries_total slack": 2, "delivery_seconds slack sum": 0.4,
		"audit_entries_total delivered": 1, "troubles_total rate_limit began": 1, "messages_waiting": 2, "channel_connected slack": 1, "channel_connected other": 0, "build_info v1": 1, "sessions_ended_total": 1,
	} {
		if v, ok := got[key]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", key, v, ok, want)
		}
	}
	if strings.Contains(text, "secret") {
		t.Errorf("what was said, or by whom, is in\n%s", text)
	}
}

// However many names come up, there is an end to the series.
func TestSeriesAreBounded(t *testing.T) {
	m := newMetrics()
	for i := range 3 * maxSeries {
		m.Entries([]audit.Entry{{At: noon, Kind: audit.Kind(fmt.Sprint("kind", i)), Group: chat.Group(fmt.Sprint("g", i)),
			Data: audit.ToolCalledData{Tool: fmt.Sprint("t", i), Verdict: fmt.Sprint("v", i)}}})
	}
	_, got := scrape(t, m)
	if len(got) > 2*maxSeries+200 || got["audit_entries_total other"] != 2*maxSeries {
		t.Errorf("%d series, %v beyond", len(got), got["audit_entries_total other"])
	}
}

// Labels are written so that a reader gets them back, whatever is in them.
func TestLabelsAreEscaped(t *testing.T) {
	var r registry
	m := r.add(counter, "x_total", "A \\ and\na line.", "l")
	const odd = "a\"b\\c\nd} 1\xff"
	m.add(1, odd)
	var b strings.Builder
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if got := families["nanoclaw_x_total"].GetMetric()[0].GetLabel()[0].GetValue(); got != strings.ToValidUTF8(odd, "\uFFFD") {
		t.Errorf("%q", got)
	}
}

// Buckets count what is at most their bound.
func TestBuckets(t *testing.T) {
	var r registry
	m := r.times([]float64{1, 2}, "h", "H.")
	for _, v := range []float64{0.5, 1, 1.5, 2, 3} {
		m.add(v)
	}
	var b strings.Builder
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	if want := "nanoclaw_h_bucket{le=\"1\"} 2\nnanoclaw_h_bucket{le=\"2\"} 4\nnanoclaw_h_bucket{le=\"+Inf\"} 5\nnanoclaw_h_sum 8\nnanoclaw_h_count 5\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("%s", b.String())
	}
}

// What is counted while somebody asks is safe.
func TestCountedWhileAsked(t *testing.T) {
	m := newMetrics()
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range 100 {
				m.Entries(story())
			}
		})
		work.Go(func() {
			for range 20 {
				_ = m.Write(context.Background(), io.Discard)
			}
		})
	}
	work.Wait()
	if _, got := scrape(t, m); got["runs_total family failed"] != 400 {
		t.Errorf("%v", got["runs_total family failed"])
	}
}

// Nothing but a program of this machine that asks for us by name gets an answer.
func TestGuard(t *testing.T) {
	loopback, socket := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9464}, &net.UnixAddr{Name: "/x", Net: "unix"}
	for _, tt := range []struct {
		name   string
		addr   net.Addr
		method string
		host   string
		header http.Header
		want   int
	}{
		{"by its address", loopback, "GET", "127.0.0.1:9464", nil, 200},
		{"as localhost", loopback, "GET", "LocalHost:9464", nil, 200},
		{"at the socket", socket, "GET", "whatever", nil, 200},
		{"by a name that somebody points here", loopback, "GET", "evil.example:9464", nil, 421},
		{"by a name that begins like it", loopback, "GET", "127.0.0.1.evil.example:9464", nil, 421},
		{"by another port", loopback, "GET", "127.0.0.1:80", nil, 421},
		{"by no name", loopback, "GET", "", nil, 421},
		{"by a page", loopback, "GET", "127.0.0.1:9464", http.Header{"Origin": {"http://127.0.0.1:9464"}}, 403},
		{"by a picture of a page", socket, "GET", "x", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"to write", loopback, "POST", "127.0.0.1:9464", nil, 405},
		{"to look at the head", loopback, "HEAD", "127.0.0.1:9464", nil, 405},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := Handler(tt.addr, Options{Metrics: newMetrics()})
			r, w := httptest.NewRequest(tt.method, "/metrics", nil), httptest.NewRecorder()
			r.Host = tt.host
			for k, v := range tt.header {
				r.Header[k] = v
			}
			h.ServeHTTP(w, r)
			if w.Code != tt.want || (tt.want == 200) != strings.Contains(w.Body.String(), "nanoclaw_runs_total") {
				t.Errorf("answered %d", w.Code)
			}
		})
	}
}

// Whether it is ready is told by the status, without the words that are the owner's, and
// who asks all the time does not make the daemon look all the time.
func TestReady(t *testing.T) {
	asked, state := 0, "ok"
	h := Handler(&net.UnixAddr{}, Options{Metrics: newMetrics(), Health: func(context.Context) (control.Health, error) {
		asked++
		return control.HealthOf(noon, []control.Check{{Name: "store", State: state, Detail: "private"}}), nil
	}})
	get := func(h http.Handler, path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	for range 5 {
		if code, text := get(h, "/readyz"); code != 200 || text != "ok store\nready\n" {
			t.Errorf("%d %q", code, text)
		}
	}
	if asked != 1 {
		t.Errorf("it looked %d times", asked)
	}
	state = "fail"
	h = Handler(&net.UnixAddr{}, Options{Metrics: newMetrics(), Health: func(context.Context) (control.Health, error) {
		return control.HealthOf(noon, []control.Check{{Name: "store", State: state}}), nil
	}})
	if code, text := get(h, "/readyz"); code != 503 || text != "fail store\nnot ready\n" {
		t.Errorf("%d %q", code, text)
	}
	if code, text := get(h, "/healthz"); code != 200 || text != "ok\n" {
		t.Errorf("%d %q", code, text)
	}
}

// It ends with its context.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, Options{Metrics: newMetrics(), Log: slog.New(slog.DiscardHandler)}) }()
	r, err := http.Get("http://" + l.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("%v", r)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The page lists every metric with its labels, and no other.
func TestThePageListsEveryMetric(t *testing.T) {
	page, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(nanoclaw_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\| ([^|]+) \\|$").FindAllStringSubmatch(string(page), -1) {
		listed[m[1]] = m[2] + "|" + m[3] + "|" + m[4]
	}
	named := regexp.MustCompile(`^nanoclaw_[a-z_]+$`)
	for _, m := range newMetrics().All() {
		if want := m.Kind + "|" + strings.Join(m.Labels, ", ") + "|" + m.Help; listed[m.Name] != want {
			t.Errorf("the page says %q of %s, want the line\n| `%s` | %s |", listed[m.Name], m.Name, m.Name, strings.ReplaceAll(want, "|", " | "))
		}
		delete(listed, m.Name)
		if !named.MatchString(m.Name) || (m.Kind == counter) != strings.HasSuffix(m.Name, "_total") || !strings.HasSuffix(m.Help, ".") {
			t.Errorf("%s is not named as its kind is", m.Name)
		}
	}
	for name := range listed {
		t.Errorf("the page has %s, and there is none", name)
	}
}
