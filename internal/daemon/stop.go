package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/store"
)

// Stop ends runs for good. Groups of theirs that have messages waiting are
// paused before, so that no other run takes the place of one that was stopped.
func (d *Daemon) Stop(ctx context.Context, r control.StopRequest) (control.Stopped, error) {
	return d.stopFor(ctx, r, authority.Terminal())
}

// stopFor is Stop for somebody whom package authority allowed it.
func (d *Daemon) stopFor(ctx context.Context, r control.StopRequest, who authority.Actor) (control.Stopped, error) {
	if (r.Run == "") == (r.Group == "") != r.All {
		return control.Stopped{}, &control.Error{Code: control.CodeUsage, Message: "name one thing to stop: a run, a group, or all"}
	}
	target := string(r.Run) + string(r.Group)
	if r.All {
		target = "all"
	}
	over := &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("run %s does not go on", r.Run), Hint: "nanoclaw runs shows what did"}
	group := r.Group
	if r.Run != "" {
		info, err := d.RunByID(ctx, r.Run)
		if err != nil {
			return control.Stopped{}, err
		}
		if !info.Ended.IsZero() {
			return control.Stopped{}, over // and nothing is paused for it
		}
		group = info.Group
	}
	d.record(ctx, audit.Entry{At: time.Now(), Kind: audit.OwnerActed, Group: group, Data: actedData(who, "stop", target, "")})
	// Nothing begins between the end of the last run and the look at what waits.
	d.queue.Pause(group, "runs are being stopped")
	ids, err := d.runner.Stop(ctx, r.Run, r.Group)
	there, thereErr := d.stopElsewhere(ctx, r.Run, r.Group)
	ids, err = append(ids, there...), errors.Join(err, thereErr)
	paused, pauseErr := d.pauseWaiting(ctx, group, who)
	if err == nil {
		err = pauseErr
	}
	if err == nil && r.Run != "" && len(ids) == 0 {
		err = over
	}
	slices.Sort(ids)
	return control.Stopped{Runs: ids, Paused: paused}, err
}

// pauseWaiting pauses those of a group, or of all, that have messages waiting,
// and takes back the pause that Stop began.
func (d *Daemon) pauseWaiting(ctx context.Context, g chat.Group, who authority.Actor) ([]chat.Group, error) {
	defer d.restore(ctx, g)
	waiting, err := d.store.Unanswered(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	var paused []chat.Group
	for _, w := range waiting {
		if g != queue.AllGroups && w != g {
			continue
		}
		if err := d.pause(context.WithoutCancel(ctx), w, "a run was stopped while messages were waiting", who); err != nil {
			return paused, err
		}
		paused = append(paused, w)
	}
	return paused, nil
}

// restore makes the queue's pause of a group what the store remembers of it.
func (d *Daemon) restore(ctx context.Context, g chat.Group) {
	all, err := d.store.PausedGroups(context.WithoutCancel(ctx))
	if err != nil {
		d.log.Error("which groups are paused cannot be read; the group stays paused", "group", g, "err", err)
		return
	}
	if i := slices.IndexFunc(all, func(p store.Paused) bool { return p.Group == g }); i >= 0 {
		d.queue.Pause(g, pausedWords(all[i]))
		d.runner.Nudge()
		return
	}
	d.queue.Resume(g)
	d.runner.Nudge()
}

// Pause starts no more runs of a group, or of all, until Resume.
func (d *Daemon) Pause(ctx context.Context, r control.PauseRequest) error {
	g, err := d.pauseTarget(r)
	if err != nil {
		return err
	}
	return d.pause(ctx, g, r.Reason, authority.Terminal())
}

// pause makes the pause durable before it holds: what the owner was told of
// survives a restart.
func (d *Daemon) pause(ctx context.Context, g chat.Group, reason string, who authority.Actor) error {
	p := store.Paused{Group: g, At: time.Now().UTC(), Reason: reason}
	if who.Role != authority.Owner {
		p.By = who.Sender
	}
	err := d.store.Pause(ctx, p, audit.Entry{At: p.At, Kind: audit.OwnerActed, Group: g, Data: actedData(who, "pause", nameOrAll(g), reason)})
	if err != nil {
		return err
	}
	d.restore(ctx, g)
	d.changed.fire()
	return nil
}

// Resume undoes Pause.
func (d *Daemon) Resume(ctx context.Context, r control.PauseRequest) error {
	g, err := d.pauseTarget(r)
	if err != nil {
		return err
	}
	return d.resume(ctx, g, authority.Terminal())
}

// resume is Resume for somebody whom package authority allowed it.
func (d *Daemon) resume(ctx context.Context, g chat.Group, who authority.Actor) error {
	was, err := d.store.Resume(ctx, g, audit.Entry{
		At: time.Now(), Kind: audit.OwnerActed, Group: g, Data: actedData(who, "resume", nameOrAll(g), ""),
	})
	if err != nil {
		return err
	}
	d.queue.Resume(g)
	d.tasks.Nudge()
	d.runner.Nudge()
	d.changed.fire()
	if !was {
		return &control.Error{Code: control.CodeNotFound, Message: nameOrAll(g) + " is not paused", Hint: "nanoclaw status shows what is"}
	}
	return nil
}

func (d *Daemon) pauseTarget(r control.PauseRequest) (chat.Group, error) {
	if (r.Group == "") != r.All {
		return "", &control.Error{Code: control.CodeUsage, Message: "name a group, or all"}
	}
	if r.All {
		return queue.AllGroups, nil
	}
	return r.Group, d.known(r.Group)
}

// actedData is what the record has of an act: of one in a chat, by whom and where.
func actedData(who authority.Actor, act, target, detail string) audit.OwnerActedData {
	d := audit.OwnerActedData{Act: act, Target: target, Detail: detail}
	if who.Surface == authority.Chat {
		d.By, d.Role, d.From = who.Sender, string(who.Role), who.From.String()
	}
	return d
}

func nameOrAll(g chat.Group) string {
	if g == queue.AllGroups {
		return "all"
	}
	return string(g)
}

// loadPaused puts the groups to rest that an earlier process did.
func (d *Daemon) loadPaused(ctx context.Context) error {
	all, err := d.store.PausedGroups(ctx)
	for _, p := range all {
		d.queue.Pause(p.Group, pausedWords(p))
	}
	return err
}

// pausedWords say why nothing begins, to whoever waits.
func pausedWords(p store.Paused) string {
	text, resume := pausedBy(p)+" paused this group", "--group "+string(p.Group)
	if p.Group == queue.AllGroups {
		text, resume = pausedBy(p)+" paused all groups", "--all"
	}
	if p.Reason != "" {
		text += " (" + p.Reason + ")"
	}
	return text + ". Messages wait until: nanoclaw resume " + resume
}

// pausedBy names who put a group to rest.
func pausedBy(p store.Paused) string {
	if p.By != "" {
		return "An admin (" + p.By + ")"
	}
	return "The owner"
}

// tellPaused says to a chat, once for each pause, that its message waits.
func (d *Daemon) tellPaused(ctx context.Context, in chat.Inbound, g chat.Group) {
	all, err := d.store.PausedGroups(ctx)
	if err != nil {
		d.log.Error("which groups are paused cannot be read", "err", err)
		return
	}
	for _, p := range all {
		if p.Group != g && p.Group != queue.AllGroups {
			continue
		}
		text := "This assistant is paused. Your message waits until it is resumed."
		if in.Sender.Owner {
			text = pausedWords(p)
		}
		_, err := d.outbox.Put(ctx, chat.Outbound{
			To: in.From, Kind: chat.Notice, Text: text, Group: g, Key: fmt.Sprintf("paused:%s:%d:%s", p.Group, p.At.UnixNano(), in.From),
		})
		if err != nil {
			d.log.Error("that a group is paused could not be told", "err", err)
		}
		return
	}
}
