package why

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"nanoclaw/internal/audit"
)

// Write tells the account to a person, one line for each question. What an agent
// chose is in it: make it safe before a terminal sees it.
func (a *Account) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, text string) {
		if text != "" {
			// A tab or a line end of an agent's must not make a line of ours.
			fmt.Fprintf(t, "%s\t%s\n", name, strings.NewReplacer("\t", " ", "\n", "; ").Replace(text))
		}
	}
	line("run", fmt.Sprintf("%s of group %s: %s", a.Run, a.Group, a.outcome()))
	line("asked", a.asked())
	line("decided", a.decided())
	line("granted", a.granted())
	line("boundary", a.boundary())
	for _, use := range []struct {
		name string
		all  []Use
	}{{"used", a.Did}, {"asked us for", a.Asks}, {"reached", a.Reached}} {
		for _, u := range use.all {
			line(use.name, u.text())
		}
	}
	for _, f := range a.Changed {
		for _, text := range changed(f) {
			line("changed", text)
		}
	}
	for _, f := range a.Found {
		line("moved away", f)
	}
	for _, s := range a.Sent {
		line("said", s.text())
	}
	line("recorded", a.recorded())
	return t.Flush()
}

func (a *Account) outcome() string {
	e := a.Ended
	if e.State == "" {
		return "it has not ended"
	}
	text := e.State
	if e.Ms > 0 {
		text += " after " + (time.Duration(e.Ms) * time.Millisecond).String()
	}
	if m := e.Model; m != nil {
		text += fmt.Sprintf(", %d answers of the model, %d tokens in and %d out by its provider's account", m.Answers, m.Input+m.CacheRead+m.CacheWrite, m.Output)
	}
	if e.CostUSD > 0 {
		text += fmt.Sprintf(", %.4f USD by the agent's own account", e.CostUSD)
	}
	if e.Error != "" {
		text += ": " + e.Error
	}
	return text
}

func (a *Account) asked() string {
	if a.Asked.From == "" {
		return ""
	}
	who := "not the owner"
	switch {
	case a.Asked.Terminal:
		who = "the owner, at their own terminal"
	case a.Asked.Owner:
		who = "the owner"
	}
	return fmt.Sprintf("by %s in %s (%s), begun %s", a.Asked.Sender, a.Asked.From, who, a.Asked.At.UTC().Format(time.RFC3339))
}

func (a *Account) decided() string {
	if a.Rule != "" {
		return fmt.Sprintf("refused by the rule %s: %s", a.Rule, a.Refusal)
	}
	if a.Mode == "" {
		return ""
	}
	return fmt.Sprintf("%s mode%s, agent %s%s", a.Mode, because(a.ModeReason), a.Agent, because(a.AgentReason))
}

func (a *Account) granted() string {
	var parts []string
	for _, p := range []struct {
		words string
		list  []string
	}{{"write ", a.Granted.Writes}, {"read ", a.Granted.Reads}, {"reach ", a.Granted.Hosts}, {"ask the host for ", a.Granted.Tools}} {
		if len(p.list) > 0 {
			parts = append(parts, p.words+strings.Join(p.list, ", "))
		}
	}
	return strings.Join(parts, "; ")
}

func (a *Account) boundary() string {
	if a.Boundary.Engine == "" {
		if a.Warm {
			return fmt.Sprintf("that of session %s, which was still there from the run before", a.Session)
		}
		return ""
	}
	text := a.Boundary.Engine + " with " + strings.Join(a.Boundary.Layers, ", ")
	if len(a.Boundary.Missing) > 0 {
		text += "; without " + strings.Join(a.Boundary.Missing, ", ")
	}
	if a.Boundary.Attestation != "" {
		text += "; proven by attestation " + a.Boundary.Attestation
	}
	return text
}

func (u Use) text() string {
	text := u.Name
	if u.Times > 1 {
		text += fmt.Sprintf(", %d times", u.Times)
	}
	if u.Up > 0 || u.Down > 0 {
		text += fmt.Sprintf(", %d bytes up and %d down", u.Up, u.Down)
	}
	if u.Refused == 0 {
		return text
	}
	if u.Refused == u.Times {
		text += ": REFUSED"
	} else {
		text += fmt.Sprintf(": REFUSED %d times", u.Refused)
	}
	text += because(u.Reason)
	if u.Allow != "" {
		text += "; to allow it: " + u.Allow
	}
	return text
}

func changed(f audit.ChangedFolder) []string {
	var out []string
	for _, c := range f.Files {
		text := f.Folder + "/" + c.Path
		switch {
		case c.Kind != "":
			text += ", a " + c.Kind
		case c.SHA256 != "":
			text += fmt.Sprintf(", %d bytes, SHA-256 %s", c.Bytes, c.SHA256)
		default:
			text += fmt.Sprintf(", %d bytes, too many to read", c.Bytes)
		}
		out = append(out, text)
	}
	if f.More > 0 {
		out = append(out, fmt.Sprintf("%s: %d more files", f.Folder, f.More))
	}
	if f.Short != "" {
		out = append(out, fmt.Sprintf("%s was not searched to its end: %s", f.Folder, f.Short))
	}
	return out
}

func (s Sent) text() string {
	return fmt.Sprintf("%s of %d bytes to %s: %s%s", s.Kind, s.Bytes, s.To, s.State, because(s.Cause))
}

func (a *Account) recorded() string {
	text := fmt.Sprintf("audit entries %d to %d", a.First, a.Last)
	if a.Erased > 0 {
		text += fmt.Sprintf("; the words of %d were erased", a.Erased)
	}
	return text
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}
