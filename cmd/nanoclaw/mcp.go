package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
)

func (a *app) mcpCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Show, try and accept MCP servers",
		Long: `Show and try the servers of the Model Context Protocol that the configuration
names under mcpServers, and those of your own Claude Code (globalMcpInheritance).
Servers that a workspace brings along are never used.`,
		Example: "  nanoclaw mcp list\n  nanoclaw mcp test tracker\n  nanoclaw mcp pin tracker",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.mcpListCmd(), a.mcpTestCmd(), a.mcpPinCmd())
	return cmd
}

func (a *app) mcpListCmd() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the servers that each group has, and those it has not",
		Long: `List the servers that each group has, and those it has not, each with its reason.
Nothing is asked of them now: a running daemon looks at them in the background.`,
		Example: "  nanoclaw mcp list\n  nanoclaw mcp list --group family --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.servers(cmd.Context(), control.ServersQuery{}, group, printServers)
		},
	}
	a.groupFlag(cmd, &group, "")
	return cmd
}

func (a *app) mcpTestCmd() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Start a server, or ask it, as its agents would, and list its tools",
		Long: `Start a server, or ask it, over the way that its agents have: a program in a
boundary with what is granted to it, an address through the gateway, with the
configured headers. The exit code is 1 if any group that has the server would not
get it. Each tool is shown with the hash of its definition; a change is recorded,
and told in main's chat.`,
		Example: "  nanoclaw mcp test tracker\n  nanoclaw mcp test files --group family --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.servers(cmd.Context(), control.ServersQuery{Name: args[0], Test: true}, group, printTested)
		},
	}
	a.groupFlag(cmd, &group, "")
	return cmd
}

// servers asks about servers and prints the answer.
func (a *app) servers(ctx context.Context, q control.ServersQuery, group string, print func(io.Writer, []control.ServerInfo) error) (err error) {
	if group != "" {
		if q.Group, err = parseGroup(group); err != nil {
			return err
		}
	}
	return a.with(ctx, reading, func(s *session) error {
		list, err := s.Servers(ctx, q)
		if err != nil {
			return err
		}
		if a.json {
			err = printList(a, list)
		} else {
			err = print(a.out, list)
		}
		if q.Test && slices.ContainsFunc(list, func(s control.ServerInfo) bool { return s.State == grant.ServerFailed }) && err == nil {
			err = &exitError{code: exitFailed}
		}
		return err
	})
}

func printServers(w io.Writer, list []control.ServerInfo) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no MCP server is in the configuration (mcpServers)")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVER\tGROUP\tWAY\tSTATE\tTOOLS\tPIN\tREASON")
	for _, s := range list {
		tools := "?"
		if s.Hash != "" {
			tools = fmt.Sprint(len(s.Tools))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", channel.OneLine(s.Name, 60), s.Group, s.Transport, s.State, tools, pinWords(s), channel.OneLine(joined("; ", s.Reason, s.Fix, asksWords(s), secretsWords(s)), 400))
	}
	return t.Flush()
}

// pinWords say which definitions of its tools count, and who accepted them.
func pinWords(s control.ServerInfo) string {
	switch {
	case len(s.Waiting) > 0:
		return fmt.Sprintf("%d wait for you", len(s.Waiting))
	case s.Pin != "":
		return fmt.Sprintf("%.12s (%s)", s.Pin, channel.OneLine(s.By, 40))
	case s.Hash != "":
		return "none"
	}
	return "?"
}

func asksWords(s control.ServerInfo) string {
	if !s.Asks {
		return ""
	}
	return "you are asked about calls"
}

func secretsWords(s control.ServerInfo) string {
	if len(s.Secrets) == 0 {
		return ""
	}
	return "SECRETS INSIDE: the agent can read " + strings.Join(s.Secrets, ", ")
}

func printTested(w io.Writer, list []control.ServerInfo) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no group has it")
		return err
	}
	for _, s := range list {
		fmt.Fprintf(w, "%s for %s: %s\n", channel.OneLine(s.Name, 60), s.Group, channel.OneLine(joined(", ", s.State, s.Reason), 500))
		for _, more := range []string{s.Fix, secretsWords(s)} {
			if more != "" {
				fmt.Fprintf(w, "  %s\n", channel.OneLine(more, 500))
			}
		}
		if s.State != grant.ServerActive || s.Hash == "" {
			continue
		}
		fmt.Fprintf(w, "  it calls itself %s; tools since %s:\n", channel.OneLine(s.Says, 100), s.Since.Local().Format(time.DateTime))
		for _, name := range slices.Sorted(maps.Keys(s.Tools)) {
			fmt.Fprintf(w, "  %.12s  mcp__%s__%s\n", s.Tools[name], s.As, channel.OneLine(name, 100))
		}
	}
	return nil
}
