package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/mcpserver"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/wire"
)

// sessionServers makes what a session has of the owner's MCP servers. Programs
// of own boundaries are started when they are first asked.
func (d *Daemon) sessionServers(g grant.Grant, c runner.Caller) runner.Servers {
	s := &serverSession{relays: map[string]*mcpserver.Relay{}, end: func() { d.mcp.permits.end(c.Session) }}
	for _, server := range g.Servers {
		if !server.Active() {
			continue
		}
		conf := d.config.MCPServers[server.Name]
		if server.Transport != grant.ServerOwn {
			s.agent = append(s.agent, d.forAgent(server))
			continue
		}
		s.relays[server.As] = mcpserver.NewRelay(mcpserver.RelayOptions{
			Name: server.Name, Tools: server.Tools, Guard: d.guardServer(g, c, server), Timeout: time.Duration(conf.Timeout), Log: c.Log(d.log),
			Start: func(ctx context.Context) (mcpserver.Process, error) { return d.startServer(ctx, g, server) },
			Called: func(method, tool, refused string) error {
				data := audit.MCPCalledData{Server: server.Name, Method: method, Tool: tool, Verdict: "allowed", Reason: refused}
				if refused != "" {
					data.Verdict = "refused"
				}
				return d.store.Record(context.Background(), audit.Entry{
					At: time.Now(), Kind: audit.MCPCalled, Group: c.Group, Run: c.Run(), Session: c.Session, Data: data,
				})
			},
		})
	}
	return s
}

// forAgent is a server that the agent starts or connects to itself. One that the
// host asks is an address of the session's own endpoint, without any secret. The
// variables are Claude Code's to put in: where endpoints demand a secret of the
// session (macOS), the key is that secret; elsewhere it is a word that opens
// nothing, and the gateway drops it.
func (d *Daemon) forAgent(s grant.Server) agent.MCPServer {
	c := d.config.MCPServers[s.Name]
	a := agent.MCPServer{Name: s.As, Timeout: time.Duration(c.Timeout), AlwaysLoad: c.AlwaysLoad}
	if s.Transport == grant.ServerHTTP {
		a.URL = "${" + grant.MCPVar + "}" + grant.MCPPath(s.As)
		a.Headers = map[string]string{"X-Api-Key": "${ANTHROPIC_API_KEY}"}
		return a
	}
	argv := d.serverArgv(s)
	a.Command, a.Args, a.Env = argv[0], argv[1:], reveal(c.Env)
	return a
}

func (d *Daemon) serverArgv(s grant.Server) []string {
	argv := []string{s.Program}
	if rest, ok := strings.CutPrefix(s.Program, "~/"); ok {
		argv[0] = filepath.Join(d.machine.OwnerHome, rest)
	}
	for _, a := range d.config.MCPServers[s.Name].Args {
		argv = append(argv, a.Reveal())
	}
	return argv
}

// serverSession is a session's servers, for the runner.
type serverSession struct {
	agent  []agent.MCPServer
	relays map[string]*mcpserver.Relay
	end    func()
}

// Agent gives those that the agent starts or connects to itself.
func (s *serverSession) Agent() []agent.MCPServer { return s.agent }

// Relayed names the others.
func (s *serverSession) Relayed() []string { return slices.Sorted(maps.Keys(s.relays)) }

// Message passes a message on. The name comes from inside, and leads to this
// session's servers or nowhere.
func (s *serverSession) Message(ctx context.Context, server string, msg json.RawMessage) (json.RawMessage, error) {
	r := s.relays[server]
	if r == nil {
		return nil, fmt.Errorf("this session has no MCP server %.40q", server)
	}
	return r.Message(ctx, msg)
}

// Close ends them.
func (s *serverSession) Close() {
	var all sync.WaitGroup
	for _, r := range s.relays {
		all.Go(r.Close)
	}
	all.Wait()
	s.end()
}

// startServer starts the program of a server: in its own boundary, or, to look
// at one that agents start themselves, in one like the agent's. The context
// bounds the start alone.
func (d *Daemon) startServer(ctx context.Context, g grant.Grant, s grant.Server) (*serverProcess, error) {
	mine, err := d.serverGrant(g, s)
	if err != nil {
		return nil, err
	}
	if err := d.prepareServer(ctx, g.Group, s.Name); err != nil {
		return nil, fmt.Errorf("making its folders: %w", err)
	}
	uid, err := d.uid(ctx, g.Group)
	if err != nil {
		return nil, err
	}
	p := &serverProcess{server: s.Name, boxed: boxed{d: d, group: g.Group, id: chat.NewSessionID()}}
	p.way = d.gateway(mine, runner.Caller{Group: g.Group, Session: p.id, Run: func() chat.RunID { return "" }})
	p.box, err = starter{d}.Start(ctx, "", boundary.Spec{
		Grant: mine, Session: p.id, UID: uid, LandlockFloor: d.config.Boundary.LandlockFloor, Log: d.log.With("group", g.Group, "session", p.id, "server", s.Name),
		Files: p.way.Files(), Serve: func(kind wire.Kind, conn net.Conn) {
			if kind == wire.Proxy { // it has no other endpoint
				p.way.Serve(kind, conn)
			}
		},
	})
	if err == nil {
		// Its variables are given to it alone, and are no part of the grant, which is
		// recorded.
		env := environment(mine, reveal(d.config.MCPServers[s.Name].Env))
		err = p.begin(ctx, audit.SessionStartedData{Server: s.Name}, wire.Exec{Argv: d.serverArgv(s), Dir: grant.Workspace, Env: env})
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// serverGrant is what the program of a server may touch. One that is only looked
// at changes nothing in the owner's folders.
func (d *Daemon) serverGrant(g grant.Grant, s grant.Server) (grant.Grant, error) {
	if s.Transport == grant.ServerOwn {
		return grant.ServerGrant(grant.Request{Config: d.config, Group: g.Group, Machine: d.machine}, g, s.Name)
	}
	g.Mounts = slices.Clone(g.Mounts)
	for i := range g.Mounts {
		g.Mounts[i].Write = g.Mounts[i].Write && !g.Mounts[i].Foreign
	}
	g.Servers = nil
	return g, nil
}

// prepareServer makes the folders of a server. The folders above are ours.
func (d *Daemon) prepareServer(ctx context.Context, g chat.Group, server string) error {
	uid, err := d.uid(ctx, g)
	if err != nil {
		return err
	}
	dir := d.machine.ServerDir(g, server)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"home", "workspace"} {
		if err := own(filepath.Join(dir, name), uid); err != nil {
			return err
		}
	}
	return nil
}

// serverProcess is the program of a server and the boundary around it.
type serverProcess struct {
	boxed
	server string
}

// Close ends the program and everything in its boundary.
func (p *serverProcess) Close() error {
	p.end("the MCP server " + p.server + " is not needed any more")
	return nil
}
