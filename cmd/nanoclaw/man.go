package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manCmd prints the page that packages bring along. It is made of the tree of verbs,
// so that it says what this program does and not another.
func (a *app) manCmd() *cobra.Command {
	return keepsRoot(&cobra.Command{
		Use:               "man",
		Short:             "Print the manual page of this program",
		Example:           "  nanoclaw man > nanoclaw.1",
		Hidden:            true,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var b strings.Builder
			writeMan(&b, cmd.Root())
			_, err := io.WriteString(a.out, b.String())
			return err
		},
	})
}

// writeMan writes the whole tree as one page: man(7).
func writeMan(b *strings.Builder, root *cobra.Command) {
	fmt.Fprintf(b, ".TH %s 1 \"\" %s \"User Commands\"\n.nh\n.ad l\n", strings.ToUpper(root.Name()), quoted("nanoclaw "+versionName()))
	fmt.Fprintf(b, ".SH NAME\n%s \\- %s\n", root.Name(), roff(strings.ToLower(root.Short[:1])+root.Short[1:]))
	fmt.Fprintf(b, ".SH SYNOPSIS\n.B %s\n.I command\n.RI [ flags ]\n", root.Name())
	b.WriteString(".SH DESCRIPTION\n")
	paragraphs(b, root.Long)
	b.WriteString(".SH COMMANDS\n")
	verbsOf(b, root)
	b.WriteString(".SH FLAGS OF ALL COMMANDS\n")
	flagsOf(b, root.PersistentFlags())
	b.WriteString(`.SH ENVIRONMENT
.TP
.B NANOCLAW_HOME
one folder for configuration, state and control socket
.TP
.B ANTHROPIC_API_KEY\fR, \fBCLAUDE_CODE_OAUTH_TOKEN\fR, \fBANTHROPIC_BASE_URL\fR with \fBANTHROPIC_AUTH_TOKEN
a credential for the model, instead of a stored one
.SH FILES
.TP
.I ~/.config/nanoclaw/config.jsonc\fR, as root \fI/etc/nanoclaw
the configuration, with every setting explained in it
.TP
.I ~/.local/share/nanoclaw\fR, as root \fI/var/lib/nanoclaw
groups, store, audit log
.SH SEE ALSO
The documentation, which begins at README.md, lies beside the program, or in
.IR /usr/share/doc/nanoclaw .
`)
}

// verbsOf writes a section for each verb that does something, and those below it.
func verbsOf(b *strings.Builder, cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if !c.IsAvailableCommand() || c.Name() == "help" {
			continue
		}
		if c.Runnable() || c.Long != "" {
			fmt.Fprintf(b, ".SS %s\n", quoted(c.UseLine()))
			text := c.Long
			if text == "" {
				text = c.Short
			}
			paragraphs(b, text)
			flagsOf(b, c.LocalNonPersistentFlags())
			if c.Example != "" {
				fmt.Fprintf(b, ".PP\n.RS 4\n.nf\n%s\n.fi\n.RE\n", roff(undent(c.Example)))
			}
		}
		verbsOf(b, c)
	}
}

// flagsOf lists flags.
func flagsOf(b *strings.Builder, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name, usage := pflag.UnquoteUsage(f)
		long := "--" + f.Name
		if name != "" {
			long += " " + name
		}
		if f.Shorthand != "" {
			long = "-" + f.Shorthand + ", " + long
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(long), roff(usage))
	})
}

// paragraphs writes text, of which indented lines stay as they are.
func paragraphs(b *strings.Builder, text string) {
	for part := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(part, " ") {
			fmt.Fprintf(b, ".PP\n.nf\n%s\n.fi\n", roff(part))
			continue
		}
		fmt.Fprintf(b, ".PP\n%s\n", roff(part))
	}
}

// undent takes away the two spaces that examples begin with.
func undent(text string) string {
	return strings.ReplaceAll(strings.TrimPrefix(text, "  "), "\n  ", "\n")
}

var roffer = strings.NewReplacer(`\`, `\e`, "-", `\-`)

// roff says text in words of roff, in which a line that begins with a dot or an
// apostrophe would be an order.
func roff(text string) string {
	lines := strings.Split(roffer.Replace(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// quoted is one argument of an order.
func quoted(text string) string { return `"` + strings.ReplaceAll(roff(text), `"`, `\(dq`) + `"` }
