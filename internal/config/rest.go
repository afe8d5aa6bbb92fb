package config

import "maps"

// WithRest gives the configuration with what touches no right taken from another
// one. It is the closed list of what may be reloaded while nanoclaw runs: how the
// assistant is called, which model answers and how hard it thinks, what it is told,
// and how long an idle session waits. Whatever is not named here, a field that is
// added later too, counts as security and is accepted by a restart alone.
//
// Groups are those of c: what from has beside them is not taken.
func (c *Config) WithRest(from *Config) *Config {
	out := *c
	out.Schema = from.Schema
	out.Assistant.Name = from.Assistant.Name
	out.Agent.Claude.Model = from.Agent.Claude.Model
	out.Agent.Claude.FallbackModel = from.Agent.Claude.FallbackModel
	out.Agent.Claude.Effort = from.Agent.Claude.Effort
	out.Limits.IdleTime = from.Limits.IdleTime
	out.Groups = maps.Clone(c.Groups)
	for name, g := range out.Groups {
		if n, ok := from.Groups[name]; ok {
			g.Model, g.FallbackModel, g.Effort = n.Model, n.FallbackModel, n.Effort
			g.Prompt, g.PromptFile = n.Prompt, n.PromptFile
			out.Groups[name] = g
		}
	}
	return &out
}
