package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/watch"
)

// configOptions are how the configuration is read everywhere in the commands.
func (a *app) configOptions() config.Options {
	return config.Options{Getenv: a.getenv, CheckHost: func(entry string) error {
		_, err := grant.ParseHost(entry)
		return err
	}, CheckDeny: grant.CheckDeny, CheckTerms: grant.CheckTerms, CheckRule: watch.CheckRule}
}

func (a *app) loadConfig(p config.Paths) (*config.Config, error) {
	c, _, err := config.Load(p.Config, a.configOptions())
	return c, err
}

func (a *app) configCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Look at the configuration file",
		Example: "  nanoclaw config check\n  nanoclaw config plan\n  $EDITOR \"$(nanoclaw config path)\"",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:     "path",
			Short:   "Print where the configuration file is",
			Long:    "Print where the configuration file is. With --json, also the folders of data and sockets.",
			Example: "  nanoclaw config path",
			Args:    cobra.NoArgs,
			RunE:    func(*cobra.Command, []string) error { return a.configPath() },
		},
		&cobra.Command{
			Use:   "check [FILE]",
			Short: "Check the configuration file and say where it is wrong",
			Long: `Check the configuration file, or FILE, and say for each mistake where it is, what
was expected and what was found. The exit code is 1 if there is one.`,
			Example: "  nanoclaw config check\n  nanoclaw config check ./config.jsonc",
			Args:    cobra.MaximumNArgs(1),
			RunE:    func(_ *cobra.Command, args []string) error { return a.configCheck(args) },
		},
		&cobra.Command{
			Use:     "schema",
			Short:   "Print the JSON Schema of the configuration, for editors",
			Example: "  nanoclaw config schema > config.schema.json",
			Args:    cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				b, err := config.Schema()
				if err == nil {
					_, err = a.out.Write(b)
				}
				return err
			},
		},
		a.configPlanCmd(),
		a.configReloadCmd(),
	)
	return cmd
}

// needVerb is what a family of verbs does without one.
func needVerb(cmd *cobra.Command, _ []string) error {
	return usageError(fmt.Errorf("%s needs a verb", cmd.CommandPath()), cmd)
}

func (a *app) configPath() error {
	p, err := a.paths()
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(p)
	}
	_, err = fmt.Fprintln(a.out, p.Config)
	return err
}

func (a *app) configCheck(args []string) error {
	p, err := a.paths()
	if err != nil {
		return err
	}
	if len(args) == 1 {
		p.Config = args[0]
	}
	_, err = a.loadConfig(p)
	if a.json {
		return a.printProblems(p.Config, err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "%s: ok\n", p.Config)
	return err
}

// printProblems gives the outcome of a check to programs.
func (a *app) printProblems(file string, err error) error {
	report := struct {
		File     string           `json:"file"`
		OK       bool             `json:"ok"`
		Error    string           `json:"error,omitempty"`
		Problems []config.Problem `json:"problems,omitempty"`
	}{File: file, OK: err == nil}
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		report.Problems = problems
	case err != nil:
		report.Error = err.Error()
	}
	if printing := a.printJSON(report); printing != nil {
		return printing
	}
	if err != nil {
		return &exitError{code: exitFailed}
	}
	return nil
}
