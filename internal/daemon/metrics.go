package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/doctor"
	"nanoclaw/internal/observe"
)

// MetricsSocket is the name of the socket of metrics, beside the control socket.
const MetricsSocket = "metrics.sock"

// openObserve makes what is told in numbers, if the configuration wants it. Nothing is
// counted otherwise.
func (d *Daemon) openObserve() {
	var hear []func([]audit.Entry)
	if d.config.Observe.Metrics != "" {
		d.metrics = observe.NewMetrics(observe.Names{
			Groups: d.groupNames(), Channels: slices.Sorted(maps.Keys(d.channels)),
		}, d.standing)
		hear = append(hear, d.metrics.Entries)
	}
	if d.config.Observe.Traces != "" {
		d.traces = observe.NewTracer()
		hear = append(hear, d.traces.Entries)
	}
	if hear != nil {
		d.store.OnEntries(func(entries []audit.Entry) {
			for _, f := range hear {
				f(entries)
			}
		})
	}
}

// sendTraces sends traces until stop is called, also while the daemon ends its runs.
func (d *Daemon) sendTraces(ctx context.Context) (stop func()) {
	if d.traces == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		x := observe.Exporter{URL: d.config.Observe.TracesURL(), Version: d.opt.Version, Instance: shortHash(d.install), Log: d.log}
		x.Send(ctx, d.traces)
	}()
	return func() {
		cancel()
		<-done
	}
}

// shortHash names something without telling its name.
func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// standing is how the daemon stands, for a scrape.
func (d *Daemon) standing(ctx context.Context) (observe.State, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	open, err := d.store.Status(ctx)
	if err != nil {
		return observe.State{}, err
	}
	s := observe.State{
		Waiting: open.Waiting, Outbox: open.Pending, Runs: len(open.Live), Sessions: d.runner.Sessions(), Prepared: d.runner.Prepared(),
		Spares: d.spares.count(), Held: d.queue.Held() != "", Channels: map[chat.ChannelID]bool{}, Version: d.opt.Version, Started: d.started,
	}
	for id, c := range d.channels {
		if _, lost := c.(channel.Supervised); lost {
			s.Channels[id] = d.networks.state(id).State == channel.Connected
		}
	}
	head, err := d.store.Head(ctx)
	if err != nil {
		return s, err
	}
	for _, err := range d.store.Rows(ctx, audit.Filter{After: head.LastID, Limit: maxUnsigned}) {
		if err != nil {
			return s, err
		}
		s.Unsigned++
	}
	s.DiskFree, _, err = doctor.Free(d.opt.Paths.DataDir)
	return s, err
}

// maxUnsigned bounds how many entries without a signature are counted.
const maxUnsigned = 1000

// serveMetrics listens until ctx ends.
func (d *Daemon) serveMetrics(ctx context.Context) {
	if d.metrics == nil {
		return
	}
	l, err := d.listenMetrics(ctx)
	if err == nil {
		d.log.Info("metrics can be asked for", "at", l.Addr().String())
		err = observe.Serve(ctx, l, observe.Options{Metrics: d.metrics, Health: d.Health, Log: d.log})
	}
	if err != nil && ctx.Err() == nil {
		d.log.Error("metrics cannot be asked for", "err", err)
		d.tellOwner(ctx, fmt.Sprintf("metrics:%d", d.started.UnixNano()), fmt.Sprintf("Metrics and /readyz are not served: %v\nSee observe.metrics in the configuration.", err))
	}
}

func (d *Daemon) listenMetrics(ctx context.Context) (net.Listener, error) {
	if d.metricsAt != nil {
		return d.metricsAt, nil
	}
	if at := d.config.Observe.Metrics; at != config.MetricsSocket {
		var c net.ListenConfig
		return c.Listen(ctx, "tcp", at)
	}
	return control.Listen(filepath.Join(d.opt.Paths.RuntimeDir, MetricsSocket), d.log)
}
