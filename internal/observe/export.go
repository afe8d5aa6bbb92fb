package observe

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// Bounds of sending.
const (
	batchSpans = 512
	batchTime  = 2 * time.Second
	sendTime   = 10 * time.Second
	lastTime   = 3 * time.Second // for what is left at the end
	sendTries  = 3
	tryTime    = time.Second
)

// Exporter sends spans to a collector, as OTLP over HTTP in JSON.
type Exporter struct {
	// URL is the address of traces: http://127.0.0.1:4318/v1/traces.
	URL string
	// Version is ours, and Instance names this installation.
	Version, Instance string
	Log               *slog.Logger

	wait, last time.Duration // between tries, and for what is left at the end; 0 is the usual
}

// noRedirects: a collector is where the owner said, and nowhere else.
var noRedirects = &http.Client{
	Transport: &http.Transport{Proxy: nil, MaxIdleConns: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

// Send sends what a tracer makes until ctx ends, and what is left then. What a collector
// does not take is dropped after a few tries: the audit log has all of it.
func (x *Exporter) Send(ctx context.Context, t *Tracer) {
	said := ""
	for over := false; !over; {
		batch := t.batch(ctx)
		bounded := ctx
		if over = ctx.Err() != nil; over {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(x.last, lastTime))
			defer cancel()
			bounded = last
		}
		if len(batch) == 0 {
			continue
		}
		err := x.try(bounded, batch)
		switch {
		case err == nil && said != "":
			x.Log.Info("the collector of traces takes them again")
			said = ""
		case err != nil && err.Error() != said:
			said = err.Error()
			x.Log.Warn("traces are dropped: their collector does not take them", "err", err, "dropped", t.dropped.Add(int64(len(batch))))
		}
	}
	noRedirects.CloseIdleConnections()
}

// batch waits for a first span and then a little for others.
func (t *Tracer) batch(ctx context.Context) (out []span) {
	select {
	case s := <-t.spans:
		out = append(out, s)
	case <-ctx.Done():
	}
	timer := time.NewTimer(batchTime)
	defer timer.Stop()
	for len(out) < batchSpans {
		select {
		case s := <-t.spans:
			out = append(out, s)
			continue
		default:
		}
		select {
		case s := <-t.spans:
			out = append(out, s)
		case <-timer.C:
			return out
		case <-ctx.Done():
			return out
		}
	}
	return out
}

func (x *Exporter) try(ctx context.Context, batch []span) error {
	body, err := json.Marshal(x.encode(batch))
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		again, err := x.post(ctx, body)
		if err == nil || !again || n == sendTries {
			return err
		}
		select {
		case <-time.After(cmp.Or(x.wait, tryTime)):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// post sends once, and says whether another try may help.
func (x *Exporter) post(ctx context.Context, body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, x.URL, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "nanoclaw/"+x.Version)
	answer, err := noRedirects.Do(r)
	if err != nil {
		return true, err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection can be used again
	switch c := answer.StatusCode; {
	case c >= 200 && c < 300:
		return false, nil
	case c == http.StatusTooManyRequests || c == http.StatusBadGateway || c == http.StatusServiceUnavailable || c == http.StatusGatewayTimeout:
		return true, fmt.Errorf("it answered %s", answer.Status)
	default:
		return false, fmt.Errorf("it answered %s", answer.Status)
	}
}

// The form of OTLP in JSON: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
type (
	otlp struct {
		ResourceSpans []otlpResource `json:"resourceSpans"`
	}
	otlpResource struct {
		Resource   otlpAttributes `json:"resource"`
		ScopeSpans []otlpScope    `json:"scopeSpans"`
	}
	otlpAttributes struct {
		Attributes []otlpAttr `json:"attributes"`
	}
	otlpScope struct {
		Scope struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"scope"`
		Spans []otlpSpan `json:"spans"`
	}
	otlpSpan struct {
		TraceID    string      `json:"traceId"`
		SpanID     string      `json:"spanId"`
		Parent     string      `json:"parentSpanId,omitempty"`
		Name       string      `json:"name"`
		Kind       int         `json:"kind"`
		Start      string      `json:"startTimeUnixNano"`
		End        string      `json:"endTimeUnixNano"`
		Attributes []otlpAttr  `json:"attributes,omitempty"`
		Events     []otlpEvent `json:"events,omitempty"`
		Status     otlpStatus  `json:"status"`
	}
	otlpEvent struct {
		Time       string     `json:"timeUnixNano"`
		Name       string     `json:"name"`
		Attributes []otlpAttr `json:"attributes,omitempty"`
	}
	otlpStatus struct {
		Code int `json:"code,omitempty"`
	}
	otlpAttr struct {
		Key   string         `json:"key"`
		Value map[string]any `json:"value"`
	}
)

// What numbers mean in that form.
const (
	kindInternal = 1
	kindClient   = 3
	statusError  = 2
)

func (x *Exporter) encode(batch []span) otlp {
	scope := otlpScope{Spans: make([]otlpSpan, 0, len(batch))}
	scope.Scope.Name, scope.Scope.Version = "nanoclaw", x.Version
	for _, s := range batch {
		scope.Spans = append(scope.Spans, encodeSpan(s))
	}
	about := encodeAttrs([]attr{{"service.name", "nanoclaw"}, {"service.version", x.Version}, {"service.instance.id", x.Instance}})
	return otlp{[]otlpResource{{Resource: otlpAttributes{about}, ScopeSpans: []otlpScope{scope}}}}
}

func encodeSpan(s span) otlpSpan {
	o := otlpSpan{
		TraceID: traceOf(s.run), SpanID: spanOf(s.run, s.name, s.part), Name: s.name, Kind: kindInternal,
		Start: nanos(s.from), End: nanos(later(s.from, s.to)), Attributes: encodeAttrs(s.attributes),
	}
	if !s.root {
		o.Parent = spanOf(s.run, "run", "")
	}
	if s.client {
		o.Kind = kindClient
	}
	if s.failed {
		o.Status.Code = statusError
	}
	for _, e := range s.events {
		o.Events = append(o.Events, otlpEvent{nanos(e.at), e.name, encodeAttrs(e.attributes)})
	}
	return o
}

func encodeAttrs(list []attr) (out []otlpAttr) {
	for _, a := range list {
		v := map[string]any{}
		switch x := a.value.(type) {
		case string:
			if x == "" {
				continue
			}
			v["stringValue"] = x
		case int64:
			v["intValue"] = strconv.FormatInt(x, 10)
		case float64:
			v["doubleValue"] = x
		case bool:
			v["boolValue"] = x
		}
		out = append(out, otlpAttr{a.key, v})
	}
	return out
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func later(a, b time.Time) time.Time {
	if b.Before(a) {
		return a
	}
	return b
}
