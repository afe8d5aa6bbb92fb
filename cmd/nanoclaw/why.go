package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/why"
)

func (a *app) whyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "why RUN|MESSAGE|ENTRY",
		Short: "Explain a run, a message, or a refusal",
		Long: `Explain in words who asked, what rule decided, what the grant held, what was
touched, and what it cost. MESSAGE is a message's id in its network; ENTRY is the
number of an audit entry, such as a refused connection.`,
		Example: "  nanoclaw why r4k2m9x7aq\n  nanoclaw why 118",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				w, err := s.Why(cmd.Context(), control.WhyQuery{Name: args[0]})
				if err != nil {
					return err
				}
				if a.json {
					w.Text = ""
					return a.printJSON(w)
				}
				_, err = fmt.Fprint(a.out, channel.SafeText(w.Text))
				return err
			})
		},
	}
}

func (a *app) receiptCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "receipt",
		Short:   "Prove to somebody else what a run did",
		Example: "  nanoclaw receipt export r4k2m9x7aq run.jsonl\n  nanoclaw receipt verify run.jsonl",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.receiptExportCmd(), a.receiptVerifyCmd())
	return cmd
}

func (a *app) receiptExportCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "export RUN [FILE]",
		Short: "Write the signed receipt of a run that has ended",
		Long: `Write the receipt of a run to FILE or to stdout: its audit entries, each with the
proof that it is in the signed log. The entry that ends a run binds all those
before it, so a receipt from which one was taken does not verify. An existing
FILE is not touched.`,
		Example: "  nanoclaw receipt export r4k2m9x7aq run.jsonl",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := control.ExportQuery{Run: chat.RunID(args[0])}
			return a.with(cmd.Context(), reading, func(s *session) error {
				if len(args) == 1 || args[1] == "-" {
					return s.AuditExport(cmd.Context(), q, a.out)
				}
				return exportTo(cmd.Context(), s, q, args[1])
			})
		},
	}
}

func (a *app) receiptVerifyCmd() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check a receipt offline, and tell the run",
		Long: `Check a receipt without store or daemon, and tell the run from it. The exit code is
1 if it does not hold. It is checked against the key of this machine; --key names
another audit.pub. Where there is no key, the receipt's own is taken, which shows
that the file is consistent but not who signed it; that is said.`,
		Example: "  nanoclaw receipt verify run.jsonl --key audit.pub",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.verifyReceipt(args[0], key)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the public key that must have signed it")
	return cmd
}

// receipt is a verified receipt as --json prints it.
type receipt struct {
	OK bool `json:"ok"`
	// Bad says why it does not hold.
	Bad     string          `json:"bad,omitempty"`
	Key     string          `json:"key,omitempty"`
	Later   int64           `json:"later,omitempty"`
	Account json.RawMessage `json:"account,omitempty"`
}

func (a *app) verifyReceipt(name, key string) error {
	known, err := a.publicKey(key)
	if err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var account why.Account
	r, err := audit.VerifyReceipt(f, known, account.Add)
	var bad *audit.BadError
	switch {
	case errors.As(err, &bad):
		if a.json {
			err = a.printJSON(receipt{Bad: bad.Error()})
		} else {
			_, err = fmt.Fprintln(a.out, channel.SafeText(bad.Error()))
		}
		if err != nil {
			return err
		}
		return &exitError{code: exitFailed}
	case err != nil:
		return err
	}
	if known == nil {
		a.say("there is no key here to check the signature with; the receipt's own is %s", channel.OneLine(r.Key, 200))
	}
	return a.tellReceipt(r, &account)
}

func (a *app) tellReceipt(r audit.Receipt, account *why.Account) error {
	if a.json {
		b, err := json.Marshal(account)
		if err != nil {
			return err
		}
		return a.printJSON(receipt{OK: true, Key: r.Key, Later: r.Later, Account: b})
	}
	var text strings.Builder
	if err := account.Write(&text); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.out, "%sthe receipt holds: all %d entries of the run up to its end, and %d after it, signed by %s\n",
		channel.SafeText(text.String()), r.Entries-r.Later, r.Later, channel.OneLine(r.Origin, 100))
	return err
}
