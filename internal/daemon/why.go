package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/beneath"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/store"
	"nanoclaw/internal/touched"
	"nanoclaw/internal/why"
)

// Why explains a run, a message, or an entry of the audit log, and the run that
// it belongs to.
func (d *Daemon) Why(ctx context.Context, q control.WhyQuery) (control.Why, error) {
	if _, err := d.store.Run(ctx, chat.RunID(q.Name)); err == nil {
		return d.tellRun(ctx, control.Why{}, chat.RunID(q.Name))
	}
	if id, err := strconv.ParseInt(strings.TrimPrefix(q.Name, "#"), 10, 64); err == nil && id > 0 {
		entries, err := d.AuditList(ctx, control.AuditQuery{ID: id})
		if err != nil {
			return control.Why{}, err
		}
		e := entries[0]
		text := fmt.Sprintf("entry %d, %s: %s\n", e.ID, e.At.UTC().Format("2006-01-02T15:04:05Z"), audit.Describe(audit.Kind(e.Kind), e.Data))
		return d.tellRun(ctx, control.Why{Entry: &e, Text: text}, e.Run)
	}
	fates, err := d.store.FatesNamed(ctx, chat.MessageID(q.Name))
	if err != nil {
		return control.Why{}, err
	}
	switch len(fates) {
	case 0:
		return control.Why{}, &control.Error{
			Code: control.CodeNotFound, Message: fmt.Sprintf("there is no run, no audit entry and no message %q", q.Name),
			Hint: "nanoclaw runs and nanoclaw audit list show what there is",
		}
	case 1:
		return d.tellMessage(ctx, fates[0], chat.MessageID(q.Name))
	}
	var chats []string
	for _, f := range fates {
		chats = append(chats, fmt.Sprintf("%s: %s, run %s", f.From, f.State, cmp.Or(f.Run, "none")))
	}
	return control.Why{}, &control.Error{Code: control.CodeUsage, Message: "several chats have a message of that name:\n" + strings.Join(chats, "\n"), Hint: "name the run"}
}

func (d *Daemon) tellMessage(ctx context.Context, f store.Named, id chat.MessageID) (control.Why, error) {
	w := control.Why{
		Message: &control.MessageFate{Chat: f.From.String(), State: f.State, Reason: f.Reason, Run: f.Run},
		Text:    fmt.Sprintf("message in %s: %s (%s)\n", f.From, f.State, f.Reason),
	}
	held, err := d.whyHeld(ctx, f, id)
	if err != nil {
		return w, err
	}
	w.Text += held
	return d.tellRun(ctx, w, f.Run)
}

// tellRun adds the account of a run, if there is one.
func (d *Daemon) tellRun(ctx context.Context, w control.Why, run chat.RunID) (control.Why, error) {
	if run == "" {
		return w, nil
	}
	var a why.Account
	for row, err := range d.store.Rows(ctx, audit.Filter{Run: run}) {
		if err != nil {
			return w, err
		}
		a.Add(row)
	}
	if a.First == 0 {
		w.Text += fmt.Sprintf("run %s has done nothing yet\n", run)
		return w, nil
	}
	var text strings.Builder
	text.WriteString(w.Text)
	if err := a.Write(&text); err != nil {
		return w, err
	}
	var err error
	w.Account, err = json.Marshal(&a)
	w.Text = text.String()
	return w, err
}

// touched tells what a run changed in the folders that it could write and that
// hold work: its home and the agent's own files are left out.
func (d *Daemon) touched(ctx context.Context, g grant.Grant, since time.Time) []audit.ChangedFolder {
	var out []audit.ChangedFolder
	for _, m := range g.Mounts {
		if !m.Write || m.Held || m.File || !strings.HasPrefix(m.Target, "/workspace/") {
			continue
		}
		if f := d.touchedIn(ctx, m, since); len(f.Files) > 0 || f.Short != "" {
			out = append(out, f)
		}
	}
	return out
}

func (d *Daemon) touchedIn(ctx context.Context, m grant.Mount, since time.Time) audit.ChangedFolder {
	out := audit.ChangedFolder{Folder: m.Target}
	root, _, err := beneath.Root(m.Source)
	if err != nil {
		out.Short = err.Error()
		return out
	}
	defer root.Close()
	found, err := touched.Since(ctx, root, since, touched.Usual)
	if err != nil {
		out.Short = err.Error()
		return out
	}
	out.More, out.Short = found.More, found.Short
	for _, f := range found.Files {
		out.Files = append(out.Files, audit.ChangedFile{Path: f.Path, Bytes: f.Bytes, SHA256: f.SHA256, Kind: f.Kind})
	}
	return out
}
