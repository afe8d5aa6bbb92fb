package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
)

func (a *app) trustCmd() *cobra.Command {
	var group, hash string
	cmd := &cobra.Command{
		Use:   "trust --group G",
		Short: "Let an agent obey the settings that lie in its workspace",
		Long: `Show the files of .claude and .mcp.json in a group's workspace, each with its
SHA-256, and, with the hash that is shown with them, trust them. Settings, hooks,
commands, skills, agents and MCP servers there are programs to Claude Code, which
whoever may write in the workspace can change, so without this none is obeyed.

What is trusted is obeyed as it was shown, inside the group's boundary and with its
rights and no others, and its agent cannot change it. Once anything about it is
different it is not obeyed any more, and you are told. nanoclaw rights remove takes
the trust back.`,
		Example: "  nanoclaw trust --group work\n  nanoclaw trust --group work --hash 3f7a9c21d04b",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			g, err := parseGroup(group)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), existing, func(s *session) error {
				return a.trust(cmd.Context(), s, control.TrustRequest{Group: g}, hash)
			})
		},
	}
	a.groupFlag(cmd, &group, "main")
	cmd.Flags().StringVar(&hash, "hash", "", "trust what was shown with this hash, of which 12 digits are enough")
	return cmd
}

// trust shows what lies there and trusts it if it still is what was shown.
func (a *app) trust(ctx context.Context, s *session, r control.TrustRequest, hash string) error {
	const enough = 12
	t, err := s.Trust(ctx, r)
	if err == nil && hash != "" && !t.Done {
		if len(hash) < enough || !strings.HasPrefix(t.Hash, hash) {
			return &control.Error{Code: control.CodeRefused, Message: "what lies there now has another hash", Hint: "nanoclaw trust --group " + string(r.Group) + " shows it"}
		}
		r.Hash = t.Hash
		t, err = s.Trust(ctx, r)
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(t)
	}
	if t.Done {
		_, err = fmt.Fprintf(a.out, "%strusted: the workspace of %s with %.12s\n", channel.SafeText(t.Text), r.Group, t.Hash)
		return err
	}
	_, err = fmt.Fprintf(a.out, "%sto trust exactly this: nanoclaw trust --group %s --hash %.12s\n", channel.SafeText(t.Text), r.Group, t.Hash)
	return err
}
