package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"nanoclaw/internal/control"
)

func (a *app) execCmd() *cobra.Command {
	var r control.ExecRequest
	var group string
	var mounts []string
	cmd := &cobra.Command{
		Use:   "exec [--group G] [--mode M] [--boundary B] -- CMD [ARG…]",
		Short: "Run a command in exactly the boundary that a group's agent gets",
		Long: `Run a command in exactly the boundary that a group's agent gets: to see what the
agent sees, or to try to break out. Its input, output and exit code are passed
through; it has a terminal if this command has one.

The exit code is the command's, or 128 and the signal's number; 125 if the
boundary could not be built, 126 if the command cannot be run, 127 if it is not
there, 3 if the policy refuses.`,
		Example: "  nanoclaw exec -- env\n  nanoclaw exec --group family -- sh\n  tar c . | nanoclaw exec -- tar t",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if r.Group, err = parseGroup(group); err != nil {
				return err
			}
			if r.Mounts, err = parseMounts(mounts); err != nil {
				return err
			}
			r.Argv = args
			return a.with(cmd.Context(), running, func(s *session) error { return a.exec(cmd.Context(), s, r) })
		},
	}
	a.groupFlag(cmd, &group, "main")
	f := cmd.Flags()
	f.StringVar(&r.Mode, "mode", "", "host or container, in place of the group's own")
	f.StringVar(&r.Boundary, "boundary", "", "the boundary, in place of the mode's own")
	f.StringArrayVar(&mounts, "mount", nil, "a folder for this command alone, as DIR or DIR:rw")
	f.SetInterspersed(false) // what follows the command is the command's
	return cmd
}

func (a *app) exec(ctx context.Context, s *session, r control.ExecRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, terminalOut := isTerminal(a.out)
	r.TTY = terminal(a.in) && terminalOut
	if r.TTY {
		r.Term = a.getenv("TERM")
		r.Rows, r.Cols = sizeOf(out)
	}
	// Before the start, so that no signal takes us away from a command that runs.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	defer signal.Stop(signals)

	p, err := s.Exec(ctx, r)
	if err != nil {
		return err
	}
	defer p.Close()
	if r.TTY {
		restore, err := rawMode(a.in)
		if err != nil {
			return err
		}
		defer restore()
	}
	go forward(ctx, p, signals, out)
	go func() {
		io.Copy(p.Stdin(), a.in)
		p.Stdin().Close()
	}()
	var outputs sync.WaitGroup
	outputs.Go(func() { io.Copy(a.out, p.Stdout()) })
	outputs.Go(func() { io.Copy(a.err, p.Stderr()) })
	outputs.Wait()
	exit, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	return exitAs(exit)
}

// exitAs ends this command as the inner one ended.
func exitAs(e control.Exit) error {
	switch {
	case e.Signal != 0:
		return &exitError{code: exitSignal + e.Signal}
	case e.Code != 0:
		return &exitError{code: e.Code}
	}
	return nil
}

// forward passes signals on, and changes of the terminal's size.
func forward(ctx context.Context, p control.Process, signals <-chan os.Signal, out *os.File) {
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-signals:
			if sig == syscall.SIGWINCH {
				if out != nil && terminal(out) {
					p.Resize(sizeOf(out))
				}
				continue
			}
			p.Signal(sig.(syscall.Signal))
		}
	}
}

func terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// sizeOf is the size of a terminal, 24 by 80 where it does not say.
func sizeOf(f *os.File) (rows, cols uint16) {
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil || w <= 0 || h <= 0 || w > 1<<15 || h > 1<<15 {
		return 24, 80
	}
	return uint16(h), uint16(w)
}

// rawMode takes the keys as they are typed, until restore.
func rawMode(f *os.File) (restore func(), err error) {
	old, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	return func() { term.Restore(int(f.Fd()), old) }, nil
}
