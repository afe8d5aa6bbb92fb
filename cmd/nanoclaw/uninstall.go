package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/install"
)

// removal is one thing that goes.
type removal struct {
	// What it is, and where.
	What string `json:"what"`
	Path string `json:"path,omitempty"`
	do   func(ctx context.Context) error
}

func (a *app) uninstallCmd() *cobra.Command {
	var dry, yes, keep, remove bool
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove nanoclaw from this machine",
		Long: `Remove nanoclaw from this machine: the service, the socket, stored credentials, the
Claude Code that it fetched, and, unless you keep them, the configuration and the data:
conversations, files of groups, the audit log. It lists what goes first, and asks. The
program itself stays, and so does everything in folders of your own.`,
		Example: "  nanoclaw uninstall --dry-run\n  nanoclaw uninstall --keep-data\n  nanoclaw uninstall --remove-data --yes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := &setup{app: a, cmd: cmd, o: setupOptions{yes: yes}}
			if !keep && !remove {
				switch {
				case dry:
					remove = true
				case !s.asking():
					return &control.Error{Code: control.CodeUsage, Message: "say what becomes of the configuration and the data", Hint: "nanoclaw uninstall --yes --keep-data, or --remove-data"}
				default:
					answer, err := s.ask("Keep the configuration and the data? [Y/n]", "y")
					if err != nil {
						return err
					}
					keep = !strings.HasPrefix(strings.ToLower(answer), "n")
				}
			}
			return a.uninstall(cmd.Context(), s, dry, keep)
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "list what would go, and remove nothing")
	cmd.Flags().BoolVar(&keep, "keep-data", false, "keep the configuration and the data")
	cmd.Flags().BoolVar(&remove, "remove-data", false, "remove them too")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.MarkFlagsMutuallyExclusive("keep-data", "remove-data")
	return keepsRoot(cmd)
}

func (a *app) uninstall(ctx context.Context, s *setup, dry, keep bool) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	list, err := a.removals(paths, keep)
	if err != nil {
		return err
	}
	if err := a.listRemovals(list, dry); err != nil || dry || len(list) == 0 {
		return err
	}
	if s.asking() {
		if answer, err := s.ask("Remove all of this? It cannot be undone. [y/N]", "n"); err != nil || !strings.HasPrefix(strings.ToLower(answer), "y") {
			return errors.Join(err, errors.New("nothing was removed"))
		}
	} else if !s.o.yes {
		return &control.Error{Code: control.CodeUsage, Message: "nobody can be asked; nothing was removed", Hint: "add --yes"}
	}
	for i, r := range list {
		if err := r.do(ctx); err != nil {
			return fmt.Errorf("remove %s: %w\nfix: nanoclaw uninstall goes on with what is left", strings.TrimSpace(r.What+" "+r.Path), err)
		}
		if i == 0 || list[0].Path != r.Path {
			a.say("removed %s", strings.TrimSpace(r.What+" "+r.Path))
		}
	}
	return nil
}

func (a *app) listRemovals(list []removal, dry bool) error {
	if a.json && dry {
		return printList(a, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.out, "There is nothing to remove.")
		return nil
	}
	fmt.Fprintln(a.out, "This goes:")
	for _, r := range list {
		fmt.Fprintf(a.out, "  %-24s %s\n", r.What, channel.SafeText(r.Path))
	}
	return nil
}

// removals is what is there to be removed. The service comes first: while it runs,
// the rest is in use.
func (a *app) removals(p config.Paths, keep bool) ([]removal, error) {
	h := a.services()
	text, mine, err := h.Installed()
	if err != nil {
		return nil, err
	}
	var list []removal
	if text != "" && mine {
		list = append(list, removal{"the service", h.File(), func(ctx context.Context) error {
			_, err := h.Remove(ctx, p)
			return err
		}})
	}
	places := []removal{{What: "the socket", Path: p.RuntimeDir}, {What: "the key of credentials", Path: p.KeyDir}}
	if keep {
		places = append(places,
			removal{What: "stored credentials", Path: filepath.Join(p.ConfigDir, "credentials")},
			removal{What: "Claude Code", Path: install.Dir(p.DataDir)})
	} else {
		places = append(places, removal{What: "configuration", Path: p.ConfigDir}, removal{What: "data, with Claude Code", Path: p.DataDir})
		if home := a.getenv("NANOCLAW_HOME"); home != "" {
			places = append(places, removal{What: "the folder of all, if empty", Path: home})
		}
	}
	for _, r := range places {
		_, err := os.Lstat(r.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, a.removes(r, p))
	}
	return list, nil
}

// removes gives a place the act that removes it.
func (a *app) removes(r removal, p config.Paths) removal {
	r.do = func(ctx context.Context) error {
		// A daemon that is not the service's is nobody's to end here.
		if c, err := control.Dial(ctx, socket(p)); err == nil {
			c.Close()
			return errors.New("nanoclaw still runs\nfix: nanoclaw stop --daemon")
		}
		if r.Path == a.getenv("NANOCLAW_HOME") {
			if left, err := os.ReadDir(r.Path); err != nil || len(left) > 0 {
				return err
			}
		}
		return removeAll(r.Path)
	}
	return r
}

// removeAll removes a folder with everything in it, also folders that an agent closed
// to their owner. It follows no link out of the folder.
func removeAll(dir string) error {
	first := os.RemoveAll(dir)
	if !errors.Is(first, fs.ErrPermission) {
		return first
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return first
	}
	defer root.Close()
	if err := open(root, "."); err != nil {
		return errors.Join(first, err)
	}
	return os.RemoveAll(dir)
}

// open makes every folder in a folder one that its owner may change.
func open(root *os.Root, dir string) error {
	if err := root.Chmod(dir, 0o700); err != nil {
		return err
	}
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	d.Close()
	for _, e := range entries {
		if err == nil && e.IsDir() {
			err = open(root, filepath.Join(dir, e.Name()))
		}
	}
	return err
}
