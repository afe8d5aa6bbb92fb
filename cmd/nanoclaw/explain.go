package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
)

func (a *app) policyExplainCmd() *cobra.Command {
	var q control.PolicyQuery
	var group string
	var mounts []string
	cmd := &cobra.Command{
		Use:   "explain QUESTION...",
		Short: "Say whether a group may touch something, and which line says so",
		Long: `Say whether a group's agent may touch something, and which line of its grant
says so. A question is one of

  PATH            may it read this? Also write:PATH, exec:PATH, list:PATH,
                  create:PATH, remove:PATH, rename:PATH and link:PATH. The path is
                  the agent's, or one of this machine in a folder it was given
  HOST[:PORT]     may it connect there? HTTPS where no port is named
  URL             may it ask for this? A GET, or "POST https://HOST/PATH"
  $VAR            is this variable in its environment?
  tool:NAME       may it call this host tool, or ask the provider for web_search?
                  Also a tool of an MCP server: tool:mcp__SERVER__TOOL
  mcp:NAME        has it this MCP server?
  call:NAME       may it make this system call? Also with the arguments as
                  numbers: call:socket(1,1,0)

The exit code is 0 if everything asked about is allowed, and 3 if anything is not.`,
		Example: "  nanoclaw policy explain /etc/shadow write:/usr/bin\n" +
			"  nanoclaw policy explain --group family ~/photos github.com '$HOME' tool:list_groups call:mount --json",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if q.Group, err = parseGroup(group); err != nil {
				return err
			}
			if q.Mounts, err = parseMounts(mounts); err != nil {
				return err
			}
			if q.Explain, err = a.questions(args); err != nil {
				return usageError(err, cmd)
			}
			return a.with(cmd.Context(), reading, func(s *session) error { return a.policyExplain(cmd.Context(), s, q) })
		},
	}
	a.groupFlag(cmd, &group, "main")
	cmd.Flags().StringVar(&q.Mode, "mode", "", "host or container, in place of the group's own")
	cmd.Flags().StringArrayVar(&mounts, "mount", nil, "a folder as chat --mount would add it")
	return cmd
}

// questions writes paths in full, as seen from here, and checks the form.
func (a *app) questions(args []string) ([]string, error) {
	var out []string
	for _, arg := range args {
		op, p, cut := strings.Cut(arg, ":")
		if !cut || !strings.ContainsAny(p, "/.~") {
			op, p = "", arg
		}
		switch rest, home := strings.CutPrefix(p, "~/"); {
		case home:
			p = filepath.Join(a.getenv("HOME"), rest)
		case p == "." || p == ".." || strings.HasPrefix(p, "./") || strings.HasPrefix(p, "../"):
			full, err := filepath.Abs(p)
			if err != nil {
				return nil, err
			}
			p = full
		default:
			p = arg
		}
		if op != "" && p != arg {
			p = op + ":" + p
		}
		q, err := grant.ParseQuestion(p)
		if err != nil {
			return nil, err
		}
		out = append(out, q.String())
	}
	return out, nil
}

func (a *app) policyExplain(ctx context.Context, s *session, q control.PolicyQuery) error {
	p, err := s.Policy(ctx, q)
	switch {
	case err != nil:
		return err
	case p.Refusal != "":
		return a.policyRefused(p)
	}
	if a.json {
		if err := printList(a, p.Answers); err != nil {
			return err
		}
	}
	for _, e := range p.Answers {
		if !a.json {
			fmt.Fprint(a.out, channel.SafeText(explained(e)))
		}
		if !e.Allowed {
			err = &exitError{code: exitRefused}
		}
	}
	return err
}

// explained is an answer for a person.
func explained(e control.Explanation) string {
	const indent = "         "
	var b strings.Builder
	verdict := "refused"
	if e.Allowed {
		verdict = "allowed"
	}
	fmt.Fprintf(&b, "%s  %s\n", verdict, e.Question)
	for _, l := range [...]struct{ before, text string }{
		{"inside it is ", e.As}, {"", e.Line}, {"", e.Why}, {"to allow it: ", e.Allow},
	} {
		if l.text != "" {
			fmt.Fprintf(&b, "%s%s%s\n", indent, l.before, strings.ReplaceAll(l.text, "\n", "\n"+indent))
		}
	}
	return b.String()
}
