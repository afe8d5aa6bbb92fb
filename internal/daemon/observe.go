package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/store"
)

// groupNames lists the groups, main first.
func (d *Daemon) groupNames() []chat.Group {
	out := []chat.Group{chat.Main}
	for _, name := range slices.Sorted(maps.Keys(d.config.Groups)) {
		if name != string(chat.Main) {
			out = append(out, chat.Group(name))
		}
	}
	return out
}

// Status is the daemon's state in one look.
func (d *Daemon) Status(ctx context.Context) (control.Status, error) {
	open, err := d.store.Status(ctx)
	if err != nil {
		return control.Status{}, err
	}
	s := control.Status{
		Version: d.opt.Version, PID: os.Getpid(), UID: os.Getuid(), Started: d.started,
		HostMode: "on", Held: d.queue.Held(), Waiting: open.Waiting, Outbox: open.Pending,
		Sessions: d.runner.Sessions(), Prepared: d.runner.Prepared(), Config: d.opt.Paths.Config, Data: d.opt.Paths.DataDir, Live: []control.RunInfo{},
	}
	h := d.proven(ctx, "")
	s.HostModeReason = fmt.Sprintf("the boundary held against %d attempts to break out", len(h.Report.Attempts))
	s.Layers, s.Missing = h.Layers, h.Missing
	switch {
	case h.Off != "":
		s.HostMode, s.HostModeReason = "off", h.Off
	case !d.config.HostMode.Enabled:
		s.HostMode, s.HostModeReason = "off", "hostMode.enabled is false"
	}
	s.Spares, s.Servers, s.Modes = d.spares.count(), d.missingServers(), d.modes(ctx, d.groupNames())
	s.Channels = d.channelStates()
	if s.Nodes, err = d.Nodes(ctx); err != nil {
		return control.Status{}, err
	}
	paused, err := d.store.PausedGroups(ctx)
	if err != nil {
		return control.Status{}, err
	}
	for _, p := range paused {
		s.Paused = append(s.Paused, control.PausedGroup{Group: p.Group, At: p.At, Reason: p.Reason})
	}
	if s.HeldMessages, err = d.heldMessages(ctx); err != nil {
		return control.Status{}, err
	}
	for _, r := range open.Live {
		s.Live = append(s.Live, runInfo(r))
	}
	return s, nil
}

// Groups lists the groups and what a message in each would meet now.
func (d *Daemon) Groups(ctx context.Context) ([]control.GroupInfo, error) {
	var out []control.GroupInfo
	for _, name := range d.groupNames() {
		g := d.config.Groups[string(name)]
		info := control.GroupInfo{
			Name: name, Mode: d.modeOf(name), Agent: g.Agent, Trigger: g.Trigger,
			Chats: append([]string{console.Address(name).String()}, g.Chats...),
		}
		if info.Agent == "" {
			info.Agent = d.config.Agent.Kind
		}
		if info.Trigger == "" {
			info.Trigger = "mention"
			if name == chat.Main {
				info.Trigger = "always"
			}
		}
		r, err := d.request(ctx, name, grant.Trigger{Kind: "message", Owner: true, Terminal: true})
		if err != nil {
			return nil, err
		}
		d.fit(ctx, &r, "")
		if got, err := grant.Decide(r); err == nil {
			info.Agent = got.Agent
		} else if info.Refusal = err.Error(); !isRefusal(err) {
			return nil, err
		}
		out = append(out, info)
	}
	return out, nil
}

func isRefusal(err error) bool {
	var no *grant.Refusal
	return errors.As(err, &no)
}

// Runs lists runs, the newest first.
func (d *Daemon) Runs(ctx context.Context, q control.RunsQuery) ([]control.RunInfo, error) {
	f := store.RunFilter{Group: q.Group, Live: q.Live, Limit: q.Limit}
	if q.Before != "" {
		r, err := d.store.Run(ctx, q.Before)
		if err != nil {
			return nil, asControl(err)
		}
		f.Before = r.Row
	}
	runs, err := d.store.ListRuns(ctx, f)
	out := make([]control.RunInfo, len(runs))
	for i, r := range runs {
		out[i] = runInfo(r)
	}
	return out, err
}

// RunByID tells one run's story.
func (d *Daemon) RunByID(ctx context.Context, id chat.RunID) (control.RunInfo, error) {
	r, err := d.store.Run(ctx, id)
	if err != nil {
		return control.RunInfo{}, asControl(err)
	}
	return runInfo(r), nil
}

func runInfo(r store.RunInfo) control.RunInfo {
	return control.RunInfo{
		ID: r.ID, Group: r.Group, State: string(r.State), Mode: r.Mode, Agent: r.Agent, Session: r.Session,
		Created: r.Queued, Started: r.Started, Ended: r.Ended, Error: r.Error, CostUSD: r.CostUSD, Tools: r.ToolCalls,
		InputTokens: r.InputTokens, OutputTokens: r.OutputTokens,
	}
}

// AuditList lists entries, the oldest first.
func (d *Daemon) AuditList(ctx context.Context, q control.AuditQuery) ([]control.AuditEntry, error) {
	f := audit.Filter{Group: q.Group, Run: q.Run, Since: q.Since, Until: q.Until, Before: q.Before, Newest: true}
	limit := cmp.Or(max(q.Limit, 0), 200)
	if q.Sender == "" {
		f.Limit = limit
	}
	if q.Kind != "" {
		f.Kinds = []audit.Kind{audit.Kind(q.Kind)}
	}
	if q.ID > 0 {
		f.After, f.Limit, f.Newest = q.ID-1, 1, false
	}
	out := []control.AuditEntry{}
	for row, err := range d.store.Rows(ctx, f) {
		if err != nil {
			return nil, err
		}
		if q.ID > 0 && row.ID != q.ID {
			break
		}
		if q.Sender != "" && !audit.Names(row, q.Sender) {
			continue
		}
		if out = append(out, auditEntry(row)); len(out) == limit {
			break
		}
	}
	if f.Newest {
		slices.Reverse(out)
	}
	if q.ID > 0 && len(out) == 0 {
		return nil, &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("there is no audit entry %d", q.ID)}
	}
	if q.ID > 0 {
		return out, d.join(ctx, &out[0])
	}
	return out, nil
}

// join reads what an entry holds in parts.
func (d *Daemon) join(ctx context.Context, e *control.AuditEntry) error {
	p, ok := audit.PartedOf(e.Data)
	if !ok {
		return nil
	}
	var parts []audit.Row
	for row, err := range d.store.Rows(ctx, audit.Filter{After: e.ID - int64(p.Entries) - 1, Limit: p.Entries}) {
		if err != nil {
			return err
		}
		parts = append(parts, row)
	}
	var err error
	if e.Whole, err = p.Join(parts); err != nil { // its owner had them erased
		d.log.Info("an audit entry is shown in brief", "id", e.ID, "why", err)
	}
	return nil
}

func auditEntry(row audit.Row) control.AuditEntry {
	return control.AuditEntry{
		ID: row.ID, At: row.At, Kind: string(row.Kind), Group: row.Group, Run: row.Run, Session: row.Session,
		Index: row.Leaf, Data: row.Payload,
	}
}

// AuditExport writes the log with its proofs, or the receipt of a run.
func (d *Daemon) AuditExport(ctx context.Context, q control.ExportQuery, w io.Writer) error {
	if q.Run != "" {
		r, err := d.RunByID(ctx, q.Run)
		if err != nil {
			return err
		}
		if r.Ended.IsZero() {
			return &control.Error{Code: control.CodeFailed, Message: fmt.Sprintf("run %s has not ended", q.Run), Hint: "its receipt is there a moment after its end"}
		}
	}
	if _, err := d.sequencer.Sequence(ctx); err != nil {
		return err
	}
	_, err := audit.Export(ctx, w, d.store, d.key.Public, audit.Filter{Run: q.Run})
	return err
}
