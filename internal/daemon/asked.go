package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/queue"
)

// Bounds of what a chat is told.
const (
	maxWhy       = 4 << 10 // bytes of a run's account
	whyInPublic  = 3       // lines of it where others read along: run, asked, decided
	maxQuestions = 20
)

// alone says that a chat is the owner's own: main's, or a terminal.
func alone(who authority.Actor) bool {
	return who.Group == chat.Main || who.From.Channel == console.ID
}

// obeyCost tells what the models cost today, of a group or of all.
func (d *Daemon) obeyCost(ctx context.Context, g chat.Group) (string, error) {
	if g == queue.AllGroups {
		g = ""
	}
	c, err := d.Cost(ctx, control.CostQuery{Group: g})
	if err != nil {
		return "", err
	}
	type sum struct{ micros, tokens, unpriced int64 }
	sums, groups := map[chat.Group]sum{}, d.groupNames()
	if g != "" {
		groups = []chat.Group{g}
	}
	for _, l := range c.Lines {
		s := sums[l.Group]
		sums[l.Group] = sum{s.micros + l.Micros, s.tokens + l.Tokens(), s.unpriced + l.Unpriced}
	}
	lines := []string{"Today (" + c.Day + "):"}
	for _, name := range groups {
		s := sums[name]
		line := fmt.Sprintf("%s: %s, %d tokens", name, config.USD(s.micros), s.tokens)
		if s.unpriced > 0 {
			line += fmt.Sprintf(" (for %d of them nobody knows a price)", s.unpriced)
		}
		lines = append(lines, line)
	}
	for _, b := range c.Budgets {
		if text := budgetLine(b); text != "" {
			lines = append(lines, text)
		}
	}
	return strings.Join(lines, "\n"), nil
}

// budgetLine says what is left of a budget, "" if it has no bound.
func budgetLine(b control.CostBudget) string {
	var left []string
	if b.MaxMicros > 0 {
		left = append(left, fmt.Sprintf("%s of %s", config.USD(max(b.MaxMicros-b.Micros, 0)), config.USD(b.MaxMicros)))
	}
	if b.MaxTokens > 0 {
		left = append(left, fmt.Sprintf("%d of %d tokens", max(b.MaxTokens-b.Tokens, 0), b.MaxTokens))
	}
	if b.MaxRuns > 0 {
		left = append(left, fmt.Sprintf("%d of %d runs", max(b.MaxRuns-b.Runs, 0), b.MaxRuns))
	}
	if left == nil {
		return ""
	}
	return fmt.Sprintf("left of the budget of %s: %s", channel.OneLine(b.Account, 60), strings.Join(left, ", "))
}

// obeyWhy explains a run, or the last one of a group. Where others read along it is
// who asked and what decided: what an agent reached and changed is for the owner.
func (d *Daemon) obeyWhy(ctx context.Context, g chat.Group, run chat.RunID, who authority.Actor) (string, error) {
	if run == "" {
		last, err := d.Runs(ctx, control.RunsQuery{Group: g, Limit: 1})
		if err != nil {
			return "", err
		}
		if len(last) == 0 {
			return fmt.Sprintf("There was no run of %s yet.", g), nil
		}
		run = last[0].ID
	}
	w, err := d.tellRun(ctx, control.Why{}, run)
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimSpace(channel.SafeText(w.Text)), "\n")
	more := ""
	if !alone(who) && len(lines) > whyInPublic {
		lines, more = lines[:whyInPublic], "\nAll of it: nanoclaw why "+string(run)
	}
	for i, l := range lines { // columns are for terminals
		if name, rest, ok := strings.Cut(l, "  "); ok {
			lines[i] = name + ": " + strings.TrimSpace(rest)
		}
	}
	text := strings.Join(lines, "\n")
	if len(text) > maxWhy {
		text, more = strings.ToValidUTF8(text[:maxWhy], ""), "…\nAll of it: nanoclaw why "+string(run)
	}
	return text + more, nil
}

// questionWords lists the questions that wait for the owner; where others read along,
// how many there are.
func (d *Daemon) questionWords(who authority.Actor) string {
	open := d.desk.Open()
	switch {
	case len(open) == 0:
		return "No question of the host is open."
	case !alone(who):
		return fmt.Sprintf("Open questions: %d. They are in your own chat.", len(open))
	}
	lines := []string{"Open, to be answered by approve CODE or deny CODE:"}
	for i, a := range open {
		if i == maxQuestions {
			lines = append(lines, fmt.Sprintf("and %d more: nanoclaw approvals", len(open)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("%s (%s, for %v): %s", a.Code, a.Group, time.Until(a.Until).Round(time.Minute), channel.OneLine(a.Title, 200)))
	}
	return strings.Join(lines, "\n")
}
