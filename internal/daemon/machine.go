package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
	installed "nanoclaw/internal/install"
)

// machine gathers what decisions must know of this machine. It is asked once,
// at start.
func machine(o Options, c *config.Config) grant.Machine {
	m := grant.Machine{
		OwnerHome: resolved(ownerHome(o)),
		GroupsDir: filepath.Join(o.Paths.DataDir, "groups"),
		GlobalDir: filepath.Join(o.Paths.DataDir, "global"),
		Claude:    findClaude(o, c),
		ClaudeEnv: agent.ClaudeEnv(),

		ForeignContainers: runtime.GOOS != "linux",

		ClaudeState: agent.ClaudeState(),
		OwnClaude:   ownClaude(o.Getenv),
		TimeZone:    zoneName(o.Getenv("TZ")),
	}
	private := o.Paths.Private()
	if c.Nodes.Groups != "" {
		m.GroupsDir = grant.ExpandHome(c.Nodes.Groups, m.OwnerHome)
		private = append(private, m.GroupsDir)
	}
	if c.Audit.Anchor != "" {
		private = append(private, grant.ExpandHome(c.Audit.Anchor, m.OwnerHome))
	}
	for _, dir := range private {
		m.Private = append(m.Private, dir)
		if r := resolved(dir); r != dir {
			m.Private = append(m.Private, r)
		}
	}
	return m
}

// findClaude finds the Claude Code program.
func findClaude(o Options, c *config.Config) string {
	return installed.Find(installed.Places{
		Configured: c.Agent.Claude.Path, Data: o.Paths.DataDir, Home: ownerHome(o), Path: o.Getenv("PATH"),
	}).Path
}

func ownerHome(o Options) string {
	if home := o.Getenv("HOME"); home != "" {
		return home
	}
	home, _ := os.UserHomeDir()
	return home
}

// machineNow is the machine with what may change while we run: the models, and
// the program, which the owner may install meanwhile. The places where it is
// looked for stay those of the start, and no agent can write to any of them.
func (d *Daemon) machineNow() grant.Machine {
	m := d.machine
	m.Claude = findClaude(d.opt, d.config)
	m.HasModel, m.Providers = d.models.has()
	_, m.Prompts = d.live()
	return m
}

// resolved follows symbolic links where the path exists.
func resolved(p string) string {
	if r, err := filepath.EvalSymlinks(p); err == nil {
		return r
	}
	return filepath.Clean(p)
}

// zoneName is the owner's time zone by name: TZ, else what /etc/localtime
// points to, else "" where the system does not say.
func zoneName(tz string) string {
	if tz != "" {
		if _, err := time.LoadLocation(tz); err == nil {
			return tz
		}
	}
	target, err := os.Readlink("/etc/localtime")
	if err != nil {
		return ""
	}
	const dir = "/zoneinfo/"
	if i := bytes.Index([]byte(target), []byte(dir)); i >= 0 {
		return target[i+len(dir):]
	}
	return ""
}

// zone is the location of a zone's name, the machine's own for "".
func zone(name string) *time.Location {
	if name != "" {
		if l, err := time.LoadLocation(name); err == nil {
			return l
		}
	}
	return time.Local
}
