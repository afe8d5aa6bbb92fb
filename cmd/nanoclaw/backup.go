package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/backup"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/install"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
)

// notBackedUp are the names in the data folder that can be had again.
func notBackedUp() []string {
	return []string{filepath.Base(install.Dir("")), "srt", "canaries", "groups/.probe", store.LockFile, backup.MarkerFile}
}

func (a *app) backupCmd() *cobra.Command {
	var key bool
	var recipients []string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write everything that matters into one file",
		Long: `Write the configuration, the store, the audit log with its key, and the folders of
all groups into one file, while nanoclaw may run. The file is then read again: every
sum, the store and the audit log are checked. Nothing is overwritten.

Whoever can read the file can read your conversations. --encrypt makes it readable
with the identity of an age key alone. Stored credentials are in it as they are on
disk, encrypted; the key to them is not, unless you say --with-key. Without it, log
in again after a restore.`,
		Example: "  nanoclaw backup ~/nanoclaw-monday.tgz\n  nanoclaw backup /mnt/stick/nanoclaw.age --encrypt age1…",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := parseRecipients(recipients)
			if err != nil {
				return usageError(err, cmd)
			}
			if _, err := os.Lstat(args[0]); err == nil {
				return &control.Error{Code: control.CodeUsage, Message: args[0] + " is there already", Hint: "choose another name; a backup overwrites nothing"}
			}
			s, err := a.writeBackup(cmd.Context(), args[0], to, key)
			if err != nil {
				return err
			}
			return a.tellBackup(args[0], s, len(to) == 0)
		},
	}
	cmd.Flags().BoolVar(&key, "with-key", false, "add the key of the stored credentials")
	cmd.Flags().StringArrayVar(&recipients, "encrypt", nil, "only the identity of this age recipient can read it (age1…)")
	return cmd
}

func parseRecipients(names []string) (out []age.Recipient, err error) {
	for _, name := range names {
		r, err := age.ParseX25519Recipient(name)
		if err != nil {
			return nil, fmt.Errorf("--encrypt %s: %w: age-keygen makes a pair", name, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// writeBackup writes the file under another name, reads it again where that can
// be done, and then gives it its own.
func (a *app) writeBackup(ctx context.Context, name string, to []age.Recipient, key bool) (backup.Summary, error) {
	var s backup.Summary
	paths, err := a.paths()
	if err != nil {
		return s, err
	}
	if c, err := a.loadConfig(paths); err == nil && c.Database != "" {
		return s, fmt.Errorf("the store is in %s, which is not in a backup of this machine: keep it with pg_dump, and the folders %s and %s with it",
			store.DatabaseName(c.Database), paths.ConfigDir, paths.DataDir)
	}
	reader, err := store.OpenReader(ctx, paths.DataDir)
	if err != nil {
		return s, err
	}
	defer reader.Close()
	f, err := renameio.NewPendingFile(name, renameio.WithStaticPermissions(0o600))
	if err != nil {
		return s, err
	}
	defer f.Cleanup()
	w := io.WriteCloser(nopCloser{f})
	if len(to) > 0 {
		if w, err = age.Encrypt(f, to...); err != nil {
			return s, err
		}
	}
	steps.Before(steps.BackupWritten)
	s, err = backup.Write(ctx, w, backup.Options{
		Paths: paths, Version: versionName(), Now: time.Now(), Store: store.FileName, Snapshot: reader.CopyTo, Skip: notBackedUp(), Key: key,
	})
	err = errors.Join(err, w.Close())
	steps.After(steps.BackupWritten)
	if err != nil {
		return s, err
	}
	if len(to) == 0 {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return s, err
		}
		if _, _, err := backup.Verify(ctx, f, []string{store.FileName, audit.PublicFile}, checkData); err != nil {
			return s, fmt.Errorf("the backup was written and does not hold: %w", err)
		}
	}
	steps.Before(steps.BackupPlaced)
	err = f.CloseAtomicallyReplace()
	steps.After(steps.BackupPlaced)
	return s, err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// checkData checks the store in a data folder that nobody uses, and its log. A
// store of an older version is brought up to date by the next start, and its log
// is checked then.
func checkData(ctx context.Context, dir string) error {
	if err := store.CheckFile(ctx, dir); err != nil {
		return err
	}
	r, err := store.OpenReader(ctx, dir)
	if errors.Is(err, store.ErrOlder) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	key, err := audit.ReadPublic(filepath.Join(dir, audit.PublicFile))
	if err != nil {
		return err
	}
	_, err = audit.Verify(ctx, r, key)
	return err
}

func (a *app) tellBackup(name string, s backup.Summary, checked bool) error {
	if a.json {
		return a.printJSON(s)
	}
	fmt.Fprintf(a.out, "%s: %d files, %d KB before they were made smaller\n", name, s.Files, (s.Bytes+1023)>>10)
	a.tellLeft(s)
	if checked {
		fmt.Fprintln(a.out, "it was read again: every file, the store and the audit log hold")
		return nil
	}
	fmt.Fprintf(a.out, "it is encrypted and was not read again: nanoclaw restore --check %s --identity FILE\n", name)
	return nil
}

func (a *app) tellLeft(s backup.Summary) {
	for _, left := range s.Left {
		a.say("not in it as it was: %s", left)
	}
	if n := s.LeftOut - len(s.Left); n > 0 {
		a.say("and %d more", n)
	}
}

func (a *app) restoreCmd() *cobra.Command {
	var identity string
	var check, replace bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup back, or check one",
		Long: `Put a backup in the place of this installation, which must not be running. All of
it is checked before anything changes. --replace sets aside what is there, under
another name beside it.

What happened after the backup is not in it: the log says so, and anchors of the
log that are newer no longer hold. Messages that waited to be sent at the time of
the backup are sent again; networks that know a message by the name we give it show
it once.`,
		Example: "  nanoclaw restore --check ~/nanoclaw-monday.tgz\n  nanoclaw restore ~/nanoclaw-monday.tgz --replace",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			r, err := decrypted(f, identity)
			if err != nil {
				return err
			}
			if check {
				about, s, err := backup.Verify(cmd.Context(), r, []string{store.FileName, audit.PublicFile}, checkData)
				if err != nil {
					return err
				}
				return a.tellChecked(about, s)
			}
			return a.restore(cmd.Context(), r, replace)
		},
	}
	cmd.Flags().StringVar(&identity, "identity", "", "the file with the age identity of an encrypted backup")
	cmd.Flags().BoolVar(&check, "check", false, "only say whether the backup is whole")
	cmd.Flags().BoolVar(&replace, "replace", false, "set aside what is there")
	return cmd
}

// decrypted reads a backup that may be encrypted.
func decrypted(f *os.File, identity string) (io.Reader, error) {
	if identity == "" {
		return f, nil
	}
	id, err := os.Open(identity)
	if err != nil {
		return nil, err
	}
	defer id.Close()
	ids, err := age.ParseIdentities(id)
	if err != nil {
		return nil, fmt.Errorf("--identity %s: %w", identity, err)
	}
	return age.Decrypt(f, ids...)
}

func (a *app) tellChecked(about backup.About, s backup.Summary) error {
	if a.json {
		return a.printJSON(struct {
			About backup.About   `json:"about"`
			Holds backup.Summary `json:"holds"`
		}{about, s})
	}
	fmt.Fprintf(a.out, "made %s by nanoclaw %s on %s: %d files, %d KB; all of them, the store and the audit log hold\n",
		about.Made.Local().Format(time.DateTime), about.Version, about.System, s.Files, (s.Bytes+1023)>>10)
	return nil
}

// restore puts a backup in place while it holds the lock of what is there.
func (a *app) restore(ctx context.Context, r io.Reader, replace bool) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(paths.DataDir); err == nil {
		release, err := store.HoldDir(paths.DataDir)
		if err != nil {
			return err
		}
		defer release()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := backup.Restore(ctx, r, backup.RestoreOptions{Paths: paths, Now: time.Now(), Check: checkData, Replace: replace})
	if errors.Is(err, backup.ErrOccupied) {
		return &control.Error{Code: control.CodeUsage, Message: err.Error(), Hint: "say --replace to set it aside"}
	}
	if err != nil {
		return err
	}
	return a.tellRestored(paths, out)
}

func (a *app) tellRestored(p config.Paths, out backup.Restored) error {
	if a.json {
		return a.printJSON(out)
	}
	fmt.Fprintf(a.out, "restored the backup of %s: %d files in %s and %s\n", out.Made.Local().Format(time.DateTime), out.Files, p.ConfigDir, p.DataDir)
	for _, dir := range out.Aside {
		fmt.Fprintf(a.out, "what was there is now in %s\n", dir)
	}
	return nil
}
