package observe

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/egress"
)

// maxSpans bounds the spans that wait to be sent. What comes beyond is dropped.
const maxSpans = 4096

// maxEvents bounds the events of one span.
const maxEvents = 128

// Tracer makes spans of the audit log's entries: one trace for each run, whose id is made
// of the run's, so that its spans can be sent as they end. What a run did is in it by
// kind, verdict and time; no word of it, no host and no name of a person.
type Tracer struct {
	spans   chan span
	dropped atomic.Int64

	mu   sync.Mutex // guards what follows; nothing waits under it
	rows recent[int64, arrival]
	runs recent[chat.RunID, *running]
	outs recent[int64, time.Time]
}

// arrival is when a message came, and when it was on the disk.
type arrival struct{ came, durable time.Time }

// running is a run that goes on.
type running struct {
	arrival
	started, stood time.Time
	attrs          []attr
	events         []event
}

// span is one that ended. root is that of a trace, to which the others belong.
type span struct {
	run        chat.RunID
	name       string
	part       string // with name and run it is the span's id
	root       bool
	from, to   time.Time
	client     bool // it waits for another program on a network
	failed     bool
	attributes []attr
	events     []event
}

type event struct {
	at         time.Time
	name       string
	attributes []attr
}

type attr struct {
	key   string
	value any // a string, an int64, a float64 or a bool
}

// NewTracer makes one. Its spans wait for Send.
func NewTracer() *Tracer {
	t := &Tracer{spans: make(chan span, maxSpans)}
	t.rows.most, t.runs.most, t.outs.most = 4096, 1024, 4096
	return t
}

// Entries makes spans of what was committed. It does not block.
func (t *Tracer) Entries(entries []audit.Entry) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range entries {
		t.entry(e, now)
	}
}

// entry is Entries for one. The caller holds mu.
func (t *Tracer) entry(e audit.Entry, now time.Time) {
	switch d := e.Data.(type) {
	case audit.InboundData:
		t.rows.put(d.Row, arrival{e.At, now})
	case audit.RunStartedData:
		t.started(e, d)
	case audit.RunRefusedData:
		if e.Run != "" {
			t.end(span{run: e.Run, name: "run", root: true, from: e.At, to: e.At, failed: true,
				attributes: []attr{{"nanoclaw.group", string(e.Group)}, {"nanoclaw.run", string(e.Run)}, {"nanoclaw.state", "refused"}, {"nanoclaw.rule", d.Rule}}})
		}
	case audit.SessionStartedData:
		if r, ok := t.runs.get(e.Run); ok && e.Run != "" {
			r.stood = e.At
			t.end(span{run: e.Run, name: "boundary", from: r.started, to: e.At,
				attributes: []attr{{"nanoclaw.engine", d.Engine}, {"nanoclaw.prepared", d.Prepared}, {"nanoclaw.session", string(e.Session)}}})
		}
	case audit.ToolCalledData:
		t.happened(e, "tool", attr{"nanoclaw.verdict", word(d.Verdict)})
	case audit.HostToolCalledData:
		t.happened(e, "host tool", attr{"nanoclaw.verdict", word(d.Verdict)})
	case audit.MCPCalledData:
		t.happened(e, "mcp", attr{"nanoclaw.verdict", word(d.Verdict)})
	case audit.RunJoinedData:
		t.happened(e, "joined", attr{"nanoclaw.messages", int64(len(d.Rows))})
	case audit.ApprovalData:
		t.happened(e, "approval", attr{"nanoclaw.state", word(d.State)})
	case egress.Event:
		t.wentOut(e, d)
	case audit.RunEndedData:
		t.ended(e, d)
	case audit.OutboxData:
		t.out(e, d)
	}
}

func (t *Tracer) started(e audit.Entry, d audit.RunStartedData) {
	r := &running{started: e.At, attrs: []attr{
		{"nanoclaw.run", string(e.Run)}, {"nanoclaw.group", string(e.Group)}, {"nanoclaw.session", string(e.Session)}, {"nanoclaw.mode", d.Mode}, {"nanoclaw.agent", d.Agent},
	}}
	if by, ok := d.Trigger.(begunBy); ok {
		r.arrival, _ = t.rows.take(by.BegunBy())
	}
	t.runs.put(e.Run, r)
	if !r.came.IsZero() {
		t.end(span{run: e.Run, name: "inbound", from: r.came, to: r.durable})
		t.end(span{run: e.Run, name: "queue", from: r.durable, to: e.At})
	}
}

// happened notes what an agent did at a moment.
func (t *Tracer) happened(e audit.Entry, name string, attrs ...attr) {
	if r, ok := t.runs.get(e.Run); ok && len(r.events) < maxEvents {
		r.events = append(r.events, event{e.At, name, attrs})
	}
}

func (t *Tracer) wentOut(e audit.Entry, d egress.Event) {
	if d.Phase != egress.Close || e.Run == "" {
		return
	}
	attrs := []attr{{"nanoclaw.gate", string(d.Gate)}, {"nanoclaw.verdict", string(d.Verdict)}, {"nanoclaw.up", d.Up}, {"nanoclaw.down", d.Down}}
	if d.Status != 0 {
		attrs = append(attrs, attr{"http.response.status_code", int64(d.Status)})
	}
	t.end(span{run: e.Run, name: "egress", part: string(e.Session) + strconv.FormatUint(d.ID, 10), from: e.At.Add(-d.Took), to: e.At,
		client: true, failed: d.Verdict != egress.Allowed, attributes: attrs})
}

func (t *Tracer) ended(e audit.Entry, d audit.RunEndedData) {
	r, ok := t.runs.take(e.Run)
	if !ok { // it began before we did
		r = &running{started: e.At.Add(-time.Duration(d.Ms) * time.Millisecond), attrs: []attr{{"nanoclaw.run", string(e.Run)}, {"nanoclaw.group", string(e.Group)}}}
	}
	failed := d.State != "succeeded"
	from := r.stood
	if from.IsZero() { // a session that stood before
		from = r.started
	}
	agent := span{run: e.Run, name: "agent", from: from, to: e.At, failed: failed, events: r.events, attributes: []attr{{"nanoclaw.tool_calls", int64(d.ToolCalls)}}}
	if u := d.Model; u != nil {
		agent.attributes = append(agent.attributes, attr{"gen_ai.usage.input_tokens", u.Input + u.CacheRead + u.CacheWrite}, attr{"gen_ai.usage.output_tokens", u.Output})
	}
	t.end(agent)
	root := span{run: e.Run, name: "run", root: true, from: r.started, to: e.At, failed: failed, attributes: append(r.attrs, attr{"nanoclaw.state", d.State})}
	if !r.came.IsZero() {
		root.from = r.came
	}
	if d.Class != "" {
		root.attributes = append(root.attributes, attr{"error.type", d.Class})
	}
	t.end(root)
}

func (t *Tracer) out(e audit.Entry, d audit.OutboxData) {
	if e.Run == "" {
		return
	}
	if e.Kind == audit.Outbox {
		t.outs.put(d.ID, e.At)
		return
	}
	from, ok := t.outs.take(d.ID)
	if !ok {
		from = e.At
	}
	t.end(span{run: e.Run, name: "outbox", part: strconv.FormatInt(d.ID, 10), from: from, to: e.At, client: true, failed: e.Kind != audit.Delivered,
		attributes: []attr{{"nanoclaw.channel", string(d.To.Channel)}, {"nanoclaw.tries", int64(max(1, d.Tries))}}})
}

// end hands a span on, or drops it if too many wait.
func (t *Tracer) end(s span) {
	select {
	case t.spans <- s:
	default:
		t.dropped.Add(1)
	}
}

// traceOf and spanOf make ids of a run, the same in each process.
func traceOf(run chat.RunID) string {
	sum := sha256.Sum256([]byte("nanoclaw trace\x00" + string(run)))
	return hex.EncodeToString(sum[:16])
}

func spanOf(run chat.RunID, name, part string) string {
	sum := sha256.Sum256([]byte("nanoclaw span\x00" + string(run) + "\x00" + name + "\x00" + part))
	return hex.EncodeToString(sum[:8])
}
