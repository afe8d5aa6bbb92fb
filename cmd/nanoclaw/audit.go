package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

func (a *app) auditCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "Explain what happened, and prove that the log was not changed",
		Example: "  nanoclaw audit list --limit 20\n  nanoclaw audit verify",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.auditListCmd(), a.auditShowCmd(), a.auditExportCmd(), a.auditVerifyCmd())
	return cmd
}

func (a *app) auditListCmd() *cobra.Command {
	var q control.AuditQuery
	var group, run, sender, since, until string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List what was recorded, the newest last",
		Example: "  nanoclaw audit list --group family\n  nanoclaw audit list --run r4k2m9x7aq --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if group != "" {
				if q.Group, err = parseGroup(group); err != nil {
					return err
				}
			}
			if q.Since, err = parseTime(since); err != nil {
				return usageError(fmt.Errorf("--since: %w", err), cmd)
			}
			if q.Until, err = parseTime(until); err != nil {
				return usageError(fmt.Errorf("--until: %w", err), cmd)
			}
			q.Run, q.Sender = chat.RunID(run), chat.SenderID(sender)
			return a.with(cmd.Context(), reading, func(s *session) error {
				entries, err := s.AuditList(cmd.Context(), q)
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, entries)
				}
				return printEntries(a.out, entries)
			})
		},
	}
	a.groupFlag(cmd, &group, "")
	cmd.Flags().StringVar(&run, "run", "", "only of this run")
	cmd.Flags().StringVar(&sender, "sender", "", "only messages of this sender, and the runs that they began")
	cmd.Flags().StringVar(&since, "since", "", "only from this time on: 2026-05-01, 2026-05-01T12:30, or 90m ago")
	cmd.Flags().StringVar(&until, "until", "", "only before this time")
	cmd.Flags().StringVar(&q.Kind, "kind", "", "only of this kind, such as egress or run.refused")
	cmd.Flags().IntVar(&q.Limit, "limit", 0, "at most so many (200)")
	return cmd
}

// parseTime reads a time as a person writes it, in the zone of this machine, or
// how long ago it was. "" is the zero time.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	ago := strings.TrimSuffix(s, " ago")
	if d, err := time.ParseDuration(ago); err == nil {
		return time.Now().Add(-d), nil
	}
	if days, err := strconv.ParseUint(strings.TrimSuffix(ago, "d"), 10, 15); err == nil && strings.HasSuffix(ago, "d") {
		return time.Now().AddDate(0, 0, -int(days)), nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2026-05-01, 2026-05-01T12:30, or how long ago, as 90m or 7d", s)
}

func printEntries(w io.Writer, entries []control.AuditEntry) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range entries {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", e.ID, e.At.Local().Format(time.DateTime),
			channel.OneLine(string(e.Group), 40), channel.OneLine(string(e.Run), 20),
			channel.OneLine(audit.Describe(audit.Kind(e.Kind), e.Data), 240))
	}
	return t.Flush()
}

func (a *app) auditShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show one entry with everything in it",
		Example: "  nanoclaw audit show 42",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || id <= 0 {
				return usageError(fmt.Errorf("%q is no number of an entry", args[0]), cmd)
			}
			return a.with(cmd.Context(), reading, func(s *session) error {
				entries, err := s.AuditList(cmd.Context(), control.AuditQuery{ID: id})
				if err != nil {
					return err
				}
				if len(entries) == 0 {
					return &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("there is no audit entry %d", id)}
				}
				if a.json {
					return a.printJSON(entries[0])
				}
				return printEntry(a.out, entries[0])
			})
		},
	}
}

func printEntry(w io.Writer, e control.AuditEntry) error {
	if err := printEntries(w, []control.AuditEntry{e}); err != nil {
		return err
	}
	place := fmt.Sprintf("leaf %d of the log", e.Index)
	if e.Index < 0 {
		place = "not in the log yet"
	}
	session := "no session"
	if e.Session != "" {
		session = "session " + channel.OneLine(string(e.Session), 40)
	}
	fmt.Fprintf(w, "kind %s, %s, %s\n", channel.OneLine(e.Kind, 60), place, session)
	var data any
	if len(e.Whole) > 0 {
		e.Data = e.Whole
	}
	if len(e.Data) == 0 || json.Unmarshal(e.Data, &data) != nil {
		_, err := fmt.Fprintln(w, "its words were erased")
		return err
	}
	b, err := json.MarshalIndent(data, "", "  ")
	if err == nil {
		_, err = fmt.Fprintln(w, channel.SafeText(string(b)))
	}
	return err
}

func (a *app) auditExportCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write the log with its proofs, to be verified elsewhere",
		Long: `Write the log as JSON lines with its proofs, the signed checkpoint first, to FILE
or to stdout. An existing FILE is not touched. "nanoclaw audit verify FILE"
checks it offline.`,
		Example: "  nanoclaw audit export log.jsonl\n  nanoclaw audit export | gzip > log.jsonl.gz",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				if len(args) == 0 || args[0] == "-" {
					return s.AuditExport(cmd.Context(), control.ExportQuery{}, a.out)
				}
				return exportTo(cmd.Context(), s, control.ExportQuery{}, args[0])
			})
		},
	}
}

// exportTo writes a whole export or none.
func exportTo(ctx context.Context, s *session, q control.ExportQuery, name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = s.AuditExport(ctx, q, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

func (a *app) auditVerifyCmd() *cobra.Command {
	var key, anchor string
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Check that the log was not changed",
		Long: `Check the log in the store, or an export in FILE without the store: every entry
against its commitment, and all of them against the signed checkpoint. The log in
the store is also compared with the anchors of audit.anchor in the configuration,
and with one of --anchor: only they show that an older store was put back. It names
the first entry that does not hold and how many are not in the log yet. The exit
code is 1 if the log does not hold.

An export is checked against the key of this machine; --key names another
audit.pub. Where there is no key, the export's own is taken, which shows that the
file is consistent but not who signed it; that is said.`,
		Example: "  nanoclaw audit verify\n  nanoclaw audit verify log.jsonl --key audit.pub",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && anchor != "" {
				return usageError(errors.New("an export carries a checkpoint of its own: --anchor is for the store"), cmd)
			}
			if len(args) == 1 {
				return a.verifyFile(args[0], key)
			}
			q, err := anchorQuery(anchor)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), reading, func(s *session) error {
				r, err := s.AuditVerify(cmd.Context(), q)
				if err != nil {
					return err
				}
				return a.tellVerified(r)
			})
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the public key that must have signed the export")
	cmd.Flags().StringVar(&anchor, "anchor", "", "a file of anchors, or one as SIZE:ROOT, to compare the store with")
	return cmd
}

// anchorQuery makes a file's path absolute: the daemon is in another folder.
func anchorQuery(anchor string) (q control.VerifyQuery, err error) {
	if q.Anchor = anchor; anchor == "" {
		return q, nil
	}
	if _, err := audit.ParseWords(anchor); err != nil {
		if q.Anchor, err = filepath.Abs(anchor); err != nil {
			return q, err
		}
		if _, err := os.Stat(q.Anchor); err != nil {
			return q, &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("--anchor %s: it is neither a file nor SIZE:ROOT: %v", anchor, err)}
		}
	}
	return q, nil
}

func (a *app) verifyFile(name, key string) error {
	known, err := a.publicKey(key)
	if err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := audit.VerifyExport(f, known)
	var bad *audit.BadError
	if err != nil && !errors.As(err, &bad) {
		return err
	}
	report := control.AuditReport{OK: err == nil, Entries: r.Size, Unsequenced: r.Unsequenced, Checkpoint: r.Root}
	if bad != nil {
		report.Bad = bad.Error()
	}
	if known == nil {
		a.say("there is no key here to check the signature with; the export's own is %s", channel.OneLine(r.Key, 200))
	}
	return a.tellVerified(report)
}

// publicKey is the key that an export must be signed with: the one that was
// named, else this machine's own, nil where there is none.
func (a *app) publicKey(name string) (note.Verifier, error) {
	if name != "" {
		return audit.ReadPublic(name)
	}
	p, err := a.paths()
	if err != nil {
		return nil, err
	}
	v, err := audit.ReadPublic(filepath.Join(p.DataDir, audit.PublicFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return v, err
}

func (a *app) tellVerified(r control.AuditReport) error {
	switch {
	case a.json:
		if err := a.printJSON(r); err != nil {
			return err
		}
	case r.OK:
		fmt.Fprintf(a.out, "the log holds: %d entries\n", r.Entries)
		if r.Anchors > 0 {
			fmt.Fprintf(a.out, "and it leads to all %d anchors, the largest of %d entries\n", r.Anchors, r.Anchored)
		}
		if r.Unsequenced > 0 {
			fmt.Fprintf(a.out, "%d more are not in the log yet\n", r.Unsequenced)
		}
	default:
		fmt.Fprintln(a.out, channel.SafeText(r.Bad))
	}
	if !r.OK {
		return &exitError{code: exitFailed}
	}
	return nil
}
