package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
)

func (a *app) mcpPinCmd() *cobra.Command {
	var group, hash string
	cmd := &cobra.Command{
		Use:   "pin NAME",
		Short: "Accept what a server says of its tools now",
		Long: `Show what a server says of its tools that nobody has accepted, and, with the hash
that is shown with it, accept it. Agents read these words, so whoever runs the
server can steer agents by them: what is not accepted is left out. What a server
says first is accepted by itself, but for servers that are dangerous.`,
		Example: "  nanoclaw mcp pin tracker\n  nanoclaw mcp pin tracker --hash 3f7a9c21d04b",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r := control.PinRequest{Name: args[0]}
			if group != "" {
				if r.Group, err = parseGroup(group); err != nil {
					return err
				}
			}
			return a.with(cmd.Context(), reading, func(s *session) error { return a.pinServer(cmd.Context(), s, r, hash) })
		},
	}
	a.groupFlag(cmd, &group, "")
	cmd.Flags().StringVar(&hash, "hash", "", "accept what was shown with this hash, of which 12 digits are enough")
	return cmd
}

// pinServer shows what waits and accepts it if it still is what was shown.
func (a *app) pinServer(ctx context.Context, s *session, r control.PinRequest, hash string) error {
	const enough = 12
	p, err := s.PinServer(ctx, r)
	if err == nil && hash != "" && !p.Done {
		if len(hash) < enough || !strings.HasPrefix(p.Hash, hash) {
			return &control.Error{Code: control.CodeRefused, Message: "what waits has another hash", Hint: "nanoclaw mcp pin " + r.Name + " shows it"}
		}
		r.Hash = p.Hash
		p, err = s.PinServer(ctx, r)
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(p)
	}
	switch {
	case p.Done && r.Hash != "":
		_, err = fmt.Fprintf(a.out, "accepted: %s with %.12s\n", channel.OneLine(p.Server, 60), p.Hash)
	case p.Done:
		_, err = fmt.Fprintf(a.out, "nothing waits: %s is pinned to %.12s\n", channel.OneLine(p.Server, 60), p.Hash)
	default:
		_, err = fmt.Fprintf(a.out, "%s\nto accept exactly this: nanoclaw mcp pin %s --hash %.12s\n", channel.SafeText(p.Text), channel.OneLine(p.Server, 60), p.Hash)
	}
	return err
}
