package seatbelt

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// Local is a session's grant with the paths and ports that it has on this Mac.
// Everything that is said to an agent, or started for it, goes through it, so
// that hosts keep speaking of /workspace/group.
type Local struct {
	grant  grant.Grant
	params Params
	secret string
}

// Localize makes a Local of a grant whose mounts' sources are real paths. secret
// is what the session's endpoints demand.
func Localize(g grant.Grant, p Params, secret string) *Local {
	return &Local{grant: g, params: p, secret: secret}
}

// Path gives the real path of one that the grant names, or that lies in one. Any
// other is as it is.
func (l *Local) Path(inside string) string {
	target, source := "/tmp", l.params.Tmp
	if !beneath(inside, target) {
		target = ""
	}
	for _, m := range l.grant.Mounts {
		if beneath(inside, m.Target) && len(m.Target) > len(target) {
			target, source = m.Target, l.source(m)
		}
	}
	if target == "" {
		return inside
	}
	return path.Join(source, strings.TrimPrefix(inside, target))
}

// source is where the agent has a mount.
func (l *Local) source(m grant.Mount) string {
	if view := l.params.Views[m.Target]; view != "" {
		return view
	}
	return Real(m.Source)
}

// Seen is a grant as the agent meets it: its lines with the paths and ports of
// this Mac. It holds no secret.
func (l *Local) Seen(g grant.Grant) grant.Grant {
	g.Mounts = slices.Clone(g.Mounts)
	for i, m := range g.Mounts {
		g.Mounts[i].Target = l.Path(m.Target)
	}
	g.Env = slices.Clone(g.Env)
	for i, v := range g.Env {
		g.Env[i].Value = l.value(v.Name, v.Value, "")
	}
	g.Endpoints = slices.Clone(g.Endpoints)
	for i, e := range g.Endpoints {
		g.Endpoints[i].Port = l.params.Ports[e.Name]
	}
	return g
}

// SecretVar is the variable that holds the session's secret, for programs that
// speak to an endpoint themselves: "Authorization: Bearer SECRET".
const SecretVar = "NANOCLAW_ENDPOINT_SECRET"

// keyVar is the variable in which Claude Code looks for its key. It has to be
// set, and what it holds is sent to the endpoint: so it holds the secret.
const keyVar = "ANTHROPIC_API_KEY"

// Exec gives an order to start a process, as it is meant on this Mac: directory,
// program and variables with real paths and ports, and the secret.
func (l *Local) Exec(e wire.Exec) wire.Exec {
	e.Dir = l.Path(e.Dir)
	e.Argv = slices.Clone(e.Argv)
	if len(e.Argv) > 0 {
		e.Argv[0] = l.Path(e.Argv[0])
	}
	env := make([]string, 0, len(e.Env)+1)
	for _, v := range e.Env {
		name, value, _ := strings.Cut(v, "=")
		if name != SecretVar {
			env = append(env, name+"="+l.value(name, value, l.secret))
		}
	}
	if e.Probe == nil && l.secret != "" {
		env = append(env, SecretVar+"="+l.secret)
	}
	e.Env = env
	return e
}

// value gives the value of a variable, with the secret where there is one.
func (l *Local) value(name, value, secret string) string {
	switch {
	case name == "PATH":
		list := strings.Split(value, ":")
		for i, dir := range list {
			list[i] = l.Path(dir)
		}
		return strings.Join(list, ":")
	case name == keyVar && secret != "":
		return secret
	case strings.HasPrefix(value, "/"):
		return l.Path(value)
	}
	for _, e := range l.grant.Endpoints {
		if value != fmt.Sprintf("http://127.0.0.1:%d", e.Port) {
			continue
		}
		user := ""
		if e.Name == string(wire.Proxy) && secret != "" {
			user = "nanoclaw:" + secret + "@"
		}
		return fmt.Sprintf("http://%s127.0.0.1:%d", user, l.params.Ports[e.Name])
	}
	return value
}
