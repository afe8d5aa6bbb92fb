package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
	"nanoclaw/internal/demo"
)

// demoFlags are what a demonstration is asked for.
type demoFlags struct {
	only  []string
	list  bool
	fast  bool
	agent string
	hole  string
}

func (a *app) demoCmd() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch a hostile visitor fail, on this machine's own boundary",
		Long: `Watch a hostile visitor of a group chat talk an agent into the classic attacks, and
see what stops each, with its entry in the audit log. It needs no account. Claude
Code is the agent if it is there, driven by a scripted model that obeys everybody;
else the shell agent.

Nothing is staged: a second nanoclaw runs in a temporary folder, and each message
takes the way of every message. The keys, the project and the other group that are
attacked are decoys made for it. Nothing of yours is touched, no network is reached,
and all of it is removed at the end.

--hole opens a hole on purpose, to see that the demonstration would notice:
` + "  " + strings.Join(demo.Holes(), "\n  ") + `

The exit code is 1 if anything got through or could not be tried.`,
		Example: "  nanoclaw demo\n  nanoclaw demo --list\n  nanoclaw demo --only keys --only http\n  nanoclaw demo --only keys --hole folder   # gets through, and says so",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := chooseAttempts(f.only)
			if err != nil {
				return usageError(err, cmd)
			}
			if f.list {
				return a.listAttempts(all)
			}
			return a.demo(cmd.Context(), f, all)
		},
	}
	cmd.Flags().StringArrayVar(&f.only, "only", nil, "try this attempt alone; may be given again")
	cmd.Flags().BoolVar(&f.list, "list", false, "list the attempts, and try none")
	cmd.Flags().BoolVar(&f.fast, "fast", false, "leave no pauses for reading")
	cmd.Flags().StringVar(&f.agent, "agent", "auto", `"auto", "claude" or "shell"`)
	cmd.Flags().StringVar(&f.hole, "hole", "", "open a hole on purpose: "+strings.Join(holeNames(), " or "))
	return cmd
}

func holeNames() (names []string) {
	for _, h := range demo.Holes() {
		name, _, _ := strings.Cut(h, ":")
		names = append(names, name)
	}
	return names
}

// chooseAttempts gives those that were named, in their own order, or all.
func chooseAttempts(only []string) (chosen []demo.Attempt, err error) {
	var names []string
	for _, t := range demo.Attempts() {
		names = append(names, t.Name)
		if len(only) == 0 || slices.Contains(only, t.Name) {
			chosen = append(chosen, t)
		}
	}
	for _, name := range only {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("there is no attempt %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	return chosen, nil
}

func (a *app) listAttempts(all []demo.Attempt) error {
	type listed struct {
		Name  string `json:"name"`
		Title string `json:"title"`
	}
	var out []listed
	for _, t := range all {
		out = append(out, listed{t.Name, t.Title})
	}
	if a.json {
		return printList(a, out)
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, t := range out {
		fmt.Fprintf(w, "%s\t%s\n", t.Name, t.Title)
	}
	return w.Flush()
}

// demoReport is all of it as --json prints it.
type demoReport struct {
	OK       bool          `json:"ok"`
	Agent    string        `json:"agent"`
	Boundary string        `json:"boundary"`
	Hole     string        `json:"hole,omitempty"`
	Attempts []demo.Result `json:"attempts"`
	Proof    demo.Proof    `json:"proof"`
}

func (a *app) demo(ctx context.Context, f demoFlags, all []demo.Attempt) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	claude, err := a.demoAgent(f.agent)
	if err != nil {
		return err
	}
	place, err := demo.Prepare(demo.Options{Claude: claude, Hole: f.hole})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.Remove()) }()
	own, err := a.openDemo(ctx, place)
	if err != nil {
		return err
	}
	report := demoReport{OK: true, Agent: place.Agent(), Hole: f.hole, Attempts: []demo.Result{}}
	played := a.play(ctx, own.host, place, f, all, &report)
	if err := errors.Join(played, own.close()); err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(report); err != nil {
			return err
		}
	}
	if !report.OK {
		return &exitError{code: exitFailed}
	}
	return nil
}

// demoAgent is the path of Claude Code, "" for the shell.
func (a *app) demoAgent(kind string) (string, error) {
	if kind == "shell" {
		return "", nil
	}
	if kind != "auto" && kind != claudeName {
		return "", &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("--agent %s: there is no such agent", kind), Hint: "choose auto, claude or shell"}
	}
	paths, err := a.paths()
	if err != nil {
		return "", err
	}
	p, err := a.findClaude(paths)
	switch {
	case err != nil:
		return "", err
	case p.Path == "" && kind == claudeName:
		return "", &control.Error{Code: control.CodeNotFound, Message: "there is no Claude Code: " + p.Missing, Hint: "nanoclaw agent install claude"}
	case p.Path != "" && !p.NewEnough() && kind == "auto":
		return "", nil
	}
	return p.Path, nil
}

// openDemo runs a host in the place. Nobody else can reach it: it has no socket.
func (a *app) openDemo(ctx context.Context, place *demo.Place) (*ownHost, error) {
	log := slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelError}))
	h, err := a.open(ctx, hostOptions{paths: place.Paths, getenv: place.Getenv, log: log, channels: []channel.Channel{place.Network}})
	if err != nil {
		return nil, err
	}
	own := &ownHost{app: a, host: h, server: control.NewServer(h, log), memory: control.NewMemory()}
	if err := own.start(context.WithoutCancel(ctx)); err != nil {
		return nil, errors.Join(err, own.server.Close(), h.Close())
	}
	return own, nil
}

// breath is between two attempts, for a person who reads.
const breath = 3 * time.Second

// play makes all attempts and shows each as soon as it is over.
func (a *app) play(ctx context.Context, h host, place *demo.Place, f demoFlags, all []demo.Attempt, report *demoReport) error {
	out := io.Writer(a.out)
	if a.json {
		out = io.Discard
	}
	tty, isTTY := isTerminal(out)
	s := &stage{w: out, colour: isTTY && a.getenv("NO_COLOR") == "", dir: place.Dir}
	if isTTY {
		s.width = func() int { _, cols := sizeOf(tty); return int(cols) }
	}
	s.opening(place, f.hole)
	d := demo.New(place, h)
	for i, t := range all {
		s.attempt(i+1, len(all), t)
		r, err := d.Try(ctx, t)
		if ctx.Err() != nil {
			return &exitError{code: exitSignal + int(syscall.SIGINT), err: errors.New("the demonstration was ended; all that it made is removed")}
		}
		if err != nil {
			return err
		}
		report.Attempts = append(report.Attempts, r)
		report.OK = report.OK && r.Held()
		s.result(r)
		if isTTY && !f.fast && i < len(all)-1 {
			select {
			case <-time.After(breath):
			case <-ctx.Done():
			}
		}
	}
	var err error
	if report.Boundary, err = d.Boundary(ctx); err != nil {
		return err
	}
	if report.Proof, err = d.Prove(ctx); err != nil {
		return err
	}
	report.OK = report.OK && report.Proof.Holds()
	s.ending(*report)
	return s.err
}
