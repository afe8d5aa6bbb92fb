package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/privilege"
	"nanoclaw/internal/steps"
)

// configGroup is a group of the configuration.
type configGroup = config.Group

// decide gives the grant of a group now: it gathers what the decision rests on
// and asks grant.Decide. Its order is that of I6, I1, I7.
func (d *Daemon) decide(ctx context.Context, g chat.Group, t grant.Trigger) (grant.Grant, error) {
	if err := d.checkConfig(ctx); err != nil {
		return grant.Grant{}, err
	}
	if err := d.checkInherited(ctx, g); err != nil {
		return grant.Grant{}, err
	}
	r, err := d.request(ctx, g, t)
	if err != nil {
		return grant.Grant{}, err
	}
	d.fit(ctx, &r, "")
	got, err := d.granted(r)
	d.tellMount(ctx, g, err)
	return got, err
}

// granted decides, and notes which MCP servers cannot be had now.
func (d *Daemon) granted(r grant.Request) (grant.Grant, error) {
	g, err := grant.Decide(r)
	if err == nil {
		d.judgeServers(&g)
	}
	return g, err
}

// request is the input of a decision, but for what fit finds out.
func (d *Daemon) request(ctx context.Context, g chat.Group, t grant.Trigger) (grant.Request, error) {
	ranClaude, err := d.store.RanClaude(ctx, g)
	if err != nil {
		return grant.Request{}, err
	}
	now := steps.Now()
	runs, oldest, err := d.store.HostRuns(ctx, g, now.Add(-time.Hour))
	if err != nil {
		return grant.Request{}, err
	}
	trusted, err := d.trusted(ctx, g)
	if err != nil {
		return grant.Request{}, err
	}
	live, _ := d.live()
	m := d.machineNow()
	m.Real = d.real(lentPaths(live.Groups[string(g)], t))
	return grant.Request{
		Config: live, Group: g, Trigger: t, Machine: m, Reached: d.reached(g),
		HostRuns:  grant.Count{N: runs, Reopens: oldest.Add(time.Hour)},
		RanClaude: ranClaude, Trusted: trusted,
	}, nil
}

// uid is the kernel uid of a group: its own from the recorded range if we may give
// it one, as root and the system user of a service may, else ours.
func (d *Daemon) uid(ctx context.Context, g chat.Group) (int, error) {
	if !privilege.Held() {
		return 0, nil
	}
	r, err := d.uidRange(ctx)
	if err != nil {
		return 0, err
	}
	return d.store.UID(ctx, g, r.First, r.Count)
}

// prepare makes the folders of a group before its boundary is started, owned by
// the group's uid. The group's folder itself is ours, so that what lies in it
// cannot be replaced from inside.
func (d *Daemon) prepare(ctx context.Context, g chat.Group) error {
	uid, err := d.uid(ctx, g)
	if err != nil {
		return err
	}
	dir := d.machine.GroupDir(g)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := d.prepareGlobal(ctx, uid); err != nil {
		return err
	}
	if err := ownNew(filepath.Join(dir, "workspace"), uid, memoryName, FirstMemory, 0o700); err != nil {
		return err
	}
	if err := d.prepareInbox(g); err != nil {
		return err
	}
	for _, name := range []string{"workspace", "home"} {
		if err := own(filepath.Join(dir, name), uid); err != nil {
			return err
		}
	}
	return d.prepareClaude(g, uid)
}

// prepareGlobal makes the folder of the shared memory. It belongs to main, and
// every other group reads it.
func (d *Daemon) prepareGlobal(ctx context.Context, uid int) error {
	mode := os.FileMode(0o700)
	if uid != 0 {
		var err error
		if uid, err = d.uid(ctx, chat.Main); err != nil {
			return err
		}
		mode = 0o755
	}
	if err := ownNew(d.machine.GlobalDir, uid, memoryName, FirstGlobal, mode); err != nil {
		return err
	}
	if uid == 0 {
		uid = os.Getuid()
	}
	return give(d.machine.GlobalDir, uid, mode)
}

// own makes a folder for a uid. Its parent is ours alone, so the name cannot
// change under us.
func own(p string, uid int) error {
	if err := os.MkdirAll(p, 0o700); err != nil {
		return err
	}
	if uid == 0 {
		uid = os.Getuid()
	}
	return give(p, uid, 0o700)
}

// give makes a folder somebody's, once: afterwards what its owner does to its
// mode is the owner's business, and we need no privilege to look.
func give(p string, uid int, mode os.FileMode) error {
	fi, err := os.Lstat(p)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is no folder: move it away", p)
	}
	if owner, ok := fi.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) == uid {
		return nil
	}
	if err := os.Chmod(p, mode); err != nil {
		return err
	}
	return os.Lchown(p, uid, uid)
}

// starter starts boundaries and makes the folders first.
type starter struct{ d *Daemon }

// Start prepares the group's folders and starts a boundary.
func (s starter) Start(ctx context.Context, engine string, spec boundary.Spec) (*boundary.Session, error) {
	return s.start(ctx, engine, spec, func() error { return s.d.prepare(ctx, spec.Grant.Group) })
}

// start starts a boundary that was tried, once an engine is there and prepare has made
// its folders.
func (s starter) start(ctx context.Context, engine string, spec boundary.Spec, prepare func() error) (*boundary.Session, error) {
	m, err := s.d.engineFor(ctx, engine, spec.Grant.Mode)
	if err != nil {
		return nil, err
	}
	e, err := m.open()
	if err != nil {
		return nil, err
	}
	if err := prepare(); err != nil {
		return nil, fmt.Errorf("making the folders of group %s: %w", spec.Grant.Group, err)
	}
	h := s.d.attested(ctx, m, spec.Grant)
	if h.Off != "" {
		return nil, &boundary.StartError{Step: "probe", Err: errors.New(h.Off), Hint: "nanoclaw doctor says what is missing and how to mend it."}
	}
	spec.Attestation = h.Attestation
	b, err := e.Start(ctx, spec)
	s.d.tellMount(ctx, spec.Grant.Group, err)
	return b, err
}
