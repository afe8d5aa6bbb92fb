package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
)

// rights are the owner's lasting answers, in memory, so that no decision reads
// the store.
type rights struct {
	change sync.Mutex // held while they are changed and read anew
	all    atomic.Pointer[[]store.Right]
}

// loadRights reads them from the store, and gives the router rules of it.
func (d *Daemon) loadRights(ctx context.Context) error {
	all, err := d.store.Rights(ctx)
	if err != nil {
		return err
	}
	d.rights.all.Store(&all)
	return d.newRules()
}

// rightsNow lists those whose time is not over.
func (d *Daemon) rightsNow() []store.Right {
	var out []store.Right
	all, now := d.rights.all.Load(), steps.Now()
	if all == nil {
		return nil
	}
	for _, r := range *all {
		if !r.Over(now) {
			out = append(out, r)
		}
	}
	return out
}

// right finds the right of a kind, a group and a subject.
func (d *Daemon) right(kind string, g chat.Group, subject string) (store.Right, bool) {
	for _, r := range d.rightsNow() {
		if r.Kind == kind && r.Group == g && r.Subject == subject {
			return r, true
		}
	}
	return store.Right{}, false
}

// allow keeps a right that somebody gave, and has it in memory when it returns.
// why is for the audit, in words.
func (d *Daemon) allow(ctx context.Context, r store.Right, who approval.Who, why string) error {
	d.rights.change.Lock()
	defer d.rights.change.Unlock()
	r.By, r.From = string(who.Sender.ID), who.From.String()
	_, err := d.store.Allow(ctx, r, audit.Entry{At: steps.Now(), Kind: audit.RightAllowed, Group: r.Group, Data: audit.RightData{
		Right: r.Kind, Subject: r.Subject, Hash: r.Hash, Until: r.Until, By: r.By, From: r.From, Reason: why,
	}})
	if err != nil {
		return err
	}
	return d.loadRights(ctx)
}

// disallow takes a right back, and has it out of memory when it returns.
func (d *Daemon) disallow(ctx context.Context, id int64, who approval.Who, why string) (store.Right, error) {
	d.rights.change.Lock()
	defer d.rights.change.Unlock()
	for _, r := range *d.rights.all.Load() {
		if r.ID != id {
			continue
		}
		err := d.store.Disallow(ctx, id, audit.Entry{At: steps.Now(), Kind: audit.RightEnded, Group: r.Group, Data: audit.RightData{
			Right: r.Kind, Subject: r.Subject, Hash: r.Hash, Until: r.Until, By: string(who.Sender.ID), From: who.From.String(), Reason: why,
		}})
		if err != nil {
			return r, err
		}
		return r, d.loadRights(ctx)
	}
	return store.Right{}, fmt.Errorf("right %d: %w", id, store.ErrNotFound)
}

// Rights lists what the owner allowed for longer than once.
func (d *Daemon) Rights(context.Context) ([]control.Right, error) {
	out := []control.Right{}
	for _, r := range d.rightsNow() {
		out = append(out, control.Right(r))
	}
	return out, nil
}

// RemoveRight takes one of them back. Whoever is on the socket is the owner.
func (d *Daemon) RemoveRight(ctx context.Context, id int64) error {
	_, err := d.disallow(ctx, id, atTheSocket(), "the owner took it back")
	if errors.Is(err, store.ErrNotFound) {
		return &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("there is no right %d", id), Hint: "nanoclaw rights lists those there are"}
	}
	return err
}
