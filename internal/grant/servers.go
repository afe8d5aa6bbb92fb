package grant

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/watch"
)

// MCPPort is the loopback endpoint that leads to the MCP servers which the host
// asks over HTTP. Below it each server has a path of its own: MCPPath.
const MCPPort = 8482

// MCPPath is the path of a server at the endpoint. as is Server.As.
func MCPPath(as string) string { return "/mcp/" + as }

// MCPVar is the variable with the endpoint's address.
const MCPVar = "NANOCLAW_MCP_URL"

// Transport is how an MCP server is reached.
type Transport string

// The transports.
const (
	ServerInside Transport = "stdio" // a program inside the agent's boundary
	ServerOwn    Transport = "own"   // a program in a boundary of its own; the host passes messages on
	ServerHTTP   Transport = "http"  // the host asks it
)

// The states of a server in a grant.
const (
	ServerActive   = "active"
	ServerFiltered = "filtered" // the mode does not have it
	ServerFailed   = "failed"
)

// Server is an MCP server of the configuration as a session has it, or has it
// not. It holds no secret: neither headers nor values of variables nor arguments,
// and of an address the host alone.
type Server struct {
	Name string `json:"name"` // in the configuration
	// As is how the agent knows it: its tools are called mcp__AS__TOOL.
	As        string    `json:"as"`
	Transport Transport `json:"transport"`
	// Program is the command of a server that is one.
	Program string `json:"program,omitempty"`
	// Way is the host of a server that is reached over HTTP, and how it is treated.
	// TLS says with what.
	Way Host `json:"way,omitzero"`
	TLS bool `json:"tls,omitempty"`
	// Tools are the only ones that may be called; empty: all.
	Tools []string `json:"tools,omitempty"`
	// Secrets names what is secret and inside the agent's boundary all the same,
	// since the owner accepted it.
	Secrets []string `json:"secrets,omitempty"`
	// Ask says that the owner is asked about every call, AskTools that they are about
	// these tools. Main is never asked about.
	Ask      bool     `json:"ask,omitempty"`
	AskTools []string `json:"ask_tools,omitempty"`
	// Pin is the hash of the definitions of tools that were accepted, "" if it was
	// not looked at yet. Waiting are the tools that are left out until the owner
	// accepts what the server says of them.
	Pin     string   `json:"pin,omitempty"`
	Waiting []string `json:"waiting,omitempty"`
	// State is active, filtered or failed; Reason is why, and Fix what to do.
	State  string `json:"state"`
	Reason string `json:"reason"`
	Fix    string `json:"fix,omitempty"`
}

// Active says that the session has it.
func (s Server) Active() bool { return s.State == ServerActive }

// Asks says whether the owner is asked about each call of a tool. A tool goes by
// the name that agents have for it.
func (s Server) Asks(tool string) bool {
	return s.Ask || slices.ContainsFunc(s.AskTools, func(t string) bool { return config.As(t) == config.As(tool) })
}

// Dangerous says that the owner is asked about some of its tools.
func (s Server) Dangerous() bool { return s.Ask || len(s.AskTools) > 0 }

// ServerTool splits the name of a tool as agents have it, mcp__AS__TOOL. No
// server's name has two "_" in a row.
func ServerTool(name string) (as, tool string, ok bool) {
	rest, ok := strings.CutPrefix(name, "mcp__")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "__")
}

// ToolOf is the name that agents have for a tool of a server.
func ToolOf(as, tool string) string { return "mcp__" + as + "__" + config.As(tool) }

// AskedOf gives the server of a tool that the owner is asked about, by the name
// that agents have for it.
func (g Grant) AskedOf(name string) (s Server, tool string, ok bool) {
	as, tool, ok := ServerTool(name)
	if !ok {
		return Server{}, "", false
	}
	s, ok = g.Server(as)
	return s, tool, ok && s.Asks(tool)
}

// HostServer is the name under which agents know the host's own tools:
// mcp__nanoclaw__NAME. No server of the owner's can have it.
const HostServer = "nanoclaw"

// Judged says that a call of an MCP tool, by the name that agents have for it, may
// pass the host only if the session's agent was let make it: its server asks about
// it, or a rule or the mode has a word about it. Whoever else is inside, such as a
// program that calls past the agent's hooks, was let make none.
func (g Grant) Judged(name string) bool {
	if _, _, ok := ServerTool(name); !ok {
		return false
	}
	_, _, asked := g.AskedOf(name)
	return asked || g.Ask || slices.ContainsFunc(g.Rules, func(t ToolRule) bool {
		if t.Level == string(watch.Allow) {
			return false
		}
		r, err := watch.Parse(watch.Level(t.Level), t.Rule)
		return err != nil || r.Names(name)
	})
}

// servers are the configured servers of a group. Only Claude Code knows what to
// do with them.
func (r Request) servers(mode Mode, agent string, terms []Host) []Server {
	if agent != Claude {
		return nil
	}
	out := make([]Server, 0, len(r.Config.MCPServers))
	for _, name := range slices.Sorted(maps.Keys(r.Config.MCPServers)) {
		c := r.Config.MCPServers[name]
		if !c.For(string(r.Group)) {
			continue
		}
		s := Server{Name: name, As: config.As(name), Program: c.Command, Tools: slices.Clone(c.Tools), Secrets: c.Inside(),
			State: ServerActive, Reason: c.Where(name)}
		if r.Group != chat.Main {
			s.Ask, s.AskTools = c.Dangerous, slices.Clone(c.DangerousTools)
		}
		switch {
		case c.Command == "":
			s.Transport = ServerHTTP
			var err error
			if s.Way, s.TLS, err = serverHost(c, terms); err != nil {
				s.State, s.Reason = ServerFailed, fmt.Sprintf("%s.url: %v", c.Where(name), err)
			}
			s.Way.Reason = c.Where(name) + ".url"
		case c.Own:
			s.Transport = ServerOwn
		default:
			s.Transport = ServerInside
		}
		if !slices.Contains(c.Modes, string(mode)) {
			s.State, s.Reason = ServerFiltered, filteredReason(name, c, mode)
		}
		out = append(out, s)
	}
	return out
}

// filteredReason says why a mode has not a server.
func filteredReason(name string, c config.MCPServer, mode Mode) string {
	if c.From != "" {
		return fmt.Sprintf("%s, and servers of your own Claude Code are not there in mode %q", c.Where(name), mode)
	}
	return fmt.Sprintf("%s.modes has no %q", c.Where(name), mode)
}

// serverHost is the host of a server's address, treated as the owner says of the
// host. The owner named this address, so one of this machine or its network
// needs no further word; a name that leads there does.
func serverHost(c config.MCPServer, terms []Host) (Host, bool, error) {
	u, err := url.Parse(c.URL.Reveal())
	if err != nil {
		return Host{}, false, fmt.Errorf("it cannot be read") // the text may hold a secret
	}
	h := Host{Pattern: strings.ToLower(u.Hostname()), Port: HTTPSPort}
	tls := u.Scheme == "https"
	if !tls {
		h.Port = HTTPPort
	}
	if p := u.Port(); p != "" {
		if h.Port, err = strconv.Atoi(p); err != nil || h.Port < 1 || h.Port > 65535 {
			return Host{}, false, fmt.Errorf("its port is none")
		}
	}
	if _, exact := loopback(h.Pattern); exact {
		h.Address = "127.0.0.1"
		return h, tls, nil
	}
	if ip, err := netip.ParseAddr(h.Pattern); err == nil {
		if no := NeverAddress(ip); no != "" {
			return h, tls, fmt.Errorf("an address of this kind (%s) is never reached", no)
		}
		h.Address = ip.Unmap().String()
		return h, tls, nil
	}
	if h.Pattern, err = CanonicalHost(h.Pattern); err != nil {
		return Host{}, false, err
	}
	treated := applyTerms([]Host{h}, terms)
	i := slices.IndexFunc(treated, func(t Host) bool { return t.key() == h.key() })
	h.Terms = Terms{Address: treated[i].Address, Private: treated[i].Private, Budget: treated[i].Budget}
	return h, tls, nil
}

// Fail notes that a server of the grant cannot be had now.
func (g *Grant) Fail(name, why, fix string) {
	for i := range g.Servers {
		if s := &g.Servers[i]; s.Name == name && s.Active() {
			s.State, s.Reason, s.Fix = ServerFailed, why, fix
		}
	}
}

// Serves says whether a session with grant g is right for a run that would be
// granted want: they are equal, but for servers that failed since, or were looked
// at for the first time. Those are of no use to the session, and of no harm; to
// begin anew would cost its warmth.
func (g Grant) Serves(want Grant) bool {
	want.Servers = slices.Clone(want.Servers)
	for i, w := range want.Servers {
		have := slices.IndexFunc(g.Servers, func(s Server) bool { return s.Name == w.Name && s.Active() })
		switch {
		case have < 0:
		case w.State == ServerFailed:
			want.Servers[i] = g.Servers[have]
		case g.Servers[have].Pin == "" && len(w.Waiting) == 0:
			want.Servers[i].Pin = ""
		}
	}
	return reflect.DeepEqual(g, want)
}

// Server gives a server by the name that the agent has for it, if the session
// has it.
func (g Grant) Server(as string) (Server, bool) {
	i := slices.IndexFunc(g.Servers, func(s Server) bool { return s.As == as && s.Active() })
	if i < 0 {
		return Server{}, false
	}
	return g.Servers[i], true
}

// serverParts are what a session needs for its servers beside them: an endpoint
// if any is reached over HTTP, and how long Claude Code waits for their start.
// They do not depend on which of them can be had at the moment.
func serverParts(list []Server, c *config.Config) (endpoints []Endpoint, vars []Var) {
	wait := time.Duration(0)
	for _, s := range list {
		if s.State == ServerFiltered {
			continue
		}
		wait = max(wait, startTime(c.MCPServers[s.Name]))
		if s.Transport == ServerHTTP && endpoints == nil {
			endpoints = []Endpoint{{"mcp", MCPPort, "MCP servers that the host asks; it adds their headers"}}
			vars = append(vars, Var{MCPVar, fmt.Sprintf("http://127.0.0.1:%d", MCPPort), "where these servers are"})
		}
	}
	if wait > 0 {
		vars = append(vars, Var{"MCP_TIMEOUT", strconv.FormatInt(wait.Milliseconds(), 10), "how long a first answer waits for MCP servers that do not start"})
	}
	return endpoints, vars
}

func startTime(c config.MCPServer) time.Duration {
	if c.StartTime > 0 {
		return time.Duration(c.StartTime)
	}
	return 3 * time.Second
}

// ServerGrant is what an own server of a group may touch: the system, the tools
// of the configuration, a home of its own, the hosts that the owner gave to it,
// and the workspace only if that was asked for. r is the request of the group's
// agent, which was granted.
func ServerGrant(r Request, agents Grant, name string) (Grant, error) {
	c, ok := r.Config.MCPServers[name]
	if !ok || !c.Own || !c.For(string(r.Group)) {
		return Grant{}, &Refusal{"mcp.unknown", fmt.Sprintf("group %s has no MCP server %q with a boundary of its own", r.Group, name), ""}
	}
	why := c.Where(name)
	g := Grant{Group: r.Group, Mode: agents.Mode, ModeReason: agents.ModeReason, Image: agents.Image, Agent: ServerAgent,
		Denied: agents.Denied, Budget: agents.Budget, Limits: agents.Limits,
		Endpoints: []Endpoint{{"proxy", ProxyPort, "the egress proxy"}}}
	for _, m := range agents.Mounts {
		switch {
		case m.Target == Home:
			m.Source, m.Reason = filepath.Join(r.Machine.ServerDir(r.Group, name), "home"), "the server's own home"
		case m.Target == Workspace && c.Workspace == "":
			m.Source, m.Reason = filepath.Join(r.Machine.ServerDir(r.Group, name), "workspace"), "the server's own working directory"
		case m.Target == Workspace:
			m.Write, m.Reason = c.Workspace == "write", why+".workspace"
		case m.Optional, slices.ContainsFunc(r.Config.Tools, func(t string) bool { return ExpandHome(t, r.Machine.OwnerHome) == m.Target }):
		default:
			continue
		}
		g.Mounts = append(g.Mounts, m)
	}
	terms, err := r.terms()
	if err != nil {
		return Grant{}, err
	}
	hosts, err := egressHosts(r.Group, config.Group{Egress: c.Egress}, terms, nil)
	if err != nil {
		return Grant{}, err
	}
	for i := range hosts {
		hosts[i].Reason = why + ".egress"
	}
	g.Egress = hosts
	g.Env = append(r.environment(ServerAgent), trust(hosts)...)
	return g, nil
}

// ServerAgent is the agent of a grant that is an MCP server's.
const ServerAgent = "mcp"

// ServerDir is the host folder with what a group's own server keeps: its home,
// and its working directory if it has not the workspace.
func (m Machine) ServerDir(g chat.Group, name string) string {
	return filepath.Join(m.GroupDir(g), "mcp", config.As(name))
}

// line tells a server with its cause. What is wrong with it stands beside it.
func (s Server) line() string {
	what := s.Program
	if s.Transport == ServerHTTP {
		scheme := "http"
		if s.TLS {
			scheme = "https"
		}
		what = fmt.Sprintf("%s://%s/…%s", scheme, net.JoinHostPort(s.Way.Pattern, strconv.Itoa(s.Way.Port)), s.Way.words())
	}
	state := ""
	if !s.Active() {
		state = strings.ToUpper(s.State) + " "
	}
	text := fmt.Sprintf("mcp %s%s %s %s", state, s.Name, s.Transport, what)
	if s.As != s.Name {
		text += " as " + s.As
	}
	if len(s.Tools) > 0 {
		text += ", only " + strings.Join(s.Tools, ", ")
	}
	switch {
	case s.Ask:
		text += ", each call asked about"
	case len(s.AskTools) > 0:
		text += ", asked about: " + strings.Join(s.AskTools, ", ")
	}
	text += "  # " + s.Reason
	if s.Fix != "" {
		text += "; " + s.Fix
	}
	if len(s.Waiting) > 0 {
		text += "; left out until you accept them: " + wordList(s.Waiting)
	}
	if len(s.Secrets) > 0 {
		text += "; SECRETS INSIDE: the agent can read " + strings.Join(s.Secrets, ", ")
	}
	return text
}

// wordList shows names that come from a server, so that they cannot pretend to be
// more than names.
func wordList(names []string) string {
	const most = 10
	var out []string
	for _, n := range names[:min(len(names), most)] {
		out = append(out, strconv.Quote(printable(n)))
	}
	if more := len(names) - most; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}
