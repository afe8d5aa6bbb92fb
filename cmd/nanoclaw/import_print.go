package main

import (
	"fmt"
	"io"
	"strings"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/imports"
)

// printImport shows a plan. Nearly every word in it is an agent's or a stranger's.
func printImport(w io.Writer, p imports.Plan) error {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-10s %s\n", name, channel.OneLine(fmt.Sprintf(format, args...), 600))
	}
	fmt.Fprintf(w, "NanoClaw 1 in %s\n", channel.OneLine(p.From, 300))
	if p.Empty() {
		fmt.Fprintln(w, "there is nothing to take over")
	}
	if p.Assistant != "" {
		line("name", "the assistant is called %s", p.Assistant)
	}
	for _, id := range p.Owners {
		line("owner", "%s is you: may do all that you may", id)
	}
	if p.Allowlist {
		line("folders", "mount-allowlist.json bounds what is lent, as it did")
	}
	if p.Credential != "" {
		line("credential", "the %s of .env, which is not shown", p.Credential)
	}
	for _, s := range p.Added {
		line("mcp", "%s", s)
	}
	if p.Global.Files > 0 {
		line("memory", "of all groups: %d files, %d KB", p.Global.Files, (p.Global.Bytes+1023)>>10)
	}
	for _, g := range p.Groups {
		fmt.Fprintf(w, "group %s, which was %s\n", g.Name, channel.OneLine(g.Folder+" ("+g.Title+")", 200))
		printImportedGroup(line, g)
	}
	printLeft(w, p.Left)
	for _, n := range p.Notes {
		fmt.Fprintf(w, "then: %s\n", channel.OneLine(n, 600))
	}
	return nil
}

func printImportedGroup(line func(name, format string, args ...any), g imports.Group) {
	if !g.Configure {
		line("rights", "as they are here: an earlier import made the group, and this one finishes it")
	}
	for _, c := range g.Chats {
		line("chat", "%s", c)
	}
	if g.Trigger != "" {
		line("trigger", "%s: the agent answers without being called", g.Trigger)
	}
	for _, s := range g.Senders {
		line("sender", "%s may speak", s)
	}
	for _, m := range g.Mounts {
		how := "read-only"
		if m.Write {
			how = "may be changed"
		}
		line("folder", "%s at /workspace/extra/%s, %s", m.Path, m.Inside(), how)
	}
	if g.Files.Why == "" {
		line("files", "%d, %d KB", g.Files.Files, (g.Files.Bytes+1023)>>10)
	}
	if g.Session != "" {
		line("goes on", "the conversation %s", g.Session)
	}
	line("messages", "%d", g.Messages)
	for _, t := range g.Tasks {
		line("task", "%s, %s, %s %s in %s: %s", t.ID, strings.TrimSuffix(string(t.State)+", "+t.Reason, ", "), t.Spec.Kind, t.Spec.Value, t.Spec.Zone, t.Prompt)
		if t.Script != "" {
			line("", "with a script that looks first: %s", t.Script)
		}
	}
}

func printLeft(w io.Writer, all []imports.Left) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w, "not taken over:")
	for _, l := range all {
		fmt.Fprintf(w, "  %s: because %s\n", channel.OneLine(l.What, 300), channel.OneLine(l.Because, 500))
	}
}

// tell prints what was done.
func (i *importer) tell(r importReport) error {
	if i.json {
		return i.printJSON(r)
	}
	fmt.Fprintln(i.out, "\ntaken over:")
	for _, g := range r.Groups {
		fmt.Fprintf(i.out, "  %s: %d files (%d were there), %d messages, %d tasks", g.Group, g.Files, g.Same, g.Messages, g.Tasks)
		if g.Session {
			fmt.Fprint(i.out, ", and the conversation goes on")
		}
		fmt.Fprintln(i.out)
	}
	if r.Credential != "" {
		fmt.Fprintf(i.out, "  %s\n", channel.OneLine(r.Credential, 500))
	}
	printLeft(i.out, r.Left)
	for _, line := range r.Refused {
		fmt.Fprintf(i.out, "to mend: %s\n", channel.OneLine(line, 500))
	}
	_, err := fmt.Fprintln(i.out, "the old installation is as it was")
	return err
}
