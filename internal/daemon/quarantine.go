package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/beneath"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/delayed"
)

// clear compares a folder of the owner with what it was before a session that is
// over, and moves away what is new and would run code later. It gives lines for
// the audit and words for the owner; none if there is nothing to tell.
func (d *Daemon) clear(ctx context.Context, from delayed.Source, l *lent) (lines []string, words string) {
	now, err := delayed.Scan(l.root, l.real, delayed.After)
	if err != nil {
		now.Short = err.Error()
	}
	findings := delayed.Compare(l.before, now)
	if len(findings) == 0 && now.Short == "" {
		return nil, ""
	}
	var move, tell []delayed.Finding
	for _, f := range findings {
		lines = append(lines, f.String())
		if f.Move {
			move = append(move, f)
		} else {
			tell = append(tell, f)
		}
	}
	entry := audit.Entry{At: time.Now(), Kind: audit.DelayedFound, Group: chat.Group(from.Group), Run: chat.RunID(from.Run), Session: chat.SessionID(from.Session)}
	entry.Data = audit.DelayedData{Folder: l.real, Files: delayed.List(lines), Short: now.Short}
	d.record(ctx, entry)
	d.log.Warn("files that run code later were left in a folder of the owner", "folder", l.real, "session", from.Session, "move", len(move), "tell", len(tell), "short", now.Short)
	moved, err := d.quarantine(ctx, entry, from, l, move)
	return lines, d.report(from, moved, tell, now.Short, err)
}

// quarantine moves findings away and writes down where they are.
func (d *Daemon) quarantine(ctx context.Context, entry audit.Entry, from delayed.Source, l *lent, move []delayed.Finding) ([]delayed.Moved, error) {
	if len(move) == 0 {
		return nil, nil
	}
	d.kept.Lock()
	moved, err := delayed.Quarantine(d.quarantineDir(), l.root, from, move)
	d.kept.Unlock()
	data := audit.DelayedData{Folder: l.real}
	var to []string
	for _, m := range moved {
		if m.To != "" {
			to = append(to, m.To)
			data.Quarantine = filepath.Dir(filepath.Dir(m.To))
		}
		if m.Err != nil {
			data.Failed = append(data.Failed, fmt.Sprintf("%s: %v", m.Finding, m.Err))
		}
	}
	if err != nil {
		data.Failed = append(data.Failed, err.Error())
	}
	data.Files, data.Failed = delayed.List(to), delayed.List(data.Failed)
	entry.At, entry.Kind, entry.Data = time.Now(), audit.DelayedMoved, data
	d.record(ctx, entry)
	return moved, err
}

// report is what the owner is told.
func (d *Daemon) report(from delayed.Source, moved []delayed.Moved, tell []delayed.Finding, short string, err error) string {
	var b strings.Builder
	part := func(head string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "%s\n- %s\n", head, strings.Join(delayed.List(lines), "\n- "))
		}
	}
	fmt.Fprintf(&b, "The agent of %s worked in %s", from.Group, delayed.Plain(from.Folder))
	if from.Run != "" {
		fmt.Fprintf(&b, " (run %s)", from.Run)
	}
	b.WriteString(".\n")
	var away, stuck, told []string
	id := ""
	for _, m := range moved {
		name := m.Finding.String()
		if m.To != "" {
			id = cmp.Or(id, m.ID)
			name = m.ID + " " + name
		}
		if m.Err != nil {
			stuck = append(stuck, fmt.Sprintf("%s: %v", name, m.Err))
		} else {
			away = append(away, name)
		}
	}
	for _, f := range tell {
		told = append(told, f.String())
	}
	part("New files there would run code on this machine later, so they were moved away:", away)
	part("THESE COULD NOT BE MOVED AWAY, or not as a whole. Do not use the folder before you have looked at them:", stuck)
	part("These were left as they are:", told)
	if short != "" {
		fmt.Fprintf(&b, "The search was not complete, so there may be more: %s.\n", short)
	}
	if err != nil {
		fmt.Fprintf(&b, "The quarantine: %v.\n", err)
	}
	if id != "" {
		fmt.Fprintf(&b, "Files that you made there yourself meanwhile are among them. Look at one with: nanoclaw quarantine show %s\nPut it back with: nanoclaw quarantine restore %s\n%s", id, id, d.keeping())
	}
	return strings.TrimSpace(b.String())
}

// clearLeft compares the folders of sessions that an earlier process did not:
// their agents died with it.
func (d *Daemon) clearLeft(ctx context.Context) {
	records, err := delayed.Left(d.recordsDir())
	if err != nil {
		d.log.Error("records of earlier sessions cannot be read", "err", err)
		d.tellOwner(ctx, fmt.Sprintf("delayed:left:%d", d.started.UnixNano()),
			fmt.Sprintf("What earlier sessions left in your folders cannot be compared: %v\nLook at the folders that agents may write, then remove the file.", err))
	}
	for _, r := range records {
		for _, f := range r.Folders {
			r.Source.Folder, r.Source.At = f.Path, time.Now()
			if err := d.clearFolder(ctx, r.Source, f); err != nil {
				d.tellOwner(ctx, fmt.Sprintf("delayed:%s:%s", r.Session, f.Path),
					fmt.Sprintf("nanoclaw ended while the agent of %s worked in %s, and what it left there cannot be compared: %v\nLook at it before you use it.", r.Group, delayed.Plain(f.Path), err))
			}
		}
		if err := delayed.Forget(d.recordsDir(), r.Session); err != nil {
			d.log.Error("a record of an earlier session could not be removed", "err", err)
		}
	}
}

func (d *Daemon) clearFolder(ctx context.Context, from delayed.Source, f delayed.Folder) error {
	root, real, err := beneath.Root(f.Path)
	if err != nil {
		return err
	}
	defer root.Close()
	if real != f.Path {
		return errors.New("it is no longer there")
	}
	if !f.Before.In(root) {
		return errors.New("another folder is in its place")
	}
	if _, text := d.clear(ctx, from, &lent{path: f.Path, root: root, real: real, before: f.Before}); text != "" {
		d.tellOwner(ctx, fmt.Sprintf("delayed:%s:%s", from.Session, f.Path), text)
	}
	return nil
}
