package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
)

func (a *app) quarantineCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quarantine",
		Short: "Look at files that were moved away, and take them back",
		Long: `Files that an agent left in your folders and that would run code on this machine
later (git hooks, settings of editors, start-up files) are moved into a quarantine.
Each has an ID; the part before "-" names all that one session left.`,
		Example: "  nanoclaw quarantine list\n  nanoclaw quarantine restore s4k2m9x7aq-1",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.quarantineListCmd(), a.quarantineShowCmd(),
		a.quarantineActCmd(control.Restore, "restored", "Put files back where they were", `Put files back where they were. Nothing is overwritten, and links are not put back.
Look at them first: they run as you later.`),
		a.quarantineActCmd(control.Remove, "removed", "Remove files for good", ""))
	return cmd
}

func (a *app) quarantineListCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List what was moved away, the newest last",
		Example: "  nanoclaw quarantine list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				kept, err := s.Quarantine(cmd.Context(), control.QuarantineQuery{})
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, kept)
				}
				if len(kept) == 0 {
					a.say("the quarantine is empty")
					return nil
				}
				return printKept(a.out, kept)
			})
		},
	}
}

func printKept(w io.Writer, kept []control.Quarantined) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tWHEN\tGROUP\tFILES\tBYTES\tWHAT\tWAS")
	for _, k := range kept {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", k.ID, k.At.Local().Format(time.DateTime), k.Group, k.Files, k.Bytes,
			channel.OneLine(k.What, 60), channel.OneLine(cmp.Or(k.From, "(not known)"), 200))
	}
	return t.Flush()
}

func (a *app) quarantineShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show what was moved away, with the beginning of each file",
		Example: "  nanoclaw quarantine show s4k2m9x7aq-1\n  nanoclaw quarantine show s4k2m9x7aq",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				kept, err := s.Quarantine(cmd.Context(), control.QuarantineQuery{ID: args[0]})
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, kept)
				}
				for _, k := range kept {
					if err := printFiles(a.out, k); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// printFiles shows one thing. Names and text are an agent's own, so each line of
// them stands behind a bar, where it cannot look like ours.
func printFiles(w io.Writer, k control.Quarantined) error {
	fmt.Fprintf(w, "%s: %s, left by %s at %s\n", k.ID, channel.OneLine(k.What, 60), cmp.Or(string(k.Group), "(not known)"), k.At.Local().Format(time.DateTime))
	fmt.Fprintf(w, "was      %s\nlies in  %s\n", channel.OneLine(cmp.Or(k.From, "(not known)"), 4096), channel.OneLine(k.To, 4096))
	for _, problem := range []string{k.Failed, k.Error} {
		if problem != "" {
			fmt.Fprintf(w, "not whole: %s\n", channel.OneLine(problem, 400))
		}
	}
	for _, f := range k.Inside {
		line := channel.OneLine(f.Path, 400)
		if f.Link != "" {
			line += " -> " + channel.OneLine(f.Link, 400)
		}
		fmt.Fprintf(w, "%s %8d %s\n", f.Mode, f.Size, line)
		for text := range strings.Lines(channel.SafeText(f.Text)) {
			fmt.Fprintf(w, "  | %s\n", strings.TrimRight(text, "\n"))
		}
	}
	if k.More {
		fmt.Fprintln(w, "and more files")
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (a *app) quarantineActCmd(act, done, short, long string) *cobra.Command {
	return &cobra.Command{
		Use:     act + " ID…",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  nanoclaw quarantine %s s4k2m9x7aq-1", act),
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				var all []control.Quarantined
				for _, id := range args {
					kept, err := s.QuarantineAct(cmd.Context(), control.QuarantineAct{ID: id, Act: act})
					if err != nil {
						return err
					}
					all = append(all, kept...)
				}
				return a.tellKept(all, done)
			})
		},
	}
}

// tellKept says what became of each thing. The exit code is 1 if something could
// not be done.
func (a *app) tellKept(kept []control.Quarantined, done string) error {
	failed := false
	for _, k := range kept {
		name := k.ID + " " + channel.OneLine(cmp.Or(k.From, k.To), 400)
		failed = failed || k.Error != ""
		switch {
		case a.json:
		case k.Error != "":
			a.say("%s was not %s: %s", name, done, channel.OneLine(k.Error, 400))
		default:
			fmt.Fprintf(a.out, "%s %s\n", done, name)
		}
	}
	if a.json {
		if err := printList(a, kept); err != nil {
			return err
		}
	}
	if failed {
		return &exitError{code: exitFailed}
	}
	return nil
}
