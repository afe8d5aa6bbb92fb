package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"aead.dev/minisign"
	"github.com/spf13/cobra"

	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/hostproc"
	"nanoclaw/internal/store"
	"nanoclaw/internal/upgrade"
)

// releaseKey is the public key of the releases, in minisign's form. It is set by the
// build (-X main.releaseKey=…).
var releaseKey string

// stopTime is how long a daemon may take to end once it was asked to.
const stopTime = time.Minute

// upgradeOptions are the flags of the verb.
type upgradeOptions struct {
	file     string
	dryRun   bool
	noBackup bool
	backup   string
	wait     time.Duration
	ownBuild bool
}

func (a *app) upgradeCmd() *cobra.Command {
	var o upgradeOptions
	cmd := &cobra.Command{
		Use:   "upgrade FILE",
		Short: "Put a newer release in the place of this program",
		Long: `Put a newer release in the place of this program. FILE is a released archive or
program; SHA256SUMS and SHA256SUMS.minisig of the release lie beside it.

The signature is checked with the key that is built in, or that upgrade.key of the
configuration names. What is older, for another machine or not signed is refused
before anything changes. Then the daemon is stopped, once its runs have ended or the
time of --wait is over; runs that go on are taken up again later. The store is backed
up, the program replaced in one step, and the new one asked what it finds on this
machine. If it fails where this one did not, this one is put back.

The former program stays beside the new one as nanoclaw.old. To go back for good,
put it in place and restore the backup: the store moves on with versions.`,
		Example: "  nanoclaw upgrade nanoclaw_v1.3.0_linux_amd64.tar.gz --dry-run\n  nanoclaw upgrade nanoclaw_v1.3.0_linux_amd64.tar.gz",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.file = args[0]
			return a.upgrade(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.dryRun, "dry-run", false, "check everything and say what would be done")
	f.StringVar(&o.backup, "backup", "", "where the backup goes (default: beside the data folder)")
	f.BoolVar(&o.noBackup, "no-backup", false, "make none, such as with a database that you back up yourself")
	f.DurationVar(&o.wait, "wait", time.Minute, "how long runs may take to end")
	f.BoolVar(&o.ownBuild, "from-own-build", false, "this program has no version of a release; the new one is not older")
	cmd.MarkFlagsMutuallyExclusive("backup", "no-backup")
	return cmd
}

// upgraded is what was done, for --json.
type upgraded struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Program string `json:"program"`
	DryRun  bool   `json:"dry_run,omitempty"`
	Same    bool   `json:"same,omitempty"` // nothing was to be done
	Old     string `json:"old,omitempty"`
	Backup  string `json:"backup,omitempty"`
	Stopped bool   `json:"stopped,omitempty"` // a daemon ran, and is to be started
	Started bool   `json:"started,omitempty"` // it was the service, and is again
}

// upgrade is the verb. All that can be refused is refused before the daemon stops, and
// the program changes in one step after it. So whenever this is killed, a whole
// program stands there, and the store is one that it knows.
func (a *app) upgrade(ctx context.Context, o upgradeOptions) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	offer, err := a.signed(paths, o)
	if err != nil {
		return refused(err)
	}
	program, err := a.program()
	if err != nil {
		return err
	}
	done := upgraded{From: versionName(), To: offer.Version, Program: program, DryRun: o.dryRun}
	err = offer.Replaces(upgrade.Have{Version: versionName(), System: runtime.GOOS, Arch: runtime.GOARCH, OwnBuild: o.ownBuild})
	if errors.Is(err, upgrade.ErrSame) {
		done.Same = true
		return a.tellUpgraded(done)
	}
	if err != nil {
		return refused(err)
	}
	place, err := upgrade.Hold(program)
	if err != nil {
		return err
	}
	defer place.Close()
	if done.Program = place.Program(); packaged(done.Program) {
		return &control.Error{Code: control.CodeRefused, Message: done.Program + " belongs to a package of the system", Hint: "install the .deb of the release: apt install ./nanoclaw_…deb"}
	}
	if done.Backup, err = a.backupPlace(paths, o); err != nil {
		return err
	}
	if o.dryRun {
		return a.tellUpgraded(done)
	}
	if err := a.replace(ctx, paths, place, offer, o, &done); err != nil {
		return err
	}
	done.Old = place.Old()
	return a.tellUpgraded(done)
}

// refused marks what is not taken.
func refused(err error) error {
	text, hint := words(err)
	return &control.Error{Code: control.CodeRefused, Message: text, Hint: hint}
}

// signed reads and checks FILE.
func (a *app) signed(paths config.Paths, o upgradeOptions) (*upgrade.Offer, error) {
	text := releaseKey
	if c, err := a.loadConfig(paths); err == nil && c.Upgrade.Key != "" {
		data, err := config.ReadPrivate(c.Upgrade.Key, 4096)
		if err != nil {
			return nil, fmt.Errorf("upgrade.key: %w", err)
		}
		text = strings.TrimSpace(string(data))
	} else if err != nil && !errors.Is(err, config.ErrNoConfig) {
		return nil, err
	}
	if text == "" {
		return nil, errors.New("this build knows no release key\nfix: name the file of a public key as upgrade.key in the configuration")
	}
	var key minisign.PublicKey
	if err := key.UnmarshalText([]byte(text)); err != nil {
		return nil, fmt.Errorf("the release key: %w", err)
	}
	return upgrade.Open(o.file, key)
}

// packaged says that dpkg put the program there, and will again.
func packaged(program string) bool {
	_, err := os.Lstat("/var/lib/dpkg/info/nanoclaw.list")
	return err == nil && program == "/usr/bin/nanoclaw"
}

// backupPlace is where the backup goes, "" for none.
func (a *app) backupPlace(paths config.Paths, o upgradeOptions) (string, error) {
	if _, err := os.Lstat(paths.DataDir); o.noBackup || errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if c, err := a.loadConfig(paths); err == nil && c.Database != "" {
		return "", &control.Error{Code: control.CodeUsage, Message: "the store is in " + store.DatabaseName(c.Database) + ", which is not in a backup of this machine",
			Hint: "keep it with pg_dump, then say --no-backup"}
	}
	name := o.backup
	if name == "" {
		name = filepath.Join(filepath.Dir(paths.DataDir), "nanoclaw-before-upgrade-"+time.Now().Format("20060102-150405")+".tgz")
	}
	if _, err := os.Lstat(name); err == nil {
		return "", &control.Error{Code: control.CodeUsage, Message: name + " is there already", Hint: "choose another name; a backup overwrites nothing"}
	}
	return filepath.Abs(name)
}

// replace does it.
func (a *app) replace(ctx context.Context, paths config.Paths, place *upgrade.Place, offer *upgrade.Offer, o upgradeOptions, done *upgraded) error {
	env := os.Environ()
	staged, err := place.Stage(offer)
	if err != nil {
		return err
	}
	if err := isOffered(ctx, hostproc.Self{Path: staged, Env: env}, offer); err != nil {
		return fmt.Errorf("the new program was not put in place: %w", err)
	}
	before, err := hostproc.Self{Path: place.Program(), Env: env}.Failures(ctx)
	if err != nil {
		a.say("what this program finds on this machine is not known: %v", err)
	}
	service, stop := a.stopperOf(ctx)
	release, stopped, err := a.stopForUpgrade(ctx, paths, o.wait, stop)
	if err != nil {
		return err
	}
	done.Stopped = stopped
	err = a.switchProgram(ctx, place, done.Backup)
	err = errors.Join(err, release())
	if err == nil {
		err = a.proveUpgrade(ctx, place, offer, before, env)
	}
	if err != nil {
		err = a.undone(place, done, service, err)
	}
	if service && stopped {
		err = errors.Join(err, a.startAgain(ctx, done))
	}
	return err
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

// startAgain starts the service, of whichever version its program is now.
func (a *app) startAgain(ctx context.Context, done *upgraded) error {
	if err := a.services().Start(ctx); err != nil {
		return &control.Error{Code: control.CodeFailed, Message: fmt.Sprintf("the service does not start: %v", err), Hint: "nanoclaw service logs"}
	}
	done.Stopped, done.Started = false, true
	a.say("the service runs again")
	return nil
}

// isOffered asks a program whether it is what was signed.
func isOffered(ctx context.Context, s hostproc.Self, offer *upgrade.Offer) error {
	about, err := s.Version(ctx)
	if err != nil {
		return err
	}
	if want := (hostproc.About{Version: offer.Version, OS: offer.System, Arch: offer.Arch}); about != want {
		return fmt.Errorf("it says that it is %s for %s/%s, and was signed as %s for %s/%s", about.Version, about.OS, about.Arch, want.Version, want.OS, want.Arch)
	}
	return nil
}

// switchProgram backs the store up and replaces the program. Nobody uses the store
// meanwhile, so the backup is what the former program left.
func (a *app) switchProgram(ctx context.Context, place *upgrade.Place, backup string) error {
	if backup != "" {
		s, err := a.writeBackup(ctx, backup, nil, false)
		if err != nil {
			return fmt.Errorf("the backup: %w", err)
		}
		a.tellLeft(s)
	}
	return place.Switch()
}

// proveUpgrade asks the new program, from its place, what it finds on this machine. What
// failed before is not its fault.
func (a *app) proveUpgrade(ctx context.Context, place *upgrade.Place, offer *upgrade.Offer, before map[string]string, env []string) error {
	now := hostproc.Self{Path: place.Program(), Env: env}
	if err := isOffered(ctx, now, offer); err != nil {
		return err
	}
	failures, err := now.Failures(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(failures)) {
		if _, known := before[name]; !known {
			return fmt.Errorf("its doctor finds: %s: %s", name, failures[name])
		}
		a.say("still fails, as before: %s: %s", name, failures[name])
	}
	return nil
}

// undone puts the former program back and says how things stand.
func (a *app) undone(place *upgrade.Place, done *upgraded, service bool, err error) error {
	e := &control.Error{Code: control.CodeFailed, Message: fmt.Sprintf("%s was not installed: %v", done.To, err)}
	var hints []string
	switch back := place.Back(); {
	case back != nil:
		e.Message += "; and " + back.Error()
	default:
		e.Message += fmt.Sprintf("; %s is %s, as before", place.Program(), done.From)
	}
	if _, err := os.Lstat(done.Backup); done.Backup != "" && err == nil {
		hints = append(hints, "if it does not take the store any more: nanoclaw restore "+done.Backup+" --replace")
	}
	if done.Stopped && !service {
		hints = append(hints, "the daemon is stopped; start it as before, or with: nanoclaw run")
	}
	e.Hint = strings.Join(hints, "; ")
	return e
}

// stopForUpgrade ends the daemon if one runs, and keeps others from the store until
// release is called.
func (a *app) stopForUpgrade(ctx context.Context, paths config.Paths, wait time.Duration, stop func(context.Context, *control.Client) error) (release func() error, stopped bool, err error) {
	c, err := control.Dial(ctx, socket(paths))
	switch {
	case err == nil:
		err = a.drain(ctx, c, wait, stop)
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

// drain waits for the runs that go on, and asks the daemon to end. What still goes on
// then is interrupted and taken up again by the next one.
func (a *app) drain(ctx context.Context, c *control.Client, wait time.Duration, stop func(context.Context, *control.Client) error) error {
	for deadline := time.Now().Add(wait); ; {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		left := time.Until(deadline)
		if len(s.Live) == 0 {
			break
		}
		if left <= 0 {
			a.say("%d runs still go on; they are taken up again later", len(s.Live))
			break
		}
		if err := pause(ctx, min(left, time.Second)); err != nil {
			return err
		}
	}
	a.say("stopping the daemon")
	return stop(ctx, c)
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

func (a *app) tellUpgraded(u upgraded) error {
	if a.json {
		return a.printJSON(u)
	}
	say := func(format string, args ...any) { fmt.Fprintf(a.out, format+"\n", args...) }
	switch {
	case u.Same:
		say("%s is %s already", u.Program, u.To)
	case u.DryRun:
		say("the signature holds: %s for %s/%s", u.To, runtime.GOOS, runtime.GOARCH)
		say("it would stop the daemon if one runs, and put %s in the place of %s, which is %s", u.To, u.Program, u.From)
		if u.Backup != "" {
			say("before that it would back up to %s", u.Backup)
		}
	default:
		say("%s is now %s; %s is %s", u.Program, u.To, u.Old, u.From)
		if u.Backup != "" {
			say("everything as it was before is in %s", u.Backup)
		}
		if u.Stopped {
			say("the daemon was stopped; start it as before, or with: nanoclaw run")
		}
	}
	return nil
}
