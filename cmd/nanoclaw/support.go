package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
	"nanoclaw/internal/support"
)

func (a *app) supportCmd() *cobra.Command {
	var show string
	var yes bool
	cmd := &cobra.Command{
		Use:   "support [FILE]",
		Short: "Write a bundle for whoever helps you, with what is private taken out",
		Long: `Write a bundle for whoever helps you: version and platform, health, status, doctor,
the shape of the configuration, the last lines of the daemon's log, the runs that
failed and whether the audit log verifies. A daemon need not run.

Taken out are credentials, what people and agents wrote, who they are, numbers of
telephones, addresses, and every text of the configuration. Names of groups stay. That is a
help and no promise, so the files are listed with their sizes first, each can be
read, and nothing is written before you say y. FILE is yours alone, and nothing is
overwritten. Nothing is sent anywhere.`,
		Example: "  nanoclaw support\n  nanoclaw support --show log.jsonl\n  nanoclaw support ~/bundle.tar.gz --yes",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			folder := "nanoclaw-support-" + now.Format("20060102-150405")
			file := folder + ".tar.gz"
			if len(args) == 1 {
				file = args[0]
			}
			if _, err := os.Lstat(file); err == nil && show == "" {
				return &control.Error{Code: control.CodeUsage, Message: file + " is there already", Hint: "choose another name; a bundle overwrites nothing"}
			}
			b, err := a.gather(cmd.Context())
			if err != nil {
				return err
			}
			if show != "" {
				return a.showFile(b, show)
			}
			return a.offerBundle(cmd.Context(), b, file, folder, now, yes)
		},
	}
	cmd.Flags().StringVar(&show, "show", "", "show this file of the bundle, or all, and write nothing")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "write it without asking")
	return cmd
}

// offerBundle lists the files, shows those that are asked for, and writes them after a yes.
func (a *app) offerBundle(ctx context.Context, b *support.Bundle, file, folder string, now time.Time, yes bool) error {
	if !a.json {
		t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "FILE\tBYTES\tWHAT")
		for _, f := range b.Files {
			fmt.Fprintf(t, "%s\t%d\t%s\n", f.Name, len(f.Data), f.About)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if !yes {
		if a.json {
			return &control.Error{Code: control.CodeUsage, Message: "nothing was written", Hint: "read it with --show all, then say --yes"}
		}
		if said, err := a.askBundle(ctx, b, file); !said || err != nil {
			return err
		}
	}
	if err := b.Save(file, folder, now); err != nil {
		return err
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			File  string   `json:"file"`
			Names []string `json:"names"`
		}{abs, fileNames(b)})
	}
	_, err = fmt.Fprintf(a.out, "wrote %s, which you alone can read; send it yourself to whoever helps you\n", abs)
	return err
}

func fileNames(b *support.Bundle) (out []string) {
	for _, f := range b.Files {
		out = append(out, f.Name)
	}
	return out
}

// askBundle asks until there is a yes or a no. Silence is no.
func (a *app) askBundle(ctx context.Context, b *support.Bundle, file string) (bool, error) {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(io.LimitReader(a.in, 64<<10)); s.Scan(); {
			select {
			case lines <- strings.TrimSpace(s.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		fmt.Fprintf(a.err, "Write this to %s? y, N, or the name of a file to read it: ", channel.SafeText(file))
		var line string
		var ok bool
		select {
		case line, ok = <-lines:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		switch strings.ToLower(line) {
		case "y", "yes":
			return true, nil
		case "", "n", "no":
			if !ok && !terminal(a.in) {
				return false, &control.Error{Code: control.CodeUsage, Message: "nothing was written", Hint: "read it with --show all, then say --yes"}
			}
			fmt.Fprintln(a.err, "nothing was written")
			return false, nil
		}
		if err := a.showFile(b, line); err != nil {
			a.say("%v", err)
		}
	}
}

func (a *app) showFile(b *support.Bundle, name string) error {
	for _, f := range b.Files {
		if name == "all" {
			fmt.Fprintf(a.out, "-- %s --\n", f.Name)
		}
		if name == "all" || name == f.Name {
			if _, err := fmt.Fprint(a.out, channel.SafeText(string(f.Data))); err != nil {
				return err
			}
		}
	}
	if _, ok := b.Get(name); !ok && name != "all" {
		return &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("there is no file %q in the bundle", name), Hint: "there are: " + strings.Join(fileNames(b), ", ") + ", all"}
	}
	return nil
}
