package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
)

func (a *app) groupCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "List groups and change what they may do",
		Long: `List groups and change what they may do. Each change is made in the configuration
file, keeps your comments, and prints how the grant changes. A running daemon
starts no new run until you restart it.`,
		Example: "  nanoclaw group list\n  nanoclaw group add family\n  nanoclaw group mount add family ~/photos",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.groupListCmd(), a.groupAddCmd(), a.groupSetCmd(), a.groupRemoveCmd(), a.mountCmd(), a.egressCmd())
	return cmd
}

func (a *app) groupListCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the groups and what a message in each would meet",
		Example: "  nanoclaw group list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(s *session) error {
				groups, err := s.Groups(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return printList(a, groups)
				}
				return printGroups(a.out, groups)
			})
		},
	}
}

func printGroups(w io.Writer, groups []control.GroupInfo) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "GROUP\tMODE\tAGENT\tTRIGGER\tCHATS\tREFUSED")
	for _, g := range groups {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", g.Name, g.Mode, g.Agent, g.Trigger,
			channel.OneLine(strings.Join(g.Chats, " "), 60), channel.OneLine(g.Refusal, 80))
	}
	return t.Flush()
}

// groupFields are the flags of "group add" and "group set".
type groupFields struct {
	mode, agent, trigger    string
	model, fallback, effort string
	prompt, promptFile      string
	maxTurns                int
	provider                string
	chats, senders          []string
	serverTools             []string
	permissionMode, confirm string
	prepared                bool
}

func (f *groupFields) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.mode, "mode", "", "host (which is also the group's opt-in to it) or container")
	cmd.Flags().StringVar(&f.agent, "agent", "", "auto, claude or shell")
	cmd.Flags().StringVar(&f.trigger, "trigger", "", "mention or always")
	cmd.Flags().StringVar(&f.model, "model", "", "the model to ask for")
	cmd.Flags().StringVar(&f.fallback, "fallback-model", "", "the model to ask while that one is too busy")
	cmd.Flags().StringVar(&f.effort, "effort", "", "how hard it thinks: low, medium, high, xhigh or max")
	cmd.Flags().IntVar(&f.maxTurns, "max-turns", 0, "rounds that one message may take; 0 is no limit")
	cmd.Flags().StringVar(&f.prompt, "prompt", "", "what the agent is told in every session")
	cmd.Flags().StringVar(&f.promptFile, "prompt-file", "", "or a file with it, beside the configuration")
	cmd.Flags().StringVar(&f.provider, "provider", "", "one of the providers in the configuration, whose model and credential it uses")
	cmd.Flags().StringVar(&f.permissionMode, "permission-mode", "", "bypass, or ask: you are asked before the agent uses a tool")
	cmd.Flags().StringVar(&f.confirm, "confirm", "", "whether you are asked before a run in host mode: each, session or never")
	cmd.Flags().BoolVar(&f.prepared, "prepared", false, "keep a session ready before anybody writes")
	cmd.Flags().StringSliceVar(&f.serverTools, "server-tools", nil, "what the model's provider may do for it, past every egress rule: web_search,web_fetch,code_execution")
	cmd.Flags().StringArrayVar(&f.chats, "chat", nil, "a chat of the group, as CHANNEL:CHAT")
	cmd.Flags().StringArrayVar(&f.senders, "sender", nil, "who may speak beside you, as CHANNEL:SENDER")
}

// given tells whether any of the flags was.
func (f *groupFields) given(cmd *cobra.Command) bool {
	for _, name := range []string{"mode", "agent", "trigger", "model", "fallback-model", "effort", "max-turns", "prompt", "prompt-file", "provider", "permission-mode", "confirm", "prepared", "server-tools", "chat", "sender"} {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// apply writes the flags that were given into a group of the file. An empty
// value takes the group's own setting away.
func (f *groupFields) apply(cmd *cobra.Command, d *config.Document, name string) error {
	for _, field := range []struct {
		flag, key string
		value     any
	}{
		{"agent", "agent", f.agent}, {"trigger", "trigger", f.trigger},
		{"model", "model", f.model}, {"provider", "provider", f.provider}, {"fallback-model", "fallbackModel", f.fallback}, {"effort", "effort", f.effort},
		{"permission-mode", "permissionMode", f.permissionMode}, {"confirm", "confirm", f.confirm}, {"prepared", "prepared", f.prepared},
		{"max-turns", "maxTurns", f.maxTurns}, {"prompt", "prompt", f.prompt}, {"prompt-file", "promptFile", f.promptFile},
	} {
		if !cmd.Flags().Changed(field.flag) {
			continue
		}
		if err := setOrUnset(d, name, field.key, field.value); err != nil {
			return err
		}
	}
	if cmd.Flags().Changed("server-tools") {
		err := d.UnsetGroupField(name, "serverTools")
		if len(f.serverTools) > 0 {
			err = d.SetGroupField(name, "serverTools", f.serverTools)
		}
		if err != nil {
			return err
		}
	}
	if cmd.Flags().Changed("mode") {
		if err := setMode(d, name, f.mode); err != nil {
			return err
		}
	}
	for _, c := range f.chats {
		if err := d.AddChat(name, c); err != nil {
			return err
		}
	}
	for _, s := range f.senders {
		if err := d.AddSender(name, s); err != nil {
			return err
		}
	}
	return nil
}

func setOrUnset(d *config.Document, name, key string, value any) error {
	if value == "" || value == 0 || value == false {
		return d.UnsetGroupField(name, key)
	}
	return d.SetGroupField(name, key, value)
}

// setMode sets the mode. Host mode is the owner's whole consent for the group;
// leaving it takes that back.
func setMode(d *config.Document, name, mode string) error {
	if mode == "host" {
		if err := d.SetGroupField(name, "mode", mode); err != nil {
			return err
		}
		return d.AllowHostMode(name)
	}
	if err := d.UnsetGroupField(name, "hostModeAllowed"); err != nil {
		return err
	}
	return setOrUnset(d, name, "mode", mode)
}

func (a *app) groupAddCmd() *cobra.Command {
	var f groupFields
	cmd := &cobra.Command{
		Use:     "add NAME",
		Short:   "Add a group",
		Example: "  nanoclaw group add family --trigger mention\n  nanoclaw group add work --mode host",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := parseGroup(args[0])
			if err != nil {
				return err
			}
			return a.change(cmd.Context(), authority.GroupRegister, g, func(d *config.Document) error {
				if err := d.AddGroup(args[0], config.Group{}); err != nil {
					return err
				}
				return f.apply(cmd, d, args[0])
			})
		},
	}
	f.flags(cmd)
	return cmd
}

func (a *app) groupSetCmd() *cobra.Command {
	var f groupFields
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change a group",
		Long: `Change a group. Flags that are not given leave things as they are; an empty value
takes the group's own setting away, so that the general one holds.`,
		Example: "  nanoclaw group set family --mode host\n  nanoclaw group set family --agent claude --model sonnet",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := parseGroup(args[0])
			if err != nil {
				return err
			}
			if !f.given(cmd) {
				return usageError(errors.New("say what to change"), cmd)
			}
			return a.change(cmd.Context(), authority.ConfigChange, g, func(d *config.Document) error { return f.apply(cmd, d, args[0]) })
		},
	}
	f.flags(cmd)
	return cmd
}

func (a *app) groupRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a group; its folder and its history stay",
		Example: "  nanoclaw group remove family",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := parseGroup(args[0])
			if err != nil {
				return err
			}
			return a.change(cmd.Context(), authority.GroupRemove, g, func(d *config.Document) error { return d.RemoveGroup(args[0]) })
		},
	}
}

func (a *app) mountCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "mount",
		Short:   "Give a group folders of this machine, or take them away",
		Example: "  nanoclaw group mount add family ~/photos",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	var name string
	add := &cobra.Command{
		Use:   "add GROUP DIR[:rw]",
		Short: "Give a group a folder, read-only unless :rw follows",
		Long: `Give a group a folder of this machine. The agent finds it at
/workspace/extra/NAME, read-only unless :rw follows the folder.`,
		Example: "  nanoclaw group mount add family ~/photos\n  nanoclaw group mount add work ~/src/site:rw --name site",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := parseGroup(args[0])
			if err != nil {
				return err
			}
			dir, write := cutAccess(args[1])
			if !strings.HasPrefix(dir, "~/") {
				if dir, err = filepath.Abs(dir); err != nil {
					return err
				}
			}
			m := config.Mount{Path: dir, Name: name, Write: write}
			return a.change(cmd.Context(), authority.MountChange, g, func(d *config.Document) error { return d.AddMount(args[0], m) })
		},
	}
	add.Flags().StringVar(&name, "name", "", "its name under /workspace/extra (the folder's own)")
	remove := &cobra.Command{
		Use:     "remove GROUP NAME",
		Short:   "Take a folder away from a group",
		Example: "  nanoclaw group mount remove family photos",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := parseGroup(args[0])
			if err != nil {
				return err
			}
			return a.change(cmd.Context(), authority.MountChange, g, func(d *config.Document) error { return d.RemoveMount(args[0], args[1]) })
		},
	}
	cmd.AddCommand(add, remove)
	return cmd
}

// cutAccess parts DIR:rw or DIR:ro.
func cutAccess(s string) (dir string, write bool) {
	if dir, ok := strings.CutSuffix(s, ":rw"); ok {
		return dir, true
	}
	return strings.TrimSuffix(s, ":ro"), false
}

func (a *app) egressCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "egress",
		Short:   "Let a group reach hosts, or take them away",
		Example: "  nanoclaw group egress add work @git",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	verb := func(use, short, example string, edit func(d *config.Document, group, entry string) error) *cobra.Command {
		return &cobra.Command{
			Use: use + " GROUP HOST…", Short: short, Example: example,
			Long: short + `: HOST, *.SUFFIX, HOST:PORT, or a preset: @git,
@npm, @go, @pypi. Nothing but the model can be reached without.`,
			Args: cobra.MinimumNArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				g, err := parseGroup(args[0])
				if err != nil {
					return err
				}
				return a.change(cmd.Context(), authority.EgressChange, g, func(d *config.Document) error {
					for _, entry := range args[1:] {
						if err := edit(d, args[0], entry); err != nil {
							return err
						}
					}
					return nil
				})
			},
		}
	}
	cmd.AddCommand(
		verb("add", "Let a group reach a host", "  nanoclaw group egress add work @git\n  nanoclaw group egress add work '*.example.org' api.example.org:8443", (*config.Document).AddEgress),
		verb("remove", "Take a host away from a group", "  nanoclaw group egress remove work @git", (*config.Document).RemoveEgress),
	)
	return cmd
}

// change edits the configuration and prints how the grant of a group changes.
// Whoever can write the file is the owner.
func (a *app) change(ctx context.Context, act authority.Act, g chat.Group, edit func(*config.Document) error) error {
	if v := authority.Decide(act, authority.Terminal()); !v.Allowed() {
		return errors.New(v.Reason)
	}
	p, err := a.paths()
	if err != nil {
		return err
	}
	if _, _, err := config.Load(p.Config, a.configOptions()); errors.Is(err, config.ErrNoConfig) {
		// The first start writes it, after a look at this machine.
		if err := a.with(ctx, reading, func(*session) error { return nil }); err != nil {
			return err
		}
	}
	before := a.grantLines(p, g)
	if err := config.Edit(p.Config, a.configOptions(), edit); err != nil {
		return err
	}
	after := a.grantLines(p, g)
	changes := diffLines(before, after)
	if a.json {
		err = a.printJSON(struct {
			Group   chat.Group `json:"group"`
			Changes []string   `json:"changes"`
		}{g, changes})
	} else {
		err = printChanges(a.out, g, changes)
	}
	if a.apart {
		return err
	}
	if c, dialing := control.Dial(ctx, socket(p)); dialing == nil {
		c.Close()
		a.say("a daemon runs with the configuration as it was; it starts no new run until you restart it")
	}
	return err
}

// grantLines is what a message of the owner would be granted, or why not.
func (a *app) grantLines(p config.Paths, g chat.Group) []string {
	c, err := a.loadConfig(p)
	if err == nil {
		var lines []string
		if lines, err = a.preview(c, p, g); err == nil {
			return lines
		}
	}
	text, _ := words(err)
	return []string{"refused: " + channel.OneLine(text, 300)}
}

// diffLines lists what b lost of a, and what it gained.
func diffLines(a, b []string) []string {
	return append(without("-", a, b), without("+", b, a)...)
}

// without lists the lines of a that b has not, each after mark.
func without(mark string, a, b []string) []string {
	have := make(map[string]bool, len(b))
	for _, line := range b {
		have[line] = true
	}
	out := []string{}
	for _, line := range a {
		if !have[line] {
			out = append(out, mark+" "+line)
		}
	}
	return out
}

func printChanges(w io.Writer, g chat.Group, changes []string) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintf(w, "the grant of %s stays as it is\n", g)
		return err
	}
	fmt.Fprintf(w, "the grant of %s changes:\n", g)
	for _, line := range changes {
		if _, err := fmt.Fprintln(w, channel.SafeText(line)); err != nil {
			return err
		}
	}
	return nil
}
