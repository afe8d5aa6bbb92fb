package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/mcpserver"
	"nanoclaw/internal/wire"
)

// servers is what the daemon knows of the owner's MCP servers.
type servers struct {
	book    *mcpserver.Book
	watch   *mcpserver.Watch
	permits permits
	asked   map[string]bool // under permits.mu: the owner was asked about a first use
}

// target is a server as it is looked at: on behalf of one group, since a program
// inside is reachable in one group's boundary and not in another's.
type target struct {
	server string
	group  chat.Group
}

// key is target as a Watch knows it.
func (t target) key() string { return t.server + " " + string(t.group) }

func parseTarget(key string) target {
	i := strings.LastIndexByte(key, ' ') // no group has one
	return target{key[:i], chat.Group(key[i+1:])}
}

// openServers makes what knows of the servers. Nothing is looked at yet.
func (d *Daemon) openServers() (err error) {
	if d.mcp.book, err = mcpserver.OpenBook(filepath.Join(d.opt.Paths.DataDir, "mcp-tools.json")); err != nil {
		return err
	}
	if err := d.takeUpPins(); err != nil {
		return err
	}
	var keys []string
	for _, name := range d.serverNames() {
		s := d.config.MCPServers[name]
		before := len(keys)
		for _, g := range d.groupNames() {
			if s.For(string(g)) && slices.Contains(s.Modes, d.modeOf(g)) {
				keys = append(keys, target{name, g}.key())
			}
		}
		if len(keys) == before {
			d.warn(d.nowhere(name, s))
		}
		if inside := s.Inside(); len(inside) > 0 {
			d.warn(secretsInside(name, inside))
		}
	}
	d.mcp.watch = mcpserver.NewWatch(keys, d.lookAtServer, func(key string, _, is mcpserver.Health) {
		t := parseTarget(key)
		if is.Failed == "" {
			d.log.Info("an MCP server can be had again", "server", t.server, "group", t.group)
			return
		}
		d.log.Warn("an MCP server cannot be had and is left out", "server", t.server, "group", t.group, "why", is.Failed, "fix", is.Fix)
	})
	return nil
}

// nowhere is the warning about a server that no group has.
func (d *Daemon) nowhere(name string, s config.MCPServer) string {
	var have []string
	for _, g := range d.groupNames() {
		if s.For(string(g)) {
			have = append(have, fmt.Sprintf("%s is in %s mode", g, d.modeOf(g)))
		}
	}
	return fmt.Sprintf("MCP server %s: no group ever has it, since it is there in mode %s alone, and %s (%s)", name, strings.Join(s.Modes, ", "), strings.Join(have, ", "), s.Where(name))
}

// secretsInside is the warning about a server whose secrets agents can read.
func secretsInside(name string, what []string) string {
	return fmt.Sprintf("MCP server %s: %s are inside the agent's boundary (secretsInside), where the agent, and whoever talks it into something, can read them. "+
		"\"own\": true would keep them outside.", name, strings.Join(what, ", "))
}

// judgeServers notes in a grant which servers cannot be had now: those whose
// program is not inside, and those that failed when they were last looked at.
// It asks nobody and waits for nothing.
func (d *Daemon) judgeServers(g *grant.Grant) {
	for _, s := range g.Servers {
		if !s.Active() {
			continue
		}
		why, fix := d.programInside(*g, s)
		if h := d.mcp.watch.Health(target{s.Name, g.Group}.key()); why == "" {
			why, fix = h.Failed, h.Fix
		}
		if why != "" {
			g.Fail(s.Name, why, fix)
		}
	}
	d.judgePins(g)
}

// programInside says why the program of a server cannot be run in the boundary
// of a grant, and what would put it there; "" if it can.
func (d *Daemon) programInside(g grant.Grant, s grant.Server) (why, fix string) {
	if s.Program == "" {
		return "", ""
	}
	search := ""
	for _, v := range g.Env {
		if v.Name == "PATH" {
			search = v.Value
		}
	}
	if inside(g, d.machine.OwnerHome, s.Program, search) {
		return "", ""
	}
	outside := onPath(d.machine.OwnerHome, s.Program, d.opt.Getenv("PATH"))
	if outside == "" {
		return fmt.Sprintf("its program %s is neither inside nor on this machine", s.Program), "install it, or correct mcpServers." + s.Name + ".command"
	}
	return fmt.Sprintf("its program %s is not in the grant", outside), "add " + d.toolsLine(outside) + " to the configuration"
}

// toolsLine is the line of the configuration that would show a program and what
// it is a link to.
func (d *Daemon) toolsLine(program string) string {
	dirs := append(slices.Clone(d.config.Tools), filepath.Dir(program))
	if real := resolved(program); !beneathDir(real, filepath.Dir(program)) && filepath.Base(filepath.Dir(program)) == "bin" {
		if above := filepath.Dir(filepath.Dir(program)); beneathDir(real, above) && above != "/" && !beneathDir(d.machine.OwnerHome, above) {
			dirs = append(dirs, above) // as npm has it: bin/NAME is a link into lib/
		}
	}
	quoted := make([]string, len(dirs))
	for i, dir := range dirs {
		quoted[i] = fmt.Sprintf("%q", dir)
	}
	return `"tools": [` + strings.Join(quoted, ", ") + `]`
}

func beneathDir(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// candidates are the paths where a program may be.
func candidates(home, program, search string) []string {
	if rest, ok := strings.CutPrefix(program, "~/"); ok {
		return []string{filepath.Join(home, rest)}
	}
	if strings.Contains(program, "/") {
		return []string{program}
	}
	var out []string
	for _, dir := range filepath.SplitList(search) {
		if filepath.IsAbs(dir) {
			out = append(out, filepath.Join(dir, program))
		}
	}
	return out
}

// onPath finds a program on this machine.
func onPath(home, program, search string) string {
	for _, p := range candidates(home, program, search) {
		if executable(p) {
			return p
		}
	}
	return ""
}

// inside says whether a program is in the grant: at a place from which programs
// may be run, and so is what it is a link to. What a group itself may write is
// looked up only beneath, and does not lead out.
func inside(g grant.Grant, home, program, search string) bool {
	for _, p := range candidates(home, program, search) {
		source, ok := sourceOf(g, p)
		if !ok || !executable(source) {
			continue
		}
		real := resolved(source)
		for _, m := range g.Mounts {
			if m.Exec && beneathDir(real, resolved(m.Source)) {
				return true
			}
		}
	}
	return false
}

// sourceOf is where a path inside comes from.
func sourceOf(g grant.Grant, p string) (string, bool) {
	var best grant.Mount
	for _, m := range g.Mounts {
		if beneathDir(p, m.Target) && len(m.Target) > len(best.Target) {
			best = m
		}
	}
	if best.Target == "" || !best.Exec {
		return "", false
	}
	return best.Source + strings.TrimPrefix(p, best.Target), true
}

func executable(p string) bool {
	fi, err := os.Stat(p)
	return err == nil && fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0
}

// lookAtServer looks at a server as its agents would meet it.
func (d *Daemon) lookAtServer(ctx context.Context, key string) mcpserver.Health {
	t := parseTarget(key)
	found, health := d.examine(ctx, t)
	if health.Failed != "" || found.Hash == "" {
		return health
	}
	d.noteTools(ctx, t, found)
	health.Tools = len(found.Tools)
	return health
}

// examine asks a server for its tools. A group that would be refused now says
// nothing about the server.
func (d *Daemon) examine(ctx context.Context, t target) (mcpserver.Definitions, mcpserver.Health) {
	none := mcpserver.Definitions{}
	if err := d.checkConfig(ctx); err != nil {
		return none, mcpserver.Health{}
	}
	r, err := d.request(ctx, t.group, grant.Trigger{Kind: "message", Owner: true, Terminal: true})
	if err != nil {
		return none, mcpserver.Health{}
	}
	g, err := grant.Decide(r)
	if err != nil {
		return none, mcpserver.Health{}
	}
	i := slices.IndexFunc(g.Servers, func(s grant.Server) bool { return s.Name == t.server && s.Active() })
	if i < 0 {
		return none, mcpserver.Health{}
	}
	if why, fix := d.programInside(g, g.Servers[i]); why != "" {
		return none, mcpserver.Health{Failed: why, Fix: fix}
	}
	found, err := d.inspect(ctx, g, g.Servers[i])
	if err != nil {
		return none, mcpserver.Health{Failed: d.withoutSecrets(t.server, err)}
	}
	return found, mcpserver.Health{}
}

// withoutSecrets gives the words of an error, unless they hold something of the
// server's configuration: a library may quote an address.
func (d *Daemon) withoutSecrets(server string, err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if errors.Is(err, context.DeadlineExceeded) {
		text = "no answer in time"
	}
	c := d.config.MCPServers[server]
	all := append(slices.Collect(maps.Values(c.Env)), append(slices.Collect(maps.Values(c.Headers)), append(slices.Clone(c.Args), c.URL)...)...)
	for _, s := range all {
		if v := s.Reveal(); len(v) >= 4 && strings.Contains(text, v) {
			return "it failed, and the words about it hold what is secret"
		}
	}
	return text[:min(len(text), 300)]
}

// inspect asks a server for its tools, over the way that its agents have.
func (d *Daemon) inspect(ctx context.Context, g grant.Grant, s grant.Server) (mcpserver.Definitions, error) {
	if s.Transport == grant.ServerHTTP {
		return d.inspectHTTP(ctx, g, s)
	}
	p, err := d.startServer(ctx, g, s)
	if err != nil {
		return mcpserver.Definitions{}, err
	}
	defer p.Close()
	stop := context.AfterFunc(ctx, func() { p.Close() })
	defer stop()
	found, err := mcpserver.Inspect(ctx, &mcp.IOTransport{Reader: io.NopCloser(io.LimitReader(p, maxInspected)), Writer: noClose{p}})
	if words := p.lastWords(); err != nil && words != "" {
		err = fmt.Errorf("%w: its program wrote: %s", err, words)
	}
	return found, err
}

// maxInspected bounds what a program may say when it is looked at.
const maxInspected = 64 << 20

// noClose is a writer whose end is that of the process.
type noClose struct{ io.Writer }

func (noClose) Close() error { return nil }

// inspectHTTP asks through a gateway of its own, so that the same is permitted,
// added and recorded as for an agent.
func (d *Daemon) inspectHTTP(ctx context.Context, g grant.Grant, s grant.Server) (mcpserver.Definitions, error) {
	var last atomic.Pointer[egress.Event]
	way := egress.New(egress.Options{Group: g.Group, Denied: g.Denied, Servers: d.asked(g), Log: d.log.With("group", g.Group), Record: func(e egress.Event) error {
		if e.Phase == egress.Close {
			last.Store(&e)
		}
		return d.store.Record(context.WithoutCancel(ctx), audit.Entry{At: e.At, Kind: audit.EgressTried, Group: g.Group, Data: e})
	}})
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go way.Serve(wire.MCP, far)
		return near, nil
	}}
	found, err := mcpserver.Inspect(ctx, &mcp.StreamableClientTransport{
		Endpoint: "http://" + s.As + grant.MCPPath(s.As), HTTPClient: &http.Client{Transport: transport}, MaxRetries: -1, DisableStandaloneSSE: true,
	})
	transport.CloseIdleConnections()
	way.Close() // so that all is recorded
	// The gateway knows better than its client why it did not work.
	if e := last.Load(); err != nil && ctx.Err() == nil && e != nil && e.Status >= 400 {
		if e.Reason == s.Way.Reason {
			return found, fmt.Errorf("it answered with status %d %s", e.Status, http.StatusText(e.Status))
		}
		return found, errors.New(e.Reason)
	}
	return found, err
}

// pageOf is where the book has the tools of a server: of a program inside, each
// group has its own.
func (d *Daemon) pageOf(t target) string {
	if s := d.config.MCPServers[t.server]; s.Command != "" && !s.Own {
		return t.key()
	}
	return t.server
}

// serverNames are the servers of the configuration in order.
func (d *Daemon) serverNames() []string { return slices.Sorted(maps.Keys(d.config.MCPServers)) }

// asked are the servers of a grant that the host asks over HTTP, with their
// secrets.
func (d *Daemon) asked(g grant.Grant) []egress.MCPServer {
	var out []egress.MCPServer
	for _, s := range g.Servers {
		if !s.Active() || s.Transport != grant.ServerHTTP {
			continue
		}
		c := d.config.MCPServers[s.Name]
		server, err := egress.NewMCPServer(s, c.URL.Reveal(), reveal(c.Headers))
		if err != nil {
			d.log.Error("an MCP server cannot be asked", "err", err) // the configuration was checked
			continue
		}
		out = append(out, server)
	}
	return out
}

func reveal(texts map[string]config.Text) map[string]string {
	out := map[string]string{}
	for name, t := range texts {
		out[name] = t.Reveal()
	}
	return out
}
