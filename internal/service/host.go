package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"

	"nanoclaw/internal/config"
	"nanoclaw/internal/hostproc"
)

// Host is where a service is installed: this machine and this user, or a folder and
// programs that a test put in their place.
type Host struct {
	// System is runtime.GOOS, UID is who asks.
	System string
	UID    int
	// UserHome and ConfigHome are the folders of an ordinary user: the home, and
	// where its configuration is (XDG_CONFIG_HOME).
	UserHome, ConfigHome string
	// SystemUnits is systemd's folder for units of the owner of the machine.
	SystemUnits string
	// Booted is there where systemd runs the machine.
	Booted string
	// Do performs an act: hostproc.Manage.
	Do func(ctx context.Context, a hostproc.Act, out io.Writer) (string, error)
	// Trusted says why a program is not root's alone: hostproc.Trusted.
	Trusted func(path string) error
	// Lookup finds a user's uid and gid; found is false if there is none.
	Lookup func(name string) (uid, gid int, found bool, err error)
	// Chown gives what lies in a folder and is one user's to another.
	Chown func(dir string, from, to Owner) error
}

// This is the machine that we are on.
func This(getenv func(string) string) Host {
	home := getenv("HOME")
	h := Host{
		System: runtime.GOOS, UID: os.Geteuid(), UserHome: home, ConfigHome: getenv("XDG_CONFIG_HOME"),
		SystemUnits: "/etc/systemd/system", Booted: "/run/systemd/system", Do: hostproc.Manage, Trusted: hostproc.Trusted, Lookup: lookup, Chown: chown,
	}
	if !filepath.IsAbs(h.ConfigHome) {
		h.ConfigHome = filepath.Join(home, ".config")
	}
	return h
}

func lookup(name string) (uid, gid int, found bool, err error) {
	u, err := user.Lookup(name)
	if unknown := (user.UnknownUserError)(""); errors.As(err, &unknown) {
		return 0, 0, false, nil
	}
	if err != nil {
		return 0, 0, false, err
	}
	uid, err = strconv.Atoi(u.Uid)
	if err == nil {
		gid, err = strconv.Atoi(u.Gid)
	}
	return uid, gid, err == nil, err
}

// Options are what an owner chooses of a service.
type Options struct {
	Paths config.Paths
	// Home is NANOCLAW_HOME, "" if the places are the usual ones.
	Home string
	// Program is nanoclaw.
	Program string
	// AsRoot keeps root's uid, for container engines.
	AsRoot bool
}

// Manages says whether this machine has a manager that can be asked: systemd where it
// is what runs the machine (sd_booted(3)), launchd on macOS.
func (h Host) Manages() bool {
	if h.System == "linux" {
		_, err := os.Lstat(h.Booted)
		return err == nil
	}
	return h.System == "darwin" && h.UID != 0
}

// Unit is what would be installed here.
func (h Host) Unit(o Options) (Unit, error) {
	u := Unit{Program: o.Program, Home: o.Home}
	switch {
	case h.System == "darwin" && h.UID == 0:
		return u, errors.New("on macOS the service is a user's, since no agent runs there as another\nfix: run it as the user whose agents these are, without sudo")
	case h.System == "darwin":
		u.Manager, u.Log = Launchd, filepath.Join(o.Paths.DataDir, "service.log")
	case h.System != "linux":
		return u, fmt.Errorf("%s has no service manager that nanoclaw knows", h.System)
	default:
		u.Manager = Systemd
	}
	if h.UID != 0 {
		if o.AsRoot {
			return u, errors.New("only root can install a service of root\nfix: sudo nanoclaw service install --as-root")
		}
		return u, nil
	}
	u.System, u.User = true, Name
	if o.AsRoot {
		u.User = "root"
	}
	u.Writable = []string{o.Paths.ConfigDir, o.Paths.DataDir, o.Paths.KeyDir, o.Paths.RuntimeDir}
	u.OwnRuntime = o.Home == ""
	if u.OwnRuntime {
		u.Writable = u.Writable[:3] // the manager makes the last
	}
	if err := h.Trusted(o.Program); err != nil {
		return u, fmt.Errorf("%w: whoever could replace it would run with the service's rights\nfix: sudo install -m 0755 %s /usr/local/bin/nanoclaw, and run it from there", err, o.Program)
	}
	return u, nil
}

// File is where the unit is.
func (h Host) File() string {
	switch {
	case h.System == "darwin":
		return filepath.Join(h.UserHome, "Library", "LaunchAgents", Label+".plist")
	case h.UID == 0:
		return filepath.Join(h.SystemUnits, Name+".service")
	}
	return filepath.Join(h.ConfigHome, "systemd", "user", Name+".service")
}

// Installed gives the text of the unit that is there; ok is false if there is none,
// or one of somebody else.
func (h Host) Installed() (text string, ok bool, err error) {
	data, err := os.ReadFile(h.File())
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	_, ok = ours(string(data))
	return string(data), ok, nil
}

// act performs an act of systemd for the machine, or its counterpart for the user.
func (h Host) act(ctx context.Context, a hostproc.Act) (string, error) {
	if h.UID != 0 {
		a = "user-" + a
	}
	return h.Do(ctx, a, nil)
}
