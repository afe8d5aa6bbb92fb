package main

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
)

// decideLocally gives the lines of the grant that the owner's own message would
// get under a configuration that no daemon runs with yet. Where the mode is
// refused, a line says so and the rest is what the group could touch without
// that refusal, which is the same in every mode.
//
// It serves to compare two configurations, so it takes this machine to have all
// that an agent needs: what is missing is the same on both sides, and doctor
// tells it.
func (a *app) decideLocally(c *config.Config, p config.Paths, g chat.Group) ([]string, error) {
	r := a.request(c, p, g)
	got, err := grant.Decide(r)
	var no *grant.Refusal
	if !errors.As(err, &no) || !strings.HasPrefix(no.Rule, "mode.") && !strings.HasPrefix(no.Rule, "hostmode.") {
		return got.Lines(), err
	}
	allowed := *c
	allowed.HostMode.Enabled = true
	allowed.Groups = maps.Clone(c.Groups)
	group := allowed.Groups[string(g)]
	group.HostModeAllowed = true
	allowed.Groups[string(g)] = group
	r.Config, r.Mode = &allowed, grant.HostMode
	if got, err = grant.Decide(r); err != nil {
		return nil, err
	}
	lines := slices.DeleteFunc(got.Lines(), func(line string) bool { return strings.HasPrefix(line, "mode ") })
	return append([]string{"refused for now: " + no.Text}, lines...), nil
}

func (a *app) request(c *config.Config, p config.Paths, g chat.Group) grant.Request {
	claude := c.Agent.Claude.Path
	if claude == "" {
		claude = "claude"
	}
	return grant.Request{
		Config: c, Group: g,
		Trigger: grant.Trigger{Kind: "message", Owner: true, Terminal: true},
		Machine: grant.Machine{
			OwnerHome: a.getenv("HOME"),
			Private:   p.Private(),
			GroupsDir: filepath.Join(p.DataDir, "groups"),
			GlobalDir: filepath.Join(p.DataDir, "global"),
			Claude:    claude,
			HasModel:  true,
			Providers: slices.Collect(maps.Keys(c.Providers)),
			TimeZone:  a.getenv("TZ"),
		},
	}
}
