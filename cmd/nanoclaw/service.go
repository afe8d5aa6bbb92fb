package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/hostproc"
	"nanoclaw/internal/service"
)

func (a *app) serviceCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Let this machine keep nanoclaw running",
		Long: `Let this machine keep nanoclaw running: by systemd, as your own service, or as the
machine's if you are root; on macOS by launchd, as your own. Root's service runs as
the system user nanoclaw, with the few capabilities that boundaries need.`,
		Example: "  nanoclaw service install --print\n  nanoclaw service install\n  nanoclaw service start\n  nanoclaw service status",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.serviceInstallCmd(), a.serviceStatusCmd(), a.serviceLogsCmd(), a.serviceUninstallCmd(),
		a.serviceAct("start", "Start the service, and return once it is ready", "is ready", service.Host.Start),
		a.serviceAct("stop", "Stop the service until it is started again, or the machine is", "is stopped", service.Host.Stop),
		a.serviceAct("restart", "Stop the service and start it again", "is ready", service.Host.Restart),
	)
	return keepsRoot(cmd)
}

// services is the machine's service manager.
func (a *app) services() service.Host {
	if a.host != nil {
		return a.host(a.getenv)
	}
	return service.This(a.getenv)
}

// serviceOptions are what a service of this installation is made of.
func (a *app) serviceOptions(asRoot bool) (service.Options, error) {
	paths, err := a.paths()
	if err != nil {
		return service.Options{}, err
	}
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	return service.Options{Paths: paths, Home: a.getenv("NANOCLAW_HOME"), Program: self, AsRoot: asRoot}, err
}

func (a *app) serviceInstallCmd() *cobra.Command {
	var show, asRoot bool
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install the service, or bring it up to date",
		Long: `Install the service, so that nanoclaw runs from the next start of the machine on, and
say what was changed. It can be repeated: what is there already stays as it is. It
does not start it now: nanoclaw service start does.

As root it makes the system user nanoclaw and gives it the folders of the
installation. With --as-root the service keeps root's uid and what container engines
of the machine need, for groups in container mode.

Drop-ins of your own ("systemctl edit nanoclaw") are left alone.`,
		Example: "  nanoclaw service install --print\n  sudo nanoclaw service install",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.serviceOptions(asRoot)
			if err != nil {
				return err
			}
			h := a.services()
			if show {
				return a.printUnit(h, o)
			}
			changed, err := h.Install(cmd.Context(), o)
			return a.reportChanges(changed, err, "everything was there already")
		},
	}
	cmd.Flags().BoolVar(&show, "print", false, "show the unit, and write nothing")
	cmd.Flags().BoolVar(&asRoot, "as-root", false, "keep root's uid, for container engines")
	return cmd
}

func (a *app) printUnit(h service.Host, o service.Options) error {
	u, err := h.Unit(o)
	if err != nil {
		return err
	}
	text, err := u.Text()
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(a.out, text)
	return err
}

// reportChanges says what was done, also where something failed after it.
func (a *app) reportChanges(changed []string, err error, nothing string) error {
	if a.json {
		if err != nil {
			return err
		}
		return printList(a, changed)
	}
	for _, c := range changed {
		fmt.Fprintln(a.out, channel.SafeText(c))
	}
	if err != nil {
		return serviceError(err)
	}
	if len(changed) == 0 {
		fmt.Fprintln(a.out, nothing)
	}
	return nil
}

// serviceError adds what to do where a manager is missing.
func serviceError(err error) error {
	if errors.Is(err, hostproc.ErrNoProgram) {
		return fmt.Errorf("%w\nfix: without a service manager, keep \"nanoclaw run\" running by what this machine has in its place", err)
	}
	return err
}

func (a *app) serviceUninstallCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "uninstall",
		Short:   "Stop the service and undo what its installation did",
		Long:    "Stop the service and undo what its installation did: the unit, the system user if it\nwas made for it, lingering if it was switched on. Folders stay; root's belong to root again.",
		Example: "  nanoclaw service uninstall",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			paths, err := a.paths()
			if err != nil {
				return err
			}
			changed, err := a.services().Remove(cmd.Context(), paths)
			return a.reportChanges(changed, err, "there was none")
		},
	}
}

func (a *app) serviceAct(name, short, done string, do func(service.Host, context.Context) error) *cobra.Command {
	return &cobra.Command{
		Use:     name,
		Short:   short,
		Example: "  nanoclaw service " + name,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			h := a.services()
			if err := do(h, ctx); err != nil {
				if s, asking := h.Status(ctx); asking == nil && s.Why != "" && !s.Running && s.Installed {
					return fmt.Errorf("%w\n%s\nfix: %s", serviceError(err), s.Why, cmp.Or(s.Fix, "nanoclaw service logs"))
				}
				return serviceError(err)
			}
			a.say("the service %s", done)
			return nil
		},
	}
}

func (a *app) serviceStatusCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Say how the service stands, and why if it does not run",
		Long:    "Say how the service stands, and why if it does not run. The exit code is 1 if it does\nnot. How the daemon itself stands, nanoclaw status says.",
		Example: "  nanoclaw service status\n  nanoclaw service status --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.services().Status(cmd.Context())
			if err != nil {
				return serviceError(err)
			}
			if a.json {
				err = a.printJSON(s)
			} else {
				err = a.printService(s)
			}
			if err == nil && !s.Running {
				err = &exitError{code: exitFailed}
			}
			return err
		},
	}
}

func (a *app) printService(s service.State) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, l := range []struct{ name, text string }{
		{"unit", s.File}, {"state", s.State}, {"since", s.Since}, {"process", s.PID}, {"says", s.Status}, {"restarts", s.Restarts}, {"why", s.Why}, {"fix", s.Fix},
	} {
		if l.text != "" {
			fmt.Fprintf(w, "%s\t%s\n", l.name, channel.OneLine(l.text, 500))
		}
	}
	if s.Installed && !s.Enabled {
		fmt.Fprintln(w, "but\tit does not begin with the machine: nanoclaw service install")
	}
	return w.Flush()
}

func (a *app) serviceLogsCmd() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:     "logs",
		Short:   "Show what the service said last",
		Example: "  nanoclaw service logs\n  nanoclaw service logs --follow",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			paths, err := a.paths()
			if err != nil {
				return err
			}
			return serviceError(a.services().Logs(ctx, a.out, follow, filepath.Join(paths.DataDir, "service.log")))
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "and what it says from now on")
	return cmd
}
