package grant

import (
	"fmt"
	"slices"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// model is what a group's session may ask of its model.
func model(name chat.Group, g config.Group, agent string) *Model {
	if agent != Claude {
		return nil
	}
	m := &Model{Provider: g.Provider, Reason: "model"}
	if g.Provider != "" {
		m.Reason = fmt.Sprintf("groups.%s.provider", name)
	}
	for _, tool := range g.ServerTools {
		m.ServerTools = append(m.ServerTools, Tool{tool, fmt.Sprintf("groups.%s.serverTools; the provider does it for the agent, past every egress rule", name)})
	}
	return m
}

// ServerTools are the names of the tools that the model's provider may run.
func (g Grant) ServerTools() []string {
	if g.Model == nil {
		return nil
	}
	names := make([]string, len(g.Model.ServerTools))
	for i, t := range g.Model.ServerTools {
		names[i] = t.Name
	}
	return names
}

// lines are those of a model in a printed grant.
func (m *Model) lines() []string {
	if m == nil {
		return nil
	}
	out := []string{fmt.Sprintf("model of the configuration  # %s", m.Reason)}
	if m.Provider != "" {
		out[0] = fmt.Sprintf("model of provider %s  # %s", m.Provider, m.Reason)
	}
	for _, t := range m.ServerTools {
		out = append(out, t.serverLine())
	}
	return out
}

// serverLine is the line of a tool that the model's provider runs.
func (t Tool) serverLine() string { return fmt.Sprintf("server tool %s  # %s", t.Name, t.Reason) }

// hasModel says that a provider, "" for the configuration's own model, can be asked.
func (m Machine) hasModel(provider string) bool {
	if provider == "" {
		return m.HasModel
	}
	return slices.Contains(m.Providers, provider)
}

func missingModel(m Machine, provider string) string {
	has := m.hasModel(provider)
	switch {
	case m.Claude == "" && !has:
		return "neither Claude Code nor a credential for a model is there"
	case m.Claude == "":
		return "Claude Code is not installed"
	case provider != "":
		return fmt.Sprintf("there is no credential for the provider %s", provider)
	default:
		return "there is no credential for a model"
	}
}

func noModel(m Machine, provider string) *Refusal {
	hint := "nanoclaw login claude, or start nanoclaw with ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN set"
	if provider != "" {
		hint = "nanoclaw login claude --provider " + provider
	}
	if m.Claude == "" {
		hint = "nanoclaw agent install claude, or set agent.claude.path in the configuration; then restart nanoclaw"
	}
	return &Refusal{"agent.nomodel", "no model: " + missingModel(m, provider), hint}
}
