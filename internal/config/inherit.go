package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Who gets the servers of the owner's own Claude Code.
const (
	InheritMain = "main-only"
	InheritAll  = "all-groups"
	InheritNone = "none"
)

var inheritances = []string{InheritMain, InheritAll, InheritNone}

// Inherits says whether a group gets the servers of the owner's own Claude Code.
func (c *Config) Inherits(group string) bool {
	return c.GlobalMcpInheritance == InheritAll || c.GlobalMcpInheritance == InheritMain && group == mainGroup
}

// Where names the place of a server's entry, for whoever has to find it.
func (s MCPServer) Where(name string) string {
	if s.From != "" {
		return s.From + ": mcpServers." + name
	}
	return "mcpServers." + name
}

// foreign is a server as Claude Code's settings have it. What they say beside
// this does not change what is run or asked.
type foreign struct {
	Type          string            `json:"type"`
	Command       string            `json:"command"`
	Args          []string          `json:"args"`
	Env           map[string]string `json:"env"`
	URL           string            `json:"url"`
	Headers       map[string]string `json:"headers"`
	HeadersHelper string            `json:"headersHelper"`
}

// Inherit adds servers of a file of the owner's own Claude Code, given as JSON by
// their names, and says in words which it left out and why. from is how the file
// is called. They are held to the rules of this file's own; none can take the
// place of one that is there already, nor a name that agents could not tell from
// its name. They are there in host mode, for whom globalMcpInheritance says. A
// program with variables, or with an argument that may be a secret, gets a
// boundary of its own: nobody wrote them down knowing that an agent could read
// them.
func (c *Config) Inherit(from string, servers map[string]json.RawMessage, o Options) (left []string) {
	taken := map[string]string{}
	for name := range c.MCPServers {
		taken[strings.ToLower(As(name))] = name
	}
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		if other, ok := taken[strings.ToLower(As(name))]; ok {
			left = append(left, fmt.Sprintf("%s: mcpServers.%s is left out, since %s goes before it", from, clip(name), c.MCPServers[other].Where(clip(other))))
			continue
		}
		s, err := c.inherited(servers[name], o)
		if err == nil {
			err = c.checkInherited(name, s, o)
		}
		if err != nil {
			left = append(left, fmt.Sprintf("%s: mcpServers.%s is left out: %v", from, clip(name), err))
			continue
		}
		s.From = from
		taken[strings.ToLower(As(name))] = name
		c.MCPServers[name] = s
	}
	return left
}

// inherited makes one of our servers of one of Claude Code's.
func (c *Config) inherited(raw json.RawMessage, o Options) (MCPServer, error) {
	var f foreign
	if json.Unmarshal(raw, &f) != nil {
		return MCPServer{}, fmt.Errorf("it is not in the form of a server") // the error could quote a secret
	}
	if f.HeadersHelper != "" {
		return MCPServer{}, fmt.Errorf("its headers are made by a program (headersHelper), which the host does not run: write the server into your configuration")
	}
	if f.Type == "streamable-http" { // another name of theirs
		f.Type = "http"
	}
	s := MCPServer{Type: f.Type, Command: f.Command, Modes: []string{modeHost}, Groups: []string{mainGroup}}
	if c.GlobalMcpInheritance == InheritAll {
		s.Groups = []string{EveryGroup}
	}
	var err error
	text := func(in string) Text {
		value, bad := expand(in, o.Getenv)
		if bad != nil && err == nil {
			err = fmt.Errorf("expected %s", bad.expected)
		}
		return Text{value: value, variable: strings.Contains(in, "${")}
	}
	texts := func(in map[string]string) map[string]Text {
		if len(in) == 0 {
			return nil
		}
		out := map[string]Text{}
		for _, name := range slices.Sorted(maps.Keys(in)) {
			out[name] = text(in[name])
		}
		return out
	}
	s.Env, s.Headers = texts(f.Env), texts(f.Headers)
	if f.URL != "" {
		s.URL = text(f.URL)
	}
	for i, a := range f.Args {
		s.Args = append(s.Args, text(a))
		s.Own = s.Own || s.Args[i].secret("") || telling(f.Args, i)
	}
	s.Own = s.Own && s.Command != "" || len(s.Env) > 0
	return s, err
}

// checkInherited holds a server to the rules of ours.
func (c *Config) checkInherited(name string, s MCPServer, o Options) error {
	v := validator{}
	v.serverName(at("mcpServers", name), name, map[string]string{})
	v.serverKind(at("mcpServers", name), s)
	v.serverReach(at("mcpServers", name), s, c, o)
	if len(v.problems) > 0 {
		p := v.problems[0]
		p.Field = nil
		return p
	}
	return nil
}

// telling says that an argument may be a secret: by the name of its option, as a
// credential in an address, or since it looks like a token. It errs on the side of
// a boundary of its own.
func telling(args []string, i int) bool {
	a := args[i]
	option, value, _ := strings.Cut(a, "=")
	if value == "" && i > 0 && strings.HasPrefix(args[i-1], "-") && !strings.HasPrefix(a, "-") {
		option, value = args[i-1], a
	}
	named := strings.ReplaceAll(strings.TrimLeft(option, "-"), "-", "_")
	if value != "" && NewText(value).secret(named) {
		return true
	}
	if _, rest, ok := strings.Cut(a, "://"); ok && strings.ContainsAny(rest, "@?") {
		return true
	}
	const shortest = 20
	for _, word := range []string{a, value} {
		if len(word) >= shortest && strings.ContainsAny(word, "0123456789") && !strings.ContainsAny(word, "/.@ ") {
			return true
		}
	}
	return false
}
