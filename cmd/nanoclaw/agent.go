package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nanoclaw/internal/config"
	"nanoclaw/internal/install"
)

// claudeName is the one agent program that can be installed and logged in.
const claudeName = "claude"

func (a *app) agentCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "agent",
		Short:   "Install the agent program, and see which one is used",
		Example: "  nanoclaw agent install claude\n  nanoclaw agent list",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	var force bool
	add := &cobra.Command{
		Use:   "install claude",
		Short: "Fetch Claude Code and put it where agents get it",
		Long: `Fetch Claude Code at the version that nanoclaw was made for, from the npm registry
that this machine uses: npm_config_registry, else ~/.npmrc, else npm's own.
HTTPS_PROXY is heeded. Neither npm nor Node is needed. Only an archive with the
hash that this program knows is unpacked; it goes into nanoclaw's data folder, and
agents see it read-only. Claude Code has a licence of its own, which is between
you and Anthropic.

Nothing is fetched if it is there already, or if a Claude Code that is at least as
new would be used. --force fetches it in any case.`,
		Example:   "  nanoclaw agent install claude\n  npm_config_registry=https://npm.example.org nanoclaw agent install claude --force",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{claudeName},
		RunE:      func(cmd *cobra.Command, _ []string) error { return a.installClaude(cmd, force) },
	}
	add.Flags().BoolVar(&force, "force", false, "fetch it even if nothing needs it")
	cmd.AddCommand(add, &cobra.Command{
		Use:   "list",
		Short: "Say which Claude Code is used and where it is from, or why there is none",
		Long: `Say which Claude Code is used, where it is from and its version, or why there is
none. The order: agent.claude.path in the configuration, what "nanoclaw agent
install claude" fetched, "claude" on the PATH. The program is not started for this.`,
		Example: "  nanoclaw agent list\n  nanoclaw agent list --json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.listAgents() },
	})
	return cmd
}

// agentInfo is an agent program as "agent list" shows it.
type agentInfo struct {
	Agent   string         `json:"agent"`
	Path    string         `json:"path,omitempty"`
	Source  install.Source `json:"source,omitempty"`
	Version string         `json:"version,omitempty"`
	Tried   string         `json:"tried"`
	Missing string         `json:"missing,omitempty"`
}

func newAgentInfo(p install.Program) agentInfo {
	return agentInfo{claudeName, p.Path, p.Source, p.Version, install.Version, p.Missing}
}

func (a *app) listAgents() error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	p, err := a.findClaude(paths)
	if err != nil {
		return err
	}
	if a.json {
		return printList(a, []agentInfo{newAgentInfo(p)})
	}
	if p.Path == "" {
		fmt.Fprintf(a.out, "%s  none: %s\n", claudeName, p.Missing)
		a.say("to get it: nanoclaw agent install claude")
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AGENT\tVERSION\tFROM\tPROGRAM")
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", claudeName, cmp.Or(p.Version, "unknown"), p.Source, p.Path)
	return w.Flush()
}

// findClaude finds the program as the daemon does.
func (a *app) findClaude(paths config.Paths) (install.Program, error) {
	c, err := a.configOrDefault(paths)
	if err != nil {
		return install.Program{}, err
	}
	return install.Find(install.Places{Configured: c.Agent.Claude.Path, Data: paths.DataDir, Home: a.home(), Path: a.getenv("PATH")}), nil
}

// configOrDefault is the configuration, or what a first start would write.
func (a *app) configOrDefault(paths config.Paths) (*config.Config, error) {
	c, err := a.loadConfig(paths)
	if errors.Is(err, config.ErrNoConfig) {
		c := config.Default()
		return &c, nil
	}
	return c, err
}

// home is the owner's home folder, "" if there is none.
func (a *app) home() string {
	if home := a.getenv("HOME"); home != "" {
		return home
	}
	home, _ := os.UserHomeDir()
	return home
}

func (a *app) installClaude(cmd *cobra.Command, force bool) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	before, err := a.findClaude(paths)
	if err != nil {
		return err
	}
	if !force && before.Source != install.FromUs && before.NewEnough() {
		a.say("%s from %s is new enough; nothing was fetched (--force does)", before.Path, before.Source)
		return a.installed(before, false)
	}
	pkg, err := a.claude()
	if err != nil {
		return err
	}
	registry, err := install.Registry(a.getenv, a.home())
	if err != nil {
		return err
	}
	if err := paths.EnsureDirs(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	_, fetched, err := install.Install(ctx, install.Options{
		Package: pkg, Registry: registry, Dir: install.Dir(paths.DataDir), Getenv: a.getenv, Force: force,
		Say: func(s string) { a.say("%s", s) },
	})
	if err != nil {
		return err
	}
	after, err := a.findClaude(paths)
	if err != nil {
		return err
	}
	switch {
	case after.Source == install.FromConfig || after.Path == "":
		a.say("agent.claude.path in the configuration goes before it: empty that setting to use it")
	case fetched:
		a.say("a running daemon uses it from its next session on")
	}
	return a.installed(after, fetched)
}

// installed prints the outcome.
func (a *app) installed(p install.Program, fetched bool) error {
	if a.json {
		return a.printJSON(struct {
			agentInfo
			Fetched bool `json:"fetched"`
		}{newAgentInfo(p), fetched})
	}
	verb := "is there already:"
	if fetched {
		verb = "is installed:"
	}
	_, err := fmt.Fprintf(a.out, "Claude Code %s %s %s\n", cmp.Or(p.Version, "of an unknown version"), verb, p.Path)
	return err
}
