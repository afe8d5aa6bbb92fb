package observe

import (
	"context"
	"io"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/egress"
)

// Buckets of times, in seconds: of what the host does, and of what agents and networks do.
var (
	quick = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
	slow  = []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}
)

// Names are the values that labels of names may have. All else is Other.
type Names struct {
	Groups   []chat.Group
	Channels []chat.ChannelID
}

// State is how the daemon stands when it is asked.
type State struct {
	Waiting, Outbox, Runs, Sessions, Prepared, Spares int
	Held                                              bool
	Channels                                          map[chat.ChannelID]bool // whether it is connected
	Unsigned                                          int64                   // entries of the audit log that no checkpoint covers
	DiskFree                                          int64
	Version                                           string
	Started                                           time.Time
}

// Metrics are the numbers of one daemon.
type Metrics struct {
	registry
	names Names
	state func(context.Context) (State, error)

	scrape sync.Mutex // one scrape at a time

	mu     sync.Mutex                    // guards what follows; nothing waits under it
	rows   recent[int64, time.Time]      // messages for a run that none has taken
	runs   recent[chat.RunID, time.Time] // runs whose boundary does not stand yet
	outbox recent[int64, time.Time]      // messages that wait for delivery

	messages, runsEnded, failures, held, joined, starts, ended, breaches                                       *Metric
	calls, approvals, connections, bytes, tokens, cost, stored, deliveries, tries, entries, troubles, probes   *Metric
	durable, queued, worked, boundary, tunnel, delivered                                                       *Metric
	waiting, pending, live, sessions, prepared, spares, holds, connected, unsigned, disk, build, began, memory *Metric
	goroutines, scrapeErrors                                                                                   *Metric
}

// NewMetrics makes them. state is asked at each scrape.
func NewMetrics(n Names, state func(context.Context) (State, error)) *Metrics {
	m := &Metrics{names: n, state: state}
	m.rows.most, m.runs.most, m.outbox.most = 4096, 1024, 4096
	m.messages = m.add(counter, "messages_total", "Messages that came in and are stored, by what was decided about them.", "group", "verdict")
	m.durable = m.times(quick, "message_durable_seconds", "From the arrival of a message until it is on the disk.")
	m.queued = m.times(slow, "queue_wait_seconds", "From the arrival of a message until the run that it began.", "group")
	m.runsEnded = m.add(counter, "runs_total", "Runs that ended, by how; refused ones among them.", "group", "state")
	m.failures = m.add(counter, "run_failures_total", "Runs that failed, by the kind of the failure.", "class")
	m.worked = m.times(slow, "run_seconds", "From the claim of a run's messages until its end.", "group")
	m.held = m.add(counter, "runs_held_total", "Runs that were put back until a time or an answer, by the rule.", "rule")
	m.joined = m.add(counter, "runs_joined_total", "Times that messages were taken into a run that went on.", "group")
	m.starts = m.add(counter, "boundary_starts_total", "Boundaries that stood, by engine and by whether they stood ready before.", "engine", "prepared")
	m.boundary = m.times(quick, "boundary_start_seconds", "From the start of a run until its boundary stood.", "engine")
	m.ended = m.add(counter, "sessions_ended_total", "Sessions that ended, each with its boundary.")
	m.breaches = m.add(counter, "wire_failures_total", "Sessions ended because their wire carried something that it must not.")
	m.probes = m.add(counter, "probes_total", "Probes of engines, and whether the boundary held.", "engine", "held")
	m.calls = m.add(counter, "tool_calls_total", "Calls of tools: the agent's own, the host's, those of MCP servers.", "kind", "verdict")
	m.approvals = m.add(counter, "approvals_total", "Questions to the owner that were asked, and how they ended.", "state")
	m.tokens = m.add(counter, "model_tokens_total", "Tokens of models, as their provider counted them.", "group", "kind")
	m.cost = m.add(counter, "model_cost_usd_total", "What models cost, as agents say.", "group")
	m.connections = m.add(counter, "egress_total", "Connections and requests on their way out, by gate.", "gate", "verdict")
	m.bytes = m.add(counter, "egress_bytes_total", "Bytes of them.", "gate", "direction")
	m.tunnel = m.times(slow, "egress_seconds", "How long they took.", "gate")
	m.stored = m.add(counter, "outbox_total", "Messages that were put into the outbox.", "channel")
	m.deliveries = m.add(counter, "deliveries_total", "Messages that left the outbox: delivered or given_up.", "channel", "state")
	m.tries = m.add(counter, "delivery_tries_total", "Attempts that their delivery took.", "channel")
	m.delivered = m.times(slow, "delivery_seconds", "From the outbox until the network took it.", "channel")
	m.entries = m.add(counter, "audit_entries_total", "Entries of the audit log, by kind.", "kind")
	m.troubles = m.add(counter, "troubles_total", "Troubles beyond one message: began, again, over.", "class", "state")
	m.waiting = m.add(gauge, "messages_waiting", "Messages that wait for a run.")
	m.pending = m.add(gauge, "outbox_waiting", "Messages that wait for delivery.")
	m.live = m.add(gauge, "runs", "Runs that go on.")
	m.sessions = m.add(gauge, "sessions", "Sessions that stand, prepared ones among them.")
	m.prepared = m.add(gauge, "sessions_prepared", "Sessions that wait for their first message.")
	m.spares = m.add(gauge, "boundaries_ready", "Boundaries that stand ready for a session.")
	m.holds = m.add(gauge, "held", "1 if no run is started because the configuration changed.")
	m.connected = m.add(gauge, "channel_connected", "1 if the network is connected.", "channel")
	m.unsigned = m.add(gauge, "audit_unsigned", "Entries of the audit log that no checkpoint covers yet.")
	m.disk = m.add(gauge, "disk_free_bytes", "Room left on the disk of the data folder.")
	m.build = m.add(gauge, "build_info", "Always 1; the version is its label.", "version")
	m.began = m.add(gauge, "start_time_seconds", "When the daemon started, in seconds since 1970.")
	m.memory = m.add(gauge, "memory_bytes", "Memory that the daemon has from the system, without that of agents.")
	m.goroutines = m.add(gauge, "goroutines", "Goroutines of the daemon.")
	m.scrapeErrors = m.add(counter, "scrape_errors_total", "Times that the state could not be read for the gauges.")
	return m
}

// All are the metrics that there are.
func (m *Metrics) All() []*Metric { return slices.Clone(m.all) }

// Write gives all of them in the text format of Prometheus.
func (m *Metrics) Write(ctx context.Context, w io.Writer) error {
	m.scrape.Lock()
	defer m.scrape.Unlock()
	s, err := m.state(ctx)
	if err != nil {
		m.scrapeErrors.add(1)
	} else {
		m.stands(s)
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	m.memory.set(float64(mem.Sys - mem.HeapReleased))
	m.goroutines.set(float64(runtime.NumGoroutine()))
	return m.write(w)
}

func (m *Metrics) stands(s State) {
	for g, n := range map[*Metric]int{m.waiting: s.Waiting, m.pending: s.Outbox, m.live: s.Runs, m.sessions: s.Sessions, m.prepared: s.Prepared, m.spares: s.Spares} {
		g.set(float64(n))
	}
	m.holds.set(one(s.Held))
	m.connected.clear()
	for id, yes := range s.Channels {
		m.connected.set(one(yes), m.channel(id))
	}
	m.unsigned.set(float64(s.Unsigned))
	m.disk.set(float64(s.DiskFree))
	m.build.set(1, s.Version)
	m.began.set(float64(s.Started.UnixMilli()) / 1000)
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (m *Metrics) group(g chat.Group) string {
	if g == "" || slices.Contains(m.names.Groups, g) {
		return string(g)
	}
	return Other
}

func (m *Metrics) channel(id chat.ChannelID) string {
	if slices.Contains(m.names.Channels, id) {
		return string(id)
	}
	return Other
}

// word is a label of a closed list, which grows with our versions and not with what
// people and agents say.
func word(s string) string {
	if len(s) > 40 {
		return Other
	}
	return s
}

// Entries counts what was committed. It does not block.
func (m *Metrics) Entries(entries []audit.Entry) {
	now := time.Now()
	for _, e := range entries {
		m.entry(e, now)
	}
}

func (m *Metrics) entry(e audit.Entry, now time.Time) {
	m.entries.add(1, word(string(e.Kind)))
	g := m.group(e.Group)
	switch d := e.Data.(type) {
	case audit.InboundData:
		m.messages.add(1, g, word(d.Verdict))
		m.durable.add(max(0, now.Sub(e.At).Seconds()))
		m.remember(func() { m.rows.put(d.Row, e.At) })
	case audit.RunStartedData:
		m.runStarted(e, d, g)
	case audit.RunJoinedData:
		m.joined.add(1, g)
		m.remember(func() {
			for _, row := range d.Rows {
				m.rows.take(row)
			}
		})
	case audit.RunEndedData:
		m.runEnded(e, d, g)
	case audit.RunRefusedData:
		m.runsEnded.add(1, g, "refused")
	case audit.RunHeldData:
		m.held.add(1, word(d.Rule))
	case audit.SessionStartedData:
		m.sessionStarted(e, d)
	case audit.SessionEndedData:
		m.ended.add(1)
	case audit.WireFailedData:
		m.breaches.add(1)
	case audit.ProbeData:
		m.probes.add(1, word(d.Engine), strconv.FormatBool(d.Held))
	case audit.ToolCalledData:
		m.calls.add(1, "agent", word(d.Verdict))
	case audit.HostToolCalledData:
		m.calls.add(1, "host", word(d.Verdict))
	case audit.MCPCalledData:
		m.calls.add(1, "mcp", word(d.Verdict))
	case audit.ApprovalData:
		state := d.State
		if e.Kind == audit.ApprovalAsked {
			state = "asked"
		}
		m.approvals.add(1, word(state))
	case audit.TroubleData:
		m.troubles.add(1, word(d.Class), word(d.State))
	case egress.Event:
		m.wentOut(d)
	case audit.OutboxData:
		m.out(e, d)
	}
}

func (m *Metrics) remember(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// begunBy is what a run's trigger tells of the message that began it.
type begunBy interface{ BegunBy() int64 }

func (m *Metrics) runStarted(e audit.Entry, d audit.RunStartedData, g string) {
	m.mu.Lock()
	m.runs.put(e.Run, e.At)
	var came time.Time
	var known bool
	if by, ok := d.Trigger.(begunBy); ok {
		came, known = m.rows.take(by.BegunBy())
	}
	m.mu.Unlock()
	if known {
		m.queued.add(max(0, e.At.Sub(came).Seconds()), g)
	}
}

func (m *Metrics) runEnded(e audit.Entry, d audit.RunEndedData, g string) {
	m.runsEnded.add(1, g, word(d.State))
	m.worked.add(float64(d.Ms)/1000, g)
	if d.Class != "" {
		m.failures.add(1, word(d.Class))
	}
	m.cost.add(max(0, d.CostUSD), g)
	if u := d.Model; u != nil {
		for kind, n := range map[string]int64{"input": u.Input, "cache_read": u.CacheRead, "cache_write": u.CacheWrite, "output": u.Output} {
			m.tokens.add(float64(max(0, n)), g, kind)
		}
	}
	m.remember(func() { m.runs.take(e.Run) })
}

func (m *Metrics) sessionStarted(e audit.Entry, d audit.SessionStartedData) {
	m.starts.add(1, word(d.Engine), strconv.FormatBool(d.Prepared))
	if e.Run == "" {
		return
	}
	m.mu.Lock()
	began, known := m.runs.take(e.Run)
	m.mu.Unlock()
	if known {
		m.boundary.add(max(0, e.At.Sub(began).Seconds()), word(d.Engine))
	}
}

func (m *Metrics) wentOut(d egress.Event) {
	if d.Phase != egress.Close {
		return
	}
	gate := word(string(d.Gate))
	m.connections.add(float64(max(1, d.Count)), gate, word(string(d.Verdict)))
	m.bytes.add(float64(max(0, d.Up)), gate, "up")
	m.bytes.add(float64(max(0, d.Down)), gate, "down")
	if d.Took > 0 {
		m.tunnel.add(d.Took.Seconds(), gate)
	}
}

func (m *Metrics) out(e audit.Entry, d audit.OutboxData) {
	channel := m.channel(d.To.Channel)
	if e.Kind == audit.Outbox {
		m.stored.add(1, channel)
		m.remember(func() { m.outbox.put(d.ID, e.At) })
		return
	}
	m.mu.Lock()
	put, known := m.outbox.take(d.ID)
	m.mu.Unlock()
	state := "given_up"
	if e.Kind == audit.Delivered {
		state = "delivered"
		if known {
			m.delivered.add(max(0, e.At.Sub(put).Seconds()), channel)
		}
	}
	m.deliveries.add(1, channel, state)
	m.tries.add(float64(max(1, d.Tries)), channel)
}
