package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"aead.dev/minisign"
	"github.com/spf13/cobra"

	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/hostproc"
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
	key      string
}

func (a *app) upgradeCmd() *cobra.Command {
	var o upgradeOptions
	cmd := &cobra.Command{
		Use:   "upgrade FILE",
		Short: "Put a newer release in the place of this program",
		Long: `Put a newer release in the place of this program. FILE is a released archive or
program; SHA256SUMS and SHA256SUMS.minisig of the release lie beside it.

The signature is checked with the key that is built in, or that --key or upgrade.key of
the configuration names. What is older, for another machine or not signed is refused
before anything changes. Then the daemon is stopped, once its runs have ended or the
time of --wait is over; runs that go on are taken up again later. The store is backed
up, the program replaced in one step, and the new one asked what it finds on this
machine. If it fails where this one did not, this one is put back.

The former program stays beside the new one as nanoclaw.old. To go back for good,
put it in place and restore the backup: the store moves on with versions.

Where the installation belongs to the system user of a service, root does this. Only
the backup, and what is asked of the daemon, is done as that user, whose configuration
names no key for it.`,
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
	f.StringVar(&o.key, "key", "", "the file of the public key, of mode 0600 (default: upgrade.key, or the key that is built in)")
	cmd.MarkFlagsMutuallyExclusive("backup", "no-backup")
	return keepsRoot(cmd)
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
	in, err := a.installation(paths, o)
	if err != nil {
		return err
	}
	offer, err := a.signed(in, o)
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
	if done.Backup, err = in.backupPlace(); err != nil {
		return err
	}
	if o.dryRun {
		return a.tellUpgraded(done)
	}
	if err := a.replace(ctx, in, place, offer, &done); err != nil {
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
func (a *app) signed(in upgradable, o upgradeOptions) (*upgrade.Offer, error) {
	text, where := releaseKey, "--key"
	file := o.key
	if file == "" {
		var err error
		where = "upgrade.key"
		if file, err = in.key(); err != nil {
			return nil, err
		}
	}
	if file != "" {
		data, err := config.ReadPrivate(file, 4096)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		text = strings.TrimSpace(string(data))
	}
	if text == "" {
		return nil, errors.New("this build knows no release key\nfix: " + in.nameKey())
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

// replace does it.
func (a *app) replace(ctx context.Context, in upgradable, place *upgrade.Place, offer *upgrade.Offer, done *upgraded) error {
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
	release, stopped, service, err := in.stop(ctx)
	if err != nil {
		return err
	}
	done.Stopped = stopped
	err = switchProgram(ctx, in, place, done.Backup)
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
func switchProgram(ctx context.Context, in upgradable, place *upgrade.Place, backup string) error {
	if backup != "" {
		if err := in.backup(ctx, backup); err != nil {
			return fmt.Errorf("the backup: %w", err)
		}
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
