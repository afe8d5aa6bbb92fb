package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/chat"
)

// EveryGroup in MCPServer.Groups stands for all groups.
const EveryGroup = "*"

// maxServerName is the longest name of an MCP server. Tools are called
// mcp__SERVER__TOOL, and models take names of 128 characters at most.
const maxServerName = 40

// As is how agents know a server of that name: whatever is not a letter, a
// digit, "_" or "-" becomes "_", as Claude Code has it.
func As(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
}

// For says whether the server is there for a group.
func (s MCPServer) For(group string) bool {
	if len(s.Groups) == 0 {
		return group == mainGroup
	}
	return slices.Contains(s.Groups, group) || slices.Contains(s.Groups, EveryGroup)
}

// Inside names what would be a secret inside the agent's boundary, as the file
// has it: "env.TOKEN", "args[1]". There is none where the host keeps them.
func (s MCPServer) Inside() []string {
	if s.Command == "" || s.Own {
		return nil
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if s.Env[name].secret(name) {
			out = append(out, "env."+name)
		}
	}
	for i, a := range s.Args {
		if a.secret("") {
			out = append(out, fmt.Sprintf("args[%d]", i))
		}
	}
	return out
}

// servers checks the MCP servers.
func (v *validator) servers(c *Config, o Options) {
	taken := map[string]string{} // by the name that agents see
	for _, name := range slices.Sorted(maps.Keys(c.MCPServers)) {
		if v.full() {
			return
		}
		field := at("mcpServers", name)
		v.serverName(field, name, taken)
		s := c.MCPServers[name]
		v.serverKind(field, s)
		v.serverReach(field, s, c, o)
		between(v, field.plus("timeout"), s.Timeout, 0, Duration(24*time.Hour))
		between(v, field.plus("startTime"), s.StartTime, 0, Duration(5*time.Minute))
	}
}

func (v *validator) serverName(field Path, name string, taken map[string]string) {
	as := As(name)
	switch {
	case name == "" || len(name) > maxServerName || hasControl(name) || strings.Trim(as, "_-") == "":
		v.addKey(field, fmt.Sprintf("a name of 1 to %d letters, digits, _ and -", maxServerName), quote(name), "")
	case strings.Contains(as, "__") || strings.HasPrefix(as, "_") || strings.HasSuffix(as, "_"):
		v.addKey(field, `a name that neither begins nor ends with "_" nor has two in a row`, quote(name),
			"agents see "+quote(as)+", and two _ separate a server from its tools")
	case strings.EqualFold(as, "nanoclaw"):
		v.addKey(field, "another name", quote(name), "it is that of the host's own tools")
	case taken[strings.ToLower(as)] != "":
		v.addKey(field, "a name that agents can tell from others", quote(name),
			"agents see "+quote(as)+", as that of "+quote(taken[strings.ToLower(as)]))
	}
	taken[strings.ToLower(as)] = name
}

// serverKind checks that a server is of one kind and has what belongs to it.
func (v *validator) serverKind(field Path, s MCPServer) {
	hasURL := s.URL.Reveal() != ""
	switch {
	case s.Command == "" && !hasURL:
		v.add(field, "command or url", "neither", "")
		return
	case s.Command != "" && hasURL:
		v.add(field.plus("url"), "either command or url", "both", "a server is a program or an address")
		return
	case s.Type == "sse":
		v.add(field.plus("type"), `"http" or nothing`, quote(s.Type), "HTTP with SSE is the transport of 2024, and not built: ask the server for streamable HTTP")
	case s.Type != "" && s.Type != "stdio" && s.Type != "http":
		v.oneOf(field.plus("type"), s.Type, "stdio", "http")
	case s.Type == "stdio" && hasURL, s.Type == "http" && !hasURL:
		v.add(field.plus("type"), `"stdio" with command, "http" with url`, quote(s.Type), "it may be left out")
	}
	misplaced := func(key, belongs string, there bool) {
		if there {
			v.add(field.plus(key), key+" "+belongs, "it without", "")
		}
	}
	misplaced("args", "with command", hasURL && len(s.Args) > 0)
	misplaced("env", "with command", hasURL && len(s.Env) > 0)
	misplaced("headers", "with url", !hasURL && len(s.Headers) > 0)
	misplaced("own", "with command", hasURL && s.Own)
	misplaced("egress", "with own", !s.Own && len(s.Egress) > 0)
	misplaced("workspace", "with own", !s.Own && s.Workspace != "")
	misplaced("tools", "with own or url, where the host sees the calls", !s.Own && !hasURL && len(s.Tools) > 0)
	if hasURL {
		v.serverURL(field, s)
	} else {
		v.serverProgram(field, s)
	}
	if inside := s.Inside(); len(inside) > 0 && !s.SecretsInside {
		v.add(field, "own: true, which keeps secrets out of the agent's boundary, or secretsInside: true, which accepts that every agent that has the server can read them",
			strings.Join(inside, ", "), "")
	}
}

func (v *validator) serverProgram(field Path, s MCPServer) {
	if strings.Contains(s.Command, "/") {
		v.hostPath(field.plus("command"), s.Command)
	} else if hasControl(s.Command) || strings.TrimSpace(s.Command) != s.Command || strings.HasPrefix(s.Command, "-") || len(s.Command) > 255 {
		v.add(field.plus("command"), "the name or path of a program", quote(s.Command), "arguments belong into args")
	}
	for i, a := range s.Args {
		if strings.ContainsRune(a.Reveal(), 0) {
			v.add(field.plus("args", i), "a text without NUL", "one with it", "")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if !variableName(name) || strings.ContainsRune(s.Env[name].Reveal(), 0) {
			v.addKey(field.plus("env", name), "the name of a variable, and a text without NUL", quote(name), "")
		}
	}
}

// serverURL checks an address. It is never shown: it may hold a secret.
func (v *validator) serverURL(field Path, s MCPServer) {
	u, err := url.Parse(s.URL.Reveal())
	field2 := field.plus("url")
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		v.add(field2, "an address that begins with https:// or http://", "something else", "")
		return
	case u.User != nil || u.Fragment != "":
		v.add(field2, "an address without user and fragment", "one of them", "write the credential into headers")
	case u.Scheme == "http" && len(s.Headers) > 0 && !local(u.Hostname()):
		v.add(field2, "https://, since headers are sent along", "http:// to another machine", "anybody between could read them")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		value := s.Headers[name].Reveal()
		bad := strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) || value != strings.TrimSpace(value)
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" || bad {
			v.addKey(field.plus("headers", name), "a field name, and printable ASCII on one line", quote(name)+" with something else", "was it copied with a line break?")
		}
		if slices.Contains([]string{"host", "content-length", "transfer-encoding", "connection", "content-type", "accept"}, strings.ToLower(name)) {
			v.addKey(field.plus("headers", name), "another field", quote(name), "the host sets it itself")
		}
	}
}

// local says that a host is this machine's loopback.
func local(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// serverReach checks where a server is there, and what it may do.
func (v *validator) serverReach(field Path, s MCPServer, c *Config, o Options) {
	if len(s.Modes) == 0 {
		v.add(field.plus("modes"), `the modes in which agents have it: ["host"], ["container"] or both`, "none", "there is no default")
	}
	for i, m := range s.Modes {
		v.oneOf(field.plus("modes", i), m, modeHost, modeContainer)
	}
	for i, g := range s.Groups {
		if _, ok := c.Groups[g]; !ok && g != EveryGroup {
			v.add(field.plus("groups", i), `a group of this file, or "*"`, quote(g), didYouMean(g, slices.Sorted(maps.Keys(c.Groups))))
		}
		if _, err := chat.ParseGroup(g); err == nil && slices.Index(s.Groups, g) < i {
			v.add(field.plus("groups", i), "each group once", quote(g)+" again", "")
		}
	}
	for i, t := range s.Tools {
		if t == "" || hasControl(t) || len(t) > 200 {
			v.add(field.plus("tools", i), "the name of a tool", quote(t), "")
		}
	}
	if s.Dangerous && len(s.DangerousTools) > 0 {
		v.add(field.plus("dangerousTools"), "either dangerous, for all tools, or dangerousTools", "both", "")
	}
	for i, t := range s.DangerousTools {
		if t == "" || hasControl(t) || len(t) > 200 {
			v.add(field.plus("dangerousTools", i), "the name of a tool", quote(t), "")
		}
	}
	for i, h := range s.Egress {
		v.entry(field.plus("egress", i), h, hostForm, o.CheckHost)
	}
	if s.Workspace != "" {
		v.oneOf(field.plus("workspace"), s.Workspace, "read", "write")
	}
}
