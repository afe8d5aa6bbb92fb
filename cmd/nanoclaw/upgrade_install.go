package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/hostproc"
	"nanoclaw/internal/service"
	"nanoclaw/internal/store"
)

// upgradable is an installation whose program is replaced: our own, or that of the
// service's user, which root does not touch itself.
type upgradable interface {
	// key is the file of the key that the installation names, "" for none, and nameKey
	// how one is named, in words.
	key() (string, error)
	nameKey() string
	// backupPlace is where the backup goes, "" for none; backup writes it.
	backupPlace() (string, error)
	backup(ctx context.Context, file string) error
	// stop ends the daemon if one runs, and keeps others from the store until release
	// is called, where that can be done. service says that it is the manager's.
	stop(ctx context.Context) (release func() error, stopped, service bool, err error)
}

// installation gives the one that is to be upgraded.
func (a *app) installation(paths config.Paths, o upgradeOptions) (upgradable, error) {
	own := &ownInstall{a: a, paths: paths, o: o}
	if os.Geteuid() != 0 {
		return own, nil
	}
	owner, ok, err := a.serviceUser(paths)
	if err != nil || !ok {
		return own, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return &servedInstall{ownInstall: own, owner: owner, self: hostproc.Self{Path: self, Env: os.Environ()}}, nil
}

// ownInstall is one of whoever runs this.
type ownInstall struct {
	a     *app
	paths config.Paths
	o     upgradeOptions
}

func (in *ownInstall) key() (string, error) {
	c, err := in.a.loadConfig(in.paths)
	if errors.Is(err, config.ErrNoConfig) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return c.Upgrade.Key, nil
}

func (in *ownInstall) nameKey() string {
	return "name the file of a public key as upgrade.key in the configuration, or with --key"
}

func (in *ownInstall) backupPlace() (string, error) {
	name, err := in.o.place(in.paths, "nanoclaw-before-upgrade-"+time.Now().Format("20060102-150405")+".tgz")
	if c, err := in.a.loadConfig(in.paths); err == nil && c.Database != "" && name != "" {
		return "", &control.Error{Code: control.CodeUsage, Message: "the store is in " + store.DatabaseName(c.Database) + ", which is not in a backup of this machine",
			Hint: "keep it with pg_dump, then say --no-backup"}
	}
	return name, err
}

// place is where a backup goes: where --backup says, or beside the data folder.
func (o upgradeOptions) place(paths config.Paths, name string) (string, error) {
	if _, err := os.Lstat(paths.DataDir); o.noBackup || errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if o.backup == "" {
		o.backup = filepath.Join(filepath.Dir(paths.DataDir), name)
	}
	if _, err := os.Lstat(o.backup); err == nil {
		return "", &control.Error{Code: control.CodeUsage, Message: o.backup + " is there already", Hint: "choose another name; a backup overwrites nothing"}
	}
	return filepath.Abs(o.backup)
}

func (in *ownInstall) backup(ctx context.Context, file string) error {
	s, err := in.a.writeBackup(ctx, file, nil, false)
	if err == nil {
		in.a.tellLeft(s)
	}
	return err
}

func (in *ownInstall) stop(ctx context.Context) (func() error, bool, bool, error) {
	service, stop := in.a.stopperOf(ctx)
	release, stopped, err := in.a.stopForUpgrade(ctx, in.paths, in.o.wait, stop)
	return release, stopped, service, err
}

// servedInstall is one of the service's user, upgraded by root. That user runs agents,
// and its folders are writable to it: root believes nothing that is written there,
// follows no path in it, and has what is to be read there read by a process that gives
// up root's rights first, as each command of root's does.
type servedInstall struct {
	*ownInstall
	owner service.Owner
	self  hostproc.Self
}

// key is none: whoever writes that configuration does not choose whom root believes.
func (*servedInstall) key() (string, error) { return "", nil }

func (*servedInstall) nameKey() string {
	return "name the file of a public key with --key; it has to be root's, and the service's configuration is not asked"
}

// backupPlace is a file in a folder of its own, which is the service's user's alone: it
// writes the file, and reads it if it is restored.
func (in *servedInstall) backupPlace() (string, error) {
	name, err := in.o.place(in.paths, "nanoclaw-before-upgrade-"+time.Now().Format("20060102-150405"))
	if err != nil || name == "" || in.o.backup != "" {
		return name, err
	}
	return filepath.Join(name, "backup.tgz"), nil
}

func (in *servedInstall) backup(ctx context.Context, file string) error {
	if in.o.backup != "" {
		return in.self.Backup(ctx, file)
	}
	dir := filepath.Dir(file)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	err := give(dir, in.owner)
	if err == nil {
		err = in.self.Backup(ctx, file)
	}
	if err != nil {
		os.Remove(dir) // if nothing is in it
	}
	return err
}

// give makes a folder that root made another's. The folder around it may be theirs
// already, so it is held by a descriptor: what else they put there under its name is not
// given to them.
func give(dir string, to service.Owner) error {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if names, err := f.Readdirnames(1); len(names) > 0 || !errors.Is(err, io.EOF) || info.Mode().Perm() != 0o700 {
		return fmt.Errorf("%s is not the empty folder that was made a moment ago", dir)
	}
	return f.Chown(to.UID, to.GID)
}

func (in *servedInstall) stop(ctx context.Context) (func() error, bool, bool, error) {
	held := func() error { return nil } // the manager starts the service, and nobody else
	h := in.a.services()
	s, err := h.Status(ctx)
	if err != nil {
		return nil, false, false, err
	}
	if !s.Running {
		live, err := in.self.Live(ctx)
		if err == nil {
			return nil, false, false, &control.Error{Code: control.CodeRefused, Message: fmt.Sprintf("nanoclaw runs, with %d runs, and not as the service", live),
				Hint: "end it first: nanoclaw stop --daemon"}
		}
		return held, false, false, nil
	}
	if err := in.a.drain(ctx, in.o.wait, in.self.Live); err != nil {
		if ctx.Err() != nil {
			return nil, false, true, err
		}
		in.a.say("what runs is not known: %v", err) // a daemon that does not answer is ended all the same
	}
	in.a.say("stopping the service")
	return held, true, true, h.Stop(ctx)
}

// stopperOf says whether the daemon is the service, and how it is ended: by its manager
// if it is, which would start one again that ends by itself.
func (a *app) stopperOf(ctx context.Context) (service bool, stop func(context.Context, *control.Client) error) {
	h := a.services()
	if s, err := h.Status(ctx); err == nil && s.Running {
		return true, func(ctx context.Context, _ *control.Client) error { return h.Stop(ctx) }
	}
	return false, func(ctx context.Context, c *control.Client) error { return c.Shutdown(ctx) }
}

// stopForUpgrade ends the daemon if one runs, and keeps others from the store until
// release is called.
func (a *app) stopForUpgrade(ctx context.Context, paths config.Paths, wait time.Duration, stop func(context.Context, *control.Client) error) (release func() error, stopped bool, err error) {
	c, err := control.Dial(ctx, socket(paths))
	switch {
	case err == nil:
		err = a.drain(ctx, wait, func(ctx context.Context) (int, error) {
			s, err := c.Status(ctx)
			return len(s.Live), err
		})
		if err == nil {
			a.say("stopping the daemon")
			err = stop(ctx, c)
		}
		stopped = err == nil
		c.Close()
	case errors.Is(err, control.ErrNotRunning):
		err = nil
	}
	if err != nil {
		return nil, false, err
	}
	if _, err := os.Lstat(paths.DataDir); errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, stopped, nil
	}
	for deadline := time.Now().Add(stopTime); ; {
		release, err := store.HoldDir(paths.DataDir)
		if err == nil || !taken(err) || time.Now().After(deadline) {
			return release, stopped, err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, stopped, err
		}
	}
}

// drain waits until no run goes on, as long as wait says. What still goes on then is
// interrupted by the end, and taken up again by the next daemon.
func (a *app) drain(ctx context.Context, wait time.Duration, live func(context.Context) (int, error)) error {
	for deadline := time.Now().Add(wait); ; {
		n, err := live(ctx)
		if err != nil || n == 0 {
			return err
		}
		left := time.Until(deadline)
		if left <= 0 {
			a.say("%d runs still go on; they are taken up again later", n)
			return nil
		}
		if err := pause(ctx, min(left, time.Second)); err != nil {
			return err
		}
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
