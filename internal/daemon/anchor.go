package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
)

// anchorEvery is how often the log is anchored in a file at most.
const anchorEvery = time.Minute

// AuditVerify checks the log in the store, and against its anchors.
func (d *Daemon) AuditVerify(ctx context.Context, q control.VerifyQuery) (control.AuditReport, error) {
	r, err := audit.Verify(ctx, d.store, d.key.Verifier)
	report := control.AuditReport{OK: true, Entries: r.Size, Unsequenced: r.Unsequenced, Checkpoint: r.Root}
	if err == nil {
		err = d.checkAnchors(ctx, q.Anchor, &report)
	}
	var bad *audit.BadError
	if errors.As(err, &bad) {
		return control.AuditReport{Bad: bad.Error()}, nil
	}
	return report, err
}

// checkAnchors compares the log with the anchors of the configuration and with
// another that the owner has.
func (d *Daemon) checkAnchors(ctx context.Context, other string, report *control.AuditReport) error {
	add := func(got audit.Anchored, err error) error {
		report.Anchors += got.Anchors
		report.Anchored = max(report.Anchored, got.Last)
		return err
	}
	if file := d.anchorFile(); file != "" {
		err := add(audit.CheckAnchorFile(ctx, d.store, d.key.Verifier, file))
		if errors.Is(err, fs.ErrNotExist) {
			err = &audit.BadError{Leaf: -1, Why: "the file of its anchors is missing: " + file}
		}
		if err != nil {
			return err
		}
	}
	switch {
	case other == "":
		return nil
	case filepath.IsAbs(other):
		return add(audit.CheckAnchorFile(ctx, d.store, d.key.Verifier, other))
	}
	c, err := audit.ParseWords(other)
	if err != nil {
		return &control.Error{Code: control.CodeUsage, Message: err.Error()}
	}
	return add(audit.Anchored{Anchors: 1, Last: c.Size}, audit.CheckAnchor(ctx, d.store, c))
}

// anchorFile is where the log is anchored, "" for nowhere.
func (d *Daemon) anchorFile() string {
	if d.config.Audit.Anchor == "" {
		return ""
	}
	return grant.ExpandHome(d.config.Audit.Anchor, d.machine.OwnerHome)
}

// anchors is what the daemon remembers of its anchoring.
type anchors struct {
	last   int64 // entries that the newest anchor in the file covers
	failed bool  // the owner was told
}

// anchor keeps anchors of the log elsewhere until ctx ends. An anchor that the log does not lead to is told at the start: somebody
// put back an older store, or it was the owner, who then knows.
func (d *Daemon) anchor(ctx context.Context) {
	if d.config.Audit.Anchor == "" && d.config.Audit.AnchorChat == 0 {
		return
	}
	d.compareAnchors(ctx)
	tick := time.NewTicker(anchorEvery)
	defer tick.Stop()
	for {
		d.makeAnchors(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// compareAnchors compares once, at the start, with what an earlier process
// anchored. A file that is not there yet is made with the first anchor.
func (d *Daemon) compareAnchors(ctx context.Context) {
	file := d.anchorFile()
	if file == "" {
		return
	}
	_, err := audit.CheckAnchorFile(ctx, d.store, d.key.Verifier, file)
	if err == nil || errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
		return
	}
	d.log.Error("the audit log does not agree with its anchors", "err", err)
	d.tellOwner(ctx, fmt.Sprintf("anchor:%d", d.started.UnixNano()),
		fmt.Sprintf("The record of what happened is not the one that was anchored: %v\nIf you put back a backup, move %s away and restart nanoclaw. If not, somebody changed the data folder.", err, file))
	d.outbox.Wake()
}

// makeAnchors adds the newest checkpoint to the file and, when it is time, to the
// owner's chat.
func (d *Daemon) makeAnchors(ctx context.Context) {
	a, now := &d.anchors, time.Now()
	if file := d.anchorFile(); file != "" {
		last, err := audit.AppendAnchor(ctx, d.store, file, a.last, now)
		a.last = last
		if err != nil && ctx.Err() == nil {
			d.log.Error("the audit log could not be anchored", "file", file, "err", err)
			if !a.failed {
				a.failed = true
				d.tellOwner(ctx, fmt.Sprintf("anchoring:%d", d.started.UnixNano()), fmt.Sprintf("The audit log cannot be anchored in %s: %v\nIt is tried again each minute.", file, err))
				d.outbox.Wake()
			}
		}
	}
	if every := time.Duration(d.config.Audit.AnchorChat); every > 0 {
		if err := d.anchorInChat(ctx, every, now); err != nil && ctx.Err() == nil {
			d.log.Error("the audit log could not be anchored in the chat", "err", err)
		}
	}
}

// anchoredKey is where the store remembers when the chat got its last anchor.
const anchoredKey = "anchored.chat"

func (d *Daemon) anchorInChat(ctx context.Context, every time.Duration, now time.Time) error {
	text, err := d.store.Meta(ctx, anchoredKey)
	if err != nil {
		return err
	}
	last, _ := time.Parse(time.RFC3339, text) // never, if it cannot be read
	if now.Sub(last) < every {
		return nil
	}
	head, err := d.store.Head(ctx)
	if err != nil || head.Size == 0 {
		return err
	}
	c, err := audit.OpenCheckpoint(head.Checkpoint, d.key.Verifier)
	if err != nil {
		return err
	}
	text = fmt.Sprintf("The audit log has %d entries. This message is their anchor: nanoclaw audit verify --anchor %s\nfails if the log was cut or written anew since.", c.Size, c.Words())
	d.tellOwner(ctx, "anchored:"+c.Words(), text)
	d.outbox.Wake()
	return d.store.SetMeta(ctx, anchoredKey, now.UTC().Format(time.RFC3339))
}
