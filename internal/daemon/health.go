package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/doctor"
	"nanoclaw/internal/grant"
)

// healthTime bounds one look at all that is needed.
const healthTime = 10 * time.Second

// healthKey is what is written to see that the store can be written.
const healthKey = "health.at"

// Health says whether the daemon can do now what it is there for. Each check does
// what it speaks of, and none reports what was true earlier, but for the probe of a
// boundary: its finding holds until something that it rests on is another.
func (d *Daemon) Health(ctx context.Context) (control.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	checks := []control.Check{d.startHealth(), d.storeHealth(ctx), d.auditHealth(ctx)}
	checks = append(checks, d.boundaryHealth(ctx)...)
	checks = append(checks, d.channelHealth()...)
	checks = append(checks, d.runHealth(ctx)...)
	checks = append(checks, asCheck(doctor.Disk("disk", d.opt.Paths.DataDir)))
	return control.HealthOf(time.Now(), checks), nil
}

func asCheck(c doctor.Check) control.Check {
	return control.Check{Name: c.Name, State: string(c.State), Detail: c.Detail, Fix: c.Fix}
}

func healthy(name, detail string) control.Check {
	return control.Check{Name: name, State: string(doctor.OK), Detail: detail}
}

func unhealthy(name string, err error, fix string) control.Check {
	detail := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		detail = fmt.Sprintf("it did not answer within %s", healthTime)
	}
	return control.Check{Name: name, State: string(doctor.Fail), Detail: detail, Fix: fix}
}

func (d *Daemon) startHealth() control.Check {
	if !d.up.Load() {
		return unhealthy("daemon", errors.New("it is starting or ending"), "ask again in a moment")
	}
	return healthy("daemon", "version "+d.opt.Version+", since "+d.started.Local().Format(time.DateTime))
}

// storeHealth writes into the store, and waits for the disk.
func (d *Daemon) storeHealth(ctx context.Context) control.Check {
	began := time.Now()
	done := make(chan error, 1) // a change is not cancelled in the middle
	go func() { done <- d.store.SetMeta(ctx, healthKey, began.UTC().Format(time.RFC3339)) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return unhealthy("store", err, "look at the disk of "+d.opt.Paths.DataDir+", or at the database; nothing that comes in can be kept")
	}
	return healthy("store", fmt.Sprintf("written in %s", time.Since(began).Round(10*time.Microsecond)))
}

// unsigned is how long an entry may wait to be signed.
const unsigned = time.Minute

// auditHealth checks the end of the log, and that what is new is signed.
func (d *Daemon) auditHealth(ctx context.Context) control.Check {
	const name, fix = "audit log", "nanoclaw audit verify says what is wrong; put back a backup if somebody changed the data folder"
	size, err := audit.CheckHead(ctx, d.store, d.key.Verifier)
	if err != nil {
		return unhealthy(name, err, fix)
	}
	head, err := d.store.Head(ctx)
	if err != nil {
		return unhealthy(name, err, fix)
	}
	for r, err := range d.store.Rows(ctx, audit.Filter{After: head.LastID, Limit: 1}) {
		if err != nil {
			return unhealthy(name, err, fix)
		}
		if age := time.Since(r.At); age > unsigned {
			return unhealthy(name, fmt.Errorf("entry %d waits to be signed since %s", r.ID, r.At.Local().Format(time.DateTime)), fix)
		}
	}
	return healthy(name, fmt.Sprintf("the checkpoint over %d entries is ours, and the newest is as it was signed", size))
}

// boundaryHealth says of the groups what would stop their runs from being started.
func (d *Daemon) boundaryHealth(ctx context.Context) []control.Check {
	var out []control.Check
	proven := map[string][]string{}
	for _, m := range d.modes(ctx, d.groupNames()) {
		name := "group " + string(m.Group)
		switch {
		case m.Engine == "":
			why := m.Refusal
			if why == "" {
				why = "no engine of " + m.Mode + " mode is proven"
			}
			out = append(out, control.Check{Name: name, State: string(doctor.Fail), Detail: "its runs cannot start: " + why, Fix: "nanoclaw doctor says what is missing"})
		case m.Refusal != "":
			out = append(out, control.Check{Name: name, State: string(doctor.Warn), Detail: "its runs are refused: " + m.Refusal, Fix: fmt.Sprintf("nanoclaw policy show --group %s", m.Group)})
		default:
			if c, ok := d.answers(ctx, name, m); !ok {
				out = append(out, c)
				continue
			}
			proven[m.Engine] = append(proven[m.Engine], string(m.Group))
		}
	}
	for _, engine := range slices.Sorted(maps.Keys(proven)) {
		out = append(out, healthy("boundary "+engine, "proven, for "+short(proven[engine])))
	}
	return out
}

// answers asks a container engine, whose daemon may be gone since it was proven,
// whether it still has the image.
func (d *Daemon) answers(ctx context.Context, name string, m control.GroupMode) (control.Check, bool) {
	if m.Mode != string(grant.ContainerMode) {
		return control.Check{}, true
	}
	g, err := d.containerGrant(m.Group)
	if err == nil {
		i := slices.IndexFunc(d.containers, func(e *mechanism) bool { return e.name == m.Engine })
		if i < 0 {
			return control.Check{}, true
		}
		err = d.usable(ctx, d.containers[i], g.Image)
	}
	if err != nil {
		return unhealthy(name, fmt.Errorf("its runs cannot start: %w", err), "nanoclaw doctor says what is missing"), false
	}
	return control.Check{}, true
}

// channelHealth says how each network stands that this process has to hold.
func (d *Daemon) channelHealth() []control.Check {
	var out []control.Check
	known := map[chat.ChannelID]bool{}
	for _, c := range d.channelStates() {
		known[c.Channel] = true
		name := "channel " + string(c.Channel)
		if c.State == string(channel.Connected) {
			out = append(out, healthy(name, "connected since "+c.Since.Local().Format(time.DateTime)))
			continue
		}
		detail := c.State + " since " + c.Since.Local().Format(time.DateTime)
		if c.Cause != "" {
			detail += ": " + c.Cause
		}
		out = append(out, unhealthy(name, errors.New(detail), "nanoclaw channel list; what is said there is fetched once it is connected"))
	}
	if d.nodes.name != "" { // another one may hold it
		return out
	}
	for _, id := range slices.Sorted(maps.Keys(d.channels)) {
		if _, lost := d.channels[id].(channel.Supervised); lost && !known[id] {
			out = append(out, unhealthy("channel "+string(id), errors.New("not connected yet"), "ask again in a moment"))
		}
	}
	return out
}

// runHealth says whether messages become runs, and what they have led to is delivered.
func (d *Daemon) runHealth(ctx context.Context) []control.Check {
	var out []control.Check
	if held := d.queue.Held(); held != "" {
		out = append(out, unhealthy("runs", errors.New("no new run is started: "+held), "nanoclaw config plan"))
	} else if rests := d.queue.Rests(""); rests != "" {
		out = append(out, control.Check{Name: "runs", State: string(doctor.Warn), Detail: "the owner paused all groups: " + rests, Fix: "nanoclaw resume --all"})
	}
	open, err := d.store.Status(ctx)
	if err != nil {
		return append(out, unhealthy("queue", err, "look at the check of the store"))
	}
	out = append(out, healthy("queue", fmt.Sprintf("%d messages wait for a run, %d for delivery, %d runs go on", open.Waiting, open.Pending, len(open.Live))))
	held, err := d.heldMessages(ctx)
	if err != nil {
		return append(out, unhealthy("queue", err, "look at the check of the store"))
	}
	for _, h := range held {
		out = append(out, control.Check{Name: "waiting", State: string(doctor.Warn), Detail: fmt.Sprintf("%d messages of group %s: %s", h.Count, h.Group, h.Why), Fix: "nanoclaw status"})
	}
	return out
}

// maxListed bounds the names in one line.
const maxListed = 10

// short joins names, and not more than a line can hold.
func short(names []string) string {
	if len(names) > maxListed {
		return strings.Join(names[:maxListed], ", ") + fmt.Sprintf(" and %d more", len(names)-maxListed)
	}
	return strings.Join(names, ", ")
}
