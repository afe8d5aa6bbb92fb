package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"

	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/hostlog"
	"nanoclaw/internal/watch"
)

func (a *app) runCmd() *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long: `Run the daemon in the foreground: channels, queue, agents and the control socket.
It prints one line when it is ready, logs to stderr and to files that nanoclaw
logs -f shows, and ends on SIGTERM or Ctrl-C; a second one ends it at once. With --json it logs JSON. A service manager
that started it is told that it is ready, that it lives, and that it ends.`,
		Example: "  nanoclaw run\n  nanoclaw run --json 2>> nanoclaw.log",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runDaemon(cmd.Context(), verbose)
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log details")
	return cmd
}

func (a *app) runDaemon(ctx context.Context, verbose bool) error {
	began := time.Now()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// From the first signal on the next one has its usual effect.
	defer context.AfterFunc(ctx, stop)()

	paths, err := a.paths()
	if err != nil {
		return err
	}
	log := a.logger(verbose)
	log, closeLog, err := a.keepLog(log, paths, verbose)
	if err != nil {
		return err
	}
	defer closeLog()
	h, err := a.openForDaemon(ctx, paths, log)
	if err != nil {
		return err
	}
	l, err := control.Listen(socket(paths), log)
	if err != nil {
		return errors.Join(err, h.Close())
	}
	ready, done := notifier{a.getenv, log}.during(ctx, socket(paths))
	err = a.serve(ctx, h, l, log, func() {
		ready()
		fmt.Fprintf(a.out, "nanoclaw: ready in %d ms (pid %d, %s)\n", time.Since(began).Milliseconds(), os.Getpid(), socket(paths))
	})
	done()
	return errors.Join(err, h.Close())
}

// openForDaemon opens the host of a daemon. Another daemon is refused at once;
// a command that only holds the store while it looks something up is waited for.
func (a *app) openForDaemon(ctx context.Context, paths config.Paths, log *slog.Logger) (host, error) {
	for deadline := time.Now().Add(startTime); ; {
		if c, err := control.Dial(ctx, socket(paths)); err == nil {
			c.Close()
			return nil, alreadyRuns(fmt.Errorf("it answers at %s", socket(paths)))
		}
		h, err := a.open(ctx, hostOptions{paths: paths, getenv: a.getenv, log: log, say: func(s string) { a.say("%s", s) }})
		if !taken(err) {
			return h, err
		}
		if time.Now().After(deadline) {
			return nil, alreadyRuns(err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func alreadyRuns(err error) error {
	return &control.Error{Code: control.CodeFailed, Message: "nanoclaw already runs: " + err.Error(), Hint: "nanoclaw status shows it"}
}

// keepLog has what the daemon logs be kept in files too, without credentials, which
// nanoclaw logs -f shows.
func (a *app) keepLog(log *slog.Logger, paths config.Paths, verbose bool) (*slog.Logger, func(), error) {
	if err := paths.EnsureDirs(); err != nil {
		return nil, nil, err
	}
	h, c, err := hostlog.Open(hostlog.Folder(paths.DataDir), logLevel(verbose), watch.NewMasker().Text)
	if err != nil {
		return nil, nil, err
	}
	return slog.New(slog.NewMultiHandler(log.Handler(), h)), func() { c.Close() }, nil
}

func logLevel(verbose bool) slog.Level {
	if verbose {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// logger is the daemon's log: JSON for machines, colour for a terminal.
func (a *app) logger(verbose bool) *slog.Logger {
	level := logLevel(verbose)
	if a.json {
		return slog.New(slog.NewJSONHandler(a.err, &slog.HandlerOptions{Level: level}))
	}
	_, tty := isTerminal(a.err)
	return slog.New(tint.NewTextHandler(a.err, &tint.Options{
		Level: level, TimeFormat: time.TimeOnly, NoColor: !tty || a.getenv("NO_COLOR") != "",
	}))
}
