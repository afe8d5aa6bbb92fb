package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
)

// lending is what the start read of the owner's mount-allowlist.json.
type lending struct {
	list *config.MountAllowlist // nil: there is none
	file policyFile
}

// loadAllowlist reads the list. One that cannot be used keeps folders from being
// lent, and nothing else from starting.
func (d *Daemon) loadAllowlist() {
	dir := d.opt.Paths.ConfigDir
	list, print, err := config.ReadMountAllowlist(dir)
	d.lending = lending{list: list, file: policyFile{
		path: filepath.Join(dir, config.MountAllowlistFile), was: print, there: err == nil, counts: true, unread: unread(err),
		look: func() (config.Fingerprint, error) {
			_, print, err := config.ReadMountAllowlist(dir)
			return print, err
		},
	}}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.warn("no folder of yours can be lent to a group: " + err.Error())
	}
	d.machine.Allowed = d.rooted(list)
}

// rooted is a list with its roots where they really lie now. What is put in the
// place of a link to one later gives nothing.
func (d *Daemon) rooted(l *config.MountAllowlist) *config.MountAllowlist {
	if l == nil {
		return nil
	}
	out := *l
	out.AllowedRoots = make([]config.AllowedRoot, len(l.AllowedRoots))
	for i, r := range l.AllowedRoots {
		if r.Path == "~" {
			r.Path += "/"
		}
		r.Path = resolved(grant.ExpandHome(r.Path, d.machine.OwnerHome))
		out.AllowedRoots[i] = r
	}
	return &out
}

// lentPaths are the folders that a group is lent, as they are written.
func lentPaths(g configGroup, t grant.Trigger) []string {
	var out []string
	for _, m := range g.Mounts {
		out = append(out, m.Path)
	}
	for _, m := range t.Mounts {
		out = append(out, grant.ParseMount(m).Path)
	}
	return out
}

// real says where folders lead now, for grant.Machine.Real.
func (d *Daemon) real(paths []string) map[string]string {
	out := make(map[string]string, len(paths))
	for _, p := range paths {
		p = grant.ExpandHome(p, d.machine.OwnerHome)
		if r, err := filepath.EvalSymlinks(p); err == nil {
			out[p] = r
		} else if errors.Is(err, fs.ErrNotExist) {
			out[p] = ""
		}
	}
	return out
}

// planMachine is the machine with another list, for who compares.
func (d *Daemon) planMachine(l *config.MountAllowlist, c *config.Config) grant.Machine {
	m := d.machine
	m.Allowed = d.rooted(l)
	var paths []string
	for _, g := range c.Groups {
		paths = append(paths, lentPaths(g, grant.Trigger{})...)
	}
	m.Real = d.real(paths)
	return m
}

// tellMount tells the owner, in their own chat, why a folder could not be lent:
// whoever wrote in the group can do nothing about it. Once a day for a reason.
func (d *Daemon) tellMount(ctx context.Context, g chat.Group, err error) {
	no, refused := errors.AsType[*grant.Refusal](err)
	if !refused || !strings.HasPrefix(no.Rule, "mount.") || d.outbox == nil {
		return
	}
	if a, err := d.chatOf(g); err != nil || a == console.Address(chat.Main) {
		return // whoever is told there is the owner
	}
	text := fmt.Sprintf("A run of group %s could not start: %s", g, no.Error())
	d.tellOwner(context.WithoutCancel(ctx), fmt.Sprintf("mount:%s:%x:%s", g, sha256.Sum256([]byte(text)), time.Now().UTC().Format(time.DateOnly)), text)
	d.outbox.Wake()
}
