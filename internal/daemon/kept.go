package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/delayed"
)

// Quarantine lists what was moved away from the owner's folders.
func (d *Daemon) Quarantine(_ context.Context, q control.QuarantineQuery) ([]control.Quarantined, error) {
	d.kept.Lock()
	defer d.kept.Unlock()
	kept, err := d.keptBy(q.ID)
	if err != nil {
		return nil, err
	}
	out := make([]control.Quarantined, len(kept))
	for i, k := range kept {
		out[i] = quarantined(k)
		if q.ID == "" {
			continue
		}
		files, more, err := delayed.Look(k)
		if err != nil {
			out[i].Error = err.Error()
		}
		out[i].More = more
		for _, f := range files {
			out[i].Inside = append(out[i].Inside, control.QuarantinedFile{
				Path: delayed.Plain(f.Path), Mode: f.Mode.String(), Size: f.Size, Link: f.Link, Text: strings.ToValidUTF8(string(f.Text), "\uFFFD"),
			})
		}
	}
	return out, nil
}

// keptBy gives what an ID names, everything for "". The caller holds kept.
func (d *Daemon) keptBy(id string) (kept []delayed.Kept, err error) {
	if id == "" {
		kept, err = delayed.Contents(d.quarantineDir())
	} else {
		kept, err = delayed.Named(d.quarantineDir(), id)
	}
	switch {
	case len(kept) == 0 && err != nil:
		return nil, err
	case len(kept) == 0 && id != "":
		return nil, &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("there is no %q in the quarantine", id), Hint: "nanoclaw quarantine list shows what is there"}
	case err != nil:
		d.log.Warn("a part of the quarantine cannot be understood", "err", err)
	}
	return kept, nil
}

func quarantined(k delayed.Kept) control.Quarantined {
	q := control.Quarantined{
		ID: k.ID, At: k.At, Group: chat.Group(k.Group), Run: chat.RunID(k.Run), Session: chat.SessionID(k.Session),
		To: k.To, What: k.What, Failed: k.Failed, Files: k.Files, Bytes: k.Bytes,
	}
	if k.Path != "" {
		q.From = filepath.Join(k.Folder, k.Path)
	}
	return q
}

// QuarantineAct restores or removes what an ID names.
func (d *Daemon) QuarantineAct(ctx context.Context, r control.QuarantineAct) ([]control.Quarantined, error) {
	do := map[string]func(delayed.Kept) error{control.Restore: delayed.Restore, control.Remove: delayed.Discard}[r.Act]
	if do == nil || r.ID == "" {
		return nil, &control.Error{Code: control.CodeUsage, Message: "say what to restore or to remove"}
	}
	d.kept.Lock()
	defer d.kept.Unlock()
	kept, err := d.keptBy(r.ID)
	if err != nil {
		return nil, err
	}
	if r.Act == control.Restore {
		if err := d.free(kept); err != nil {
			return nil, err
		}
	}
	out := make([]control.Quarantined, len(kept))
	for i, k := range kept {
		out[i] = quarantined(k)
		detail := out[i].From
		if err := do(k); err != nil {
			out[i].Error = err.Error()
			detail += ": " + err.Error()
		}
		d.record(ctx, audit.Entry{
			At: time.Now(), Kind: audit.OwnerActed, Group: out[i].Group, Run: out[i].Run, Session: out[i].Session,
			Data: audit.OwnerActedData{Act: r.Act + " from the quarantine", Target: k.ID, Detail: detail},
		})
	}
	return out, nil
}

// free refuses to put files into a folder that an agent may write now, or that
// was not compared yet: they would be found as new and moved away once more.
func (d *Daemon) free(kept []delayed.Kept) error {
	records, err := delayed.Left(d.recordsDir())
	if err != nil {
		return err
	}
	for _, k := range kept {
		for _, r := range records {
			for _, f := range r.Folders {
				if !within(k.Folder, f.Path) && !within(f.Path, k.Folder) {
					continue
				}
				return &control.Error{
					Code: control.CodeRefused, Message: fmt.Sprintf("a session of %s works in %s, and what is put there now would be moved away at its end", r.Group, delayed.Plain(f.Path)),
					Hint: "wait for it, or end it: nanoclaw stop --group " + r.Group,
				}
			}
		}
	}
	return nil
}

// within tells whether p is dir or lies in it.
func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// keeping says for how long things stay in the quarantine.
func (d *Daemon) keeping() string {
	if d.config.Quarantine.Keep == 0 {
		return "It is kept until you remove it."
	}
	return fmt.Sprintf("It is kept for %s.", d.config.Quarantine.Keep)
}

// keptInterval is how often the quarantine is looked at for what is too old, or
// too much.
const keptInterval = 6 * time.Hour

func (d *Daemon) keepQuarantine(ctx context.Context) {
	tick := time.NewTicker(keptInterval)
	defer tick.Stop()
	for {
		d.expire(ctx, time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// expire removes what is kept no longer, and tells the owner.
func (d *Daemon) expire(ctx context.Context, now time.Time) {
	d.kept.Lock()
	defer d.kept.Unlock()
	if _, err := os.Lstat(d.quarantineDir()); err != nil {
		return // nothing was ever moved there
	}
	kept, err := d.keptBy("")
	if err != nil {
		d.log.Error("the quarantine cannot be read", "err", err)
		return
	}
	var gone, failed []string
	for _, k := range delayed.Expired(kept, now, time.Duration(d.config.Quarantine.Keep), int64(d.config.Quarantine.Size)) {
		line := fmt.Sprintf("%s %s, of %s", k.ID, delayed.Plain(filepath.Join(k.Folder, k.Path)), k.At.Local().Format(time.DateOnly))
		if err := delayed.Discard(k); err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", line, err))
		} else {
			gone = append(gone, line)
		}
	}
	if len(gone)+len(failed) == 0 {
		return
	}
	d.record(ctx, audit.Entry{At: now, Kind: audit.DelayedExpired, Data: audit.DelayedData{
		Folder: d.quarantineDir(), Files: delayed.List(gone), Failed: delayed.List(failed),
	}})
	for _, line := range failed {
		d.log.Error("a part of the quarantine cannot be removed", "what", line)
	}
	if len(gone) > 0 {
		d.tellOwner(ctx, fmt.Sprintf("expired:%d", now.UnixNano()), "Removed from the quarantine, as your configuration says (quarantine.keep, quarantine.size):\n- "+strings.Join(delayed.List(gone), "\n- "))
	}
}
