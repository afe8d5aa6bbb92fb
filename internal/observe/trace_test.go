package observe

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
)

// collector takes what is sent and answers with a status.
type collector struct {
	*httptest.Server
	got    chan otlp
	status func() int
}

func newCollector(t *testing.T, status func() int) *collector {
	c := &collector{got: make(chan otlp, 100), status: status}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code := c.status()
		if code == http.StatusOK {
			var o otlp
			d := json.NewDecoder(r.Body)
			d.DisallowUnknownFields()
			if err := d.Decode(&o); err != nil || r.Header.Get("Content-Type") != "application/json" || r.Method != http.MethodPost {
				t.Errorf("%v %s", err, r.Method)
			}
			c.got <- o
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(c.Close)
	return c
}

func always(code int) func() int { return func() int { return code } }

// sent is what a collector got of a story, with a daemon that ends at once.
func sent(t *testing.T, c *collector, entries []audit.Entry) (out []otlpSpan) {
	t.Helper()
	tr := NewTracer()
	tr.Entries(entries)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	(&Exporter{URL: c.URL + "/v1/traces", Version: "v1", Instance: "i", Log: slog.New(slog.DiscardHandler), wait: time.Millisecond}).Send(ctx, tr)
	for {
		select {
		case o := <-c.got:
			out = append(out, o.ResourceSpans[0].ScopeSpans[0].Spans...)
		default:
			return out
		}
	}
}

// A run is one trace: what it waited for, its boundary, its agent with what it did, its
// way out, and the delivery of its answer, each below the run and within the right times.
func TestTraceOfARun(t *testing.T) {
	c := newCollector(t, always(http.StatusOK))
	spans := map[string]otlpSpan{}
	for _, s := range sent(t, c, story()) {
		spans[s.Name] = s
	}
	root := spans["run"]
	if root.Parent != "" || root.Status.Code != statusError {
		t.Errorf("%+v", root)
	}
	for name, ms := range map[string][2]int{"run": {0, 300}, "boundary": {100, 120}, "agent": {120, 300}, "egress": {170, 270}, "outbox": {300, 700}} {
		s := spans[name]
		from, to := nanos(noon.Add(time.Duration(ms[0])*time.Millisecond)), nanos(noon.Add(time.Duration(ms[1])*time.Millisecond))
		if s.Start != from || s.End != to || s.TraceID != traceOf("r1") || name != "run" && s.Parent != root.SpanID {
			t.Errorf("%s: %+v, want from %s to %s", name, s, from, to)
		}
	}
	if spans["inbound"].Name == "" || spans["queue"].Name == "" || len(spans) != 7 {
		t.Errorf("%d kinds of span", len(spans))
	}
	if ev := spans["agent"].Events; len(ev) != 2 || ev[0].Name != "tool" || ev[1].Name != "host tool" {
		t.Errorf("%+v", ev)
	}
	if spans["egress"].Kind != kindClient || root.Kind != kindInternal {
		t.Error("kinds of span")
	}
}

// What is sent is of the form that collectors take, and holds nothing of what was said.
func TestTheFormOfTraces(t *testing.T) {
	tr := NewTracer()
	tr.Entries(story())
	var batch []span
	for range len(tr.spans) {
		batch = append(batch, <-tr.spans)
	}
	text, err := json.Marshal((&Exporter{Version: "v1"}).encode(batch))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "secret") {
		t.Errorf("what was said, or by whom, is in %s", text)
	}
	var doc struct {
		ResourceSpans []struct {
			Resource   struct{ Attributes []any }
			ScopeSpans []struct {
				Spans []map[string]any
			}
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	ids := map[any]bool{}
	for _, s := range doc.ResourceSpans[0].ScopeSpans[0].Spans {
		trace, err := hex.DecodeString(s["traceId"].(string))
		if err != nil || len(trace) != 16 {
			t.Errorf("%v is no id of a trace", s["traceId"])
		}
		id, err := hex.DecodeString(s["spanId"].(string))
		if err != nil || len(id) != 8 || ids[s["spanId"]] {
			t.Errorf("%v is no id of a span of its own", s["spanId"])
		}
		ids[s["spanId"]] = true
		for _, at := range []string{"startTimeUnixNano", "endTimeUnixNano"} {
			if _, ok := s[at].(string); !ok {
				t.Errorf("%s is no text: %v", at, s[at])
			}
		}
	}
	// Ids are in hex there, and in base64 for any other reader of the format.
	plain := regexp.MustCompile(`"(traceId|spanId|parentSpanId)":"([0-9a-f]+)"`).ReplaceAllStringFunc(string(text), func(s string) string {
		parts := strings.Split(s, `"`)
		id, _ := hex.DecodeString(parts[3])
		return `"` + parts[1] + `":"` + base64.StdEncoding.EncodeToString(id) + `"`
	})
	var data tracepb.TracesData
	if err := protojson.Unmarshal([]byte(plain), &data); err != nil {
		t.Fatalf("a reader of the format does not understand it: %v", err)
	}
	if got := data.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans(); len(got) != len(batch) || got[0].GetStartTimeUnixNano() != uint64(noon.UnixNano()) {
		t.Errorf("%v", got)
	}
}

// A collector that is busy is asked again, one that refuses is not, and one that sends
// elsewhere is not followed.
func TestTries(t *testing.T) {
	var asked atomic.Int64
	busy := newCollector(t, func() int {
		if asked.Add(1) < sendTries {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	if got := sent(t, busy, story()); len(got) == 0 || asked.Load() != sendTries {
		t.Errorf("%d spans after %d tries", len(got), asked.Load())
	}
	asked.Store(0)
	refuses := newCollector(t, func() int { asked.Add(1); return http.StatusBadRequest })
	if got := sent(t, refuses, story()); got != nil || asked.Load() != 1 {
		t.Errorf("%d spans after %d tries", len(got), asked.Load())
	}
	asked.Store(0)
	elsewhere := newCollector(t, func() int { asked.Add(1); return http.StatusOK })
	moved := &collector{got: make(chan otlp, 1), Server: httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))}
	t.Cleanup(moved.Close)
	if got := sent(t, moved, story()); got != nil || asked.Load() != 0 {
		t.Errorf("it followed: %d", asked.Load())
	}
}

// However much happens while nobody takes it, memory is bounded and nobody waits.
func TestTracesAreBounded(t *testing.T) {
	tr := NewTracer()
	for i := range 2000 {
		run := chat.RunID(string(rune('a'+i%26)) + nanos(noon.Add(time.Duration(i))))
		for _, e := range story() {
			if e.Run != "" {
				e.Run = run
			}
			tr.Entries([]audit.Entry{e})
		}
	}
	if len(tr.spans) != maxSpans || tr.dropped.Load() == 0 || len(tr.runs.new)+len(tr.runs.old) > 2*tr.runs.most {
		t.Errorf("%d spans wait, %d were dropped", len(tr.spans), tr.dropped.Load())
	}
	for range 3 * maxEvents {
		tr.Entries([]audit.Entry{story()[1], story()[3]})
	}
	r, ok := tr.runs.get("r1")
	if !ok || len(r.events) > maxEvents {
		t.Errorf("%v events", r)
	}
}

// Sending ends with its context, also while the collector hangs.
func TestSendingEnds(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(hang)
	tr := NewTracer()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&Exporter{URL: s.URL, Log: slog.New(slog.DiscardHandler), last: 50 * time.Millisecond}).Send(ctx, tr)
	}()
	tr.Entries(story())
	cancel()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
}
