package grant

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// Request is everything a decision rests on.
type Request struct {
	Config  *config.Config
	Group   chat.Group
	Trigger Trigger
	Machine Machine
	// Mode asks for a mode instead of the configured one: exec --mode.
	Mode Mode
	// HostRuns are the host-mode runs of the group that began within the last
	// hour (I7).
	HostRuns Count
	// HostModeOff is why this machine cannot run host mode, "" if it can (I1).
	HostModeOff string
	// ContainersOff is the same for container mode.
	ContainersOff string
	// Reached are hosts that the owner allowed the group when they were asked.
	Reached []Reached
	// RanClaude is true if the group ever ran Claude Code: then it never falls
	// back to a shell.
	RanClaude bool
	// Trusted is what the owner trusts of the workspace's own settings.
	Trusted Trusted
}

// Trusted is what a session obeys of the settings of Claude Code that lie in its
// workspace: those that the owner looked at, as a copy that nobody inside can
// write. The zero value is nothing.
type Trusted struct {
	// Hash is that of the right, Dir where the copy lies, and Folder and Servers
	// say which parts there are.
	Hash, Dir       string
	Folder, Servers bool
}

// The parts of a workspace that Claude Code obeys where it is trusted.
const (
	ProjectFolder  = ".claude"
	ProjectServers = ".mcp.json"
)

// Decide gives the grant for one run, or a *Refusal as the error.
func Decide(r Request) (Grant, error) {
	group, ok := r.Config.Groups[string(r.Group)]
	if !ok && r.Group != chat.Main {
		return Grant{}, &Refusal{"group.unknown", fmt.Sprintf("there is no group %q", r.Group), "nanoclaw group add " + string(r.Group)}
	}
	mode, reason := resolveMode(r, group)
	if err := r.checkMode(mode, group); err != nil {
		return Grant{}, err
	}
	return r.give(group, mode, reason)
}

// give makes the grant of a group that may run in a mode.
func (r Request) give(group config.Group, mode Mode, reason string) (Grant, error) {
	agent, err := r.chooseAgent(group)
	if err != nil {
		return Grant{}, err
	}
	mounts, err := r.mounts(group, mode, agent)
	if err != nil {
		return Grant{}, err
	}
	terms, err := r.terms()
	if err != nil {
		return Grant{}, err
	}
	egress, err := egressHosts(r.Group, group, terms, r.Reached)
	if err != nil {
		return Grant{}, err
	}
	deny, err := denied(string(r.Group), r.Config.Egress.Deny, group.EgressDeny)
	if err != nil {
		return Grant{}, err
	}
	servers := r.servers(mode, agent, terms)
	more, vars := serverParts(servers, r.Config)
	rules, err := toolRules(string(r.Group), r.Config.Permissions, group.Permissions)
	if err != nil {
		return Grant{}, err
	}
	ask, askReason := asks(string(r.Group), r.Config.PermissionMode, group.PermissionMode)
	return Grant{
		Ask: ask, AskReason: askReason, Rules: rules,
		Group: r.Group, Mode: mode, ModeReason: reason, Agent: agent, Image: r.image(group, mode),
		Mounts: mounts, Egress: egress, EgressAsk: asksForHosts(r.Group, group, r.Config.Egress), Denied: deny, Budget: budget(r.Config.Egress),
		Env:       slices.Concat(r.environment(agent), trust(egress), vars),
		Endpoints: append(endpoints(agent), more...),
		Model:     model(r.Group, group, agent),
		Tools:     tools(r.Group, group),
		Settings:  r.settings(group, agent),
		Servers:   servers,
		Limits:    limits(r.Config.Limits),
	}, nil
}

// resolveMode is the group's own mode, else the global one; each with its line.
func resolveMode(r Request, g config.Group) (Mode, string) {
	switch {
	case r.Mode != "":
		return r.Mode, "asked for with --mode"
	case g.Mode != "":
		return Mode(g.Mode), fmt.Sprintf("groups.%s.mode", r.Group)
	default:
		return Mode(r.Config.ExecutionMode), "executionMode"
	}
}

// checkMode holds I7: the config allows it, the group opted in, the machine
// proved that it can, and the rate is kept.
func (r Request) checkMode(m Mode, g config.Group) error {
	name := string(r.Group)
	if m == ContainerMode {
		if r.ContainersOff == "" {
			return nil
		}
		return &Refusal{"containers.off",
			fmt.Sprintf("group %s runs in container mode, and no container can be had: %s", name, r.ContainersOff),
			fmt.Sprintf("nanoclaw doctor says what is missing; or let it run natively inside the boundary: nanoclaw group set %s --mode host", name)}
	}
	switch {
	case m != HostMode:
		return &Refusal{"mode.unknown", fmt.Sprintf("%q is no mode", m), `use "host" or "container"`}
	case !r.Config.HostMode.Enabled:
		return &Refusal{"hostmode.disabled", "host mode is switched off", "set hostMode.enabled to true in the configuration"}
	case !g.HostModeAllowed:
		return &Refusal{"hostmode.optin", fmt.Sprintf("group %s has not opted in to host mode", name),
			fmt.Sprintf("nanoclaw group set %s --mode host", name)}
	case r.HostModeOff != "":
		return &Refusal{"hostmode.off", "host mode is off on this machine: " + r.HostModeOff, "nanoclaw doctor says what is missing and how to mend it"}
	case r.Trigger.Kind == "task" && !r.Trigger.HostModeAllowed: // the third opt-in of I7
		return &Refusal{"hostmode.task", fmt.Sprintf("the task %s may not run in host mode", r.Trigger.Task), "set hostModeAllowed of the task"}
	}
	return r.hostRate(g)
}

// The agents.
const (
	Claude = "claude"
	Shell  = "shell"
	Auto   = "auto"
)

// chooseAgent gives "claude" or "shell". "auto" is a shell only where the owner
// sits at main's own terminal, and never for a group that ran claude: a group
// must not turn into a shell because a credential expired.
func (r Request) chooseAgent(g config.Group) (string, error) {
	kind := g.Agent
	if kind == "" {
		kind = r.Config.Agent.Kind
	}
	hasModel := r.Machine.hasModel(g.Provider)
	ready := r.Machine.Claude != "" && hasModel
	atMain := r.Group == chat.Main && r.Trigger.Owner && r.Trigger.Terminal
	switch {
	case kind == Shell:
		return Shell, nil
	case ready:
		return Claude, nil
	case r.Trigger.Kind == "exec":
		return Shell, nil // a command of the owner needs no model
	case kind == Auto && atMain && !r.RanClaude:
		return Shell, nil
	}
	return "", noModel(r.Machine, g.Provider)
}

// AgentReason says in words which agent was chosen and why.
func AgentReason(r Request, agent string) string {
	kind, where := r.Config.Groups[string(r.Group)].Agent, "groups."+string(r.Group)+".agent"
	if kind == "" {
		kind, where = r.Config.Agent.Kind, "agent.kind"
	}
	switch {
	case kind == agent:
		return where + " says so"
	case agent == Claude:
		return "auto: Claude Code and a model are there"
	default:
		return "auto: " + missingModel(r.Machine, r.Config.Groups[string(r.Group)].Provider)
	}
}

// system are the parts of the system every agent may read. The rest of /etc is
// generated: it would tell about the owner and hold secrets.
var system = []Mount{
	{Target: "/usr", Exec: true},
	{Target: "/bin", Exec: true}, {Target: "/sbin", Exec: true},
	{Target: "/lib", Exec: true}, {Target: "/lib64", Exec: true}, {Target: "/lib32", Exec: true}, {Target: "/libx32", Exec: true},
	{Target: "/etc/alternatives"},
	{Target: "/etc/ssl/certs"}, {Target: "/etc/ssl/openssl.cnf", File: true}, {Target: "/etc/pki/tls/certs"}, {Target: "/etc/pki/ca-trust/extracted"},
	{Target: "/etc/ld.so.cache", File: true}, {Target: "/etc/ld.so.conf", File: true}, {Target: "/etc/ld.so.conf.d"},
	{Target: "/etc/fonts"}, // browsers draw with them
	{Target: "/etc/localtime", File: true}, {Target: "/etc/mime.types", File: true},
	{Target: "/etc/services", File: true}, {Target: "/etc/protocols", File: true},
}

// GroupDir is the host folder that holds a group's workspace and home.
func (m Machine) GroupDir(g chat.Group) string { return filepath.Join(m.GroupsDir, string(g)) }

// ClaudeConfigDir is the host's folder with the configuration of a group's
// Claude Code: its settings, the imports of its memory, and its skills. No agent
// can write there.
func (m Machine) ClaudeConfigDir(g chat.Group) string {
	return filepath.Join(m.ClaudeStateDir(g), "config")
}

// ClaudeStateDir is where a group's ClaudeState folders lie.
func (m Machine) ClaudeStateDir(g chat.Group) string { return filepath.Join(m.GroupDir(g), "claude") }

// image is the container's.
func (r Request) image(g config.Group, mode Mode) string {
	switch {
	case mode != ContainerMode:
		return ""
	case g.Image != "":
		return g.Image
	}
	return r.Config.Container.Image
}

// systemMounts are the parts of the system, this machine's or the image's.
func systemMounts(mode Mode) []Mount {
	out := make([]Mount, 0, len(system))
	for _, m := range system {
		if mode == ContainerMode {
			m.Image, m.Optional, m.Reason = true, true, "the image's system, read-only, where it is there"
		} else {
			m.Source, m.Optional, m.Reason = m.Target, true, "the system, read-only, where it is there"
		}
		out = append(out, m)
	}
	return out
}

func (r Request) mounts(g config.Group, mode Mode, agent string) ([]Mount, error) {
	out := systemMounts(mode)
	dir := r.Machine.GroupDir(r.Group)
	out = append(out,
		Mount{Target: Workspace, Source: filepath.Join(dir, "workspace"), Write: true, Exec: true, Reason: "the group's workspace"},
		Mount{Target: Home, Source: filepath.Join(dir, "home"), Write: true, Exec: true, Reason: "the group's own home"},
		Mount{Target: Global, Source: r.Machine.GlobalDir, Write: r.Group == chat.Main, Reason: "memory of all groups"})
	if networked(g) {
		out = append(out, Mount{Target: Inbox, Source: filepath.Join(dir, "inbox"), Reason: "files that came with messages, put there by the host"})
	}
	foreign := mode == ContainerMode && r.Machine.ForeignContainers
	if agent == Claude {
		program := Mount{Target: ClaudeDir + "/claude", Source: r.Machine.Claude, Exec: true, File: true, Reason: "the agent program"}
		if foreign {
			program.Source, program.Image, program.Reason = "", true, "the agent program, the image's own"
		}
		out = append(out, program,
			Mount{Target: ClaudeConfig, Source: r.Machine.ClaudeConfigDir(r.Group), Exec: true, Reason: "the settings of Claude Code, its memory's imports and your skills, made by the host"})
		for _, name := range r.Machine.ClaudeState {
			out = append(out, Mount{Target: ClaudeConfig + "/" + name, Source: filepath.Join(r.Machine.ClaudeStateDir(r.Group), name), Write: true,
				Reason: "what Claude Code remembers of this group's conversations"})
		}
		out = append(out, r.Trusted.mounts()...)
	}
	for i, dir := range r.Config.Tools {
		if foreign {
			break // programs of another system
		}
		p, err := r.hostPath(dir, fmt.Sprintf("tools[%d]", i))
		if err != nil {
			return nil, err
		}
		out = append(out, Mount{Target: p, Source: p, Exec: true, Foreign: true, Reason: fmt.Sprintf("tools[%d]", i)})
	}
	extra, err := r.extraMounts(g)
	return append(out, extra...), err
}

// mounts put the copy in the place of what lies in the workspace.
func (t Trusted) mounts() (out []Mount) {
	reason := fmt.Sprintf("settings of the workspace that you trusted (%.12s)", t.Hash)
	if t.Folder {
		out = append(out, Mount{Target: Workspace + "/" + ProjectFolder, Source: filepath.Join(t.Dir, ProjectFolder), Exec: true, Reason: reason})
	}
	if t.Servers {
		out = append(out, Mount{Target: Workspace + "/" + ProjectServers, Source: filepath.Join(t.Dir, ProjectServers), File: true, Reason: reason})
	}
	return out
}

func (r Request) environment(agent string) []Var {
	path := []string{}
	for _, t := range r.Config.Tools {
		path = append(path, ExpandHome(t, r.Machine.OwnerHome))
	}
	path = append(path, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
	proxy := fmt.Sprintf("http://127.0.0.1:%d", ProxyPort)
	const sys, net = "every session", "the way out is the egress proxy, which refuses what is not granted"
	env := []Var{
		{"HOME", Home, sys}, {"USER", "agent", sys}, {"LOGNAME", "agent", sys}, {"SHELL", "/bin/bash", sys},
		{"PATH", strings.Join(path, ":"), sys + ", tools"}, {"LANG", "C.UTF-8", sys}, {"TERM", "xterm-256color", sys}, {"TMPDIR", "/tmp", sys},
		{"HTTP_PROXY", proxy, net}, {"HTTPS_PROXY", proxy, net}, {"http_proxy", proxy, net}, {"https_proxy", proxy, net},
		{"NO_PROXY", "127.0.0.1,localhost", net}, {"no_proxy", "127.0.0.1,localhost", net}, {"NODE_USE_ENV_PROXY", "1", net},
	}
	if r.Machine.TimeZone != "" {
		env = append(env, Var{"TZ", r.Machine.TimeZone, "the owner's time zone"})
	}
	if agent != Claude {
		return env
	}
	have := map[string]bool{}
	for _, v := range env {
		have[v.Name] = true
	}
	for _, v := range r.Machine.ClaudeEnv {
		if !have[v.Name] {
			env = append(env, v)
		}
	}
	return env
}

func endpoints(agent string) []Endpoint {
	out := []Endpoint{{"proxy", ProxyPort, "the egress proxy"}, {"tools", ToolsPort, "host tools over MCP"}}
	if agent == Claude {
		out = append(out, Endpoint{"model", ModelPort, "the model; the host adds the credential"})
	}
	return out
}

// networked says that a group has a chat on a network, and not its terminal alone.
func networked(g config.Group) bool {
	return slices.ContainsFunc(g.Chats, func(s string) bool {
		a, err := chat.ParseAddress(s)
		return err == nil && a.Channel != chat.Console
	})
}

func tools(g chat.Group, c config.Group) []Tool {
	out := []Tool{{"send_message", "every group, to its own chat; main to any group"}}
	if g == chat.Main {
		out = append(out, Tool{"list_groups", "main only"}, Tool{"register_group", "main only; the owner does it"})
	}
	for _, name := range []string{"schedule_task", "list_tasks", "update_task", "pause_task", "resume_task", "cancel_task"} {
		out = append(out, Tool{name, "every group, its own tasks; main those of any group"})
	}
	if networked(c) {
		const why = "every group with a chat on a network, of its own files, to its own chat"
		out = append(out, Tool{"send_file", why}, Tool{"send_image", why}, Tool{"add_reaction", "every group with a chat on a network, to the message that it answers"})
	}
	return out
}

// settings are the group's choices, else those for all groups.
func (r Request) settings(g config.Group, agent string) []Setting {
	if agent != Claude {
		return nil
	}
	all, own, shared := r.Config.Agent.Claude, "groups."+string(r.Group)+".", "agent.claude."
	var out []Setting
	add := func(name SettingName, field, mine, everybodys string) {
		switch {
		case mine != "":
			out = append(out, Setting{name, mine, own + field})
		case everybodys != "":
			out = append(out, Setting{name, everybodys, shared + field})
		}
	}
	add(ModelSetting, "model", g.Model, all.Model)
	add(FallbackSetting, "fallbackModel", g.FallbackModel, all.FallbackModel)
	add(EffortSetting, "effort", g.Effort, all.Effort)
	add(TurnsSetting, "maxTurns", count(g.MaxTurns), count(all.MaxTurns))
	add(PromptSetting, "prompt", g.Prompt, "")
	add(PromptSetting, "promptFile", r.Machine.Prompts[r.Group], "")
	if r.Trusted.Hash != "" {
		out = append(out, Setting{TrustSetting, r.Trusted.Hash, "you trusted it: nanoclaw rights"})
	}
	return out
}

// count is a number as a setting, where 0 is none.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func limits(l config.Limits) Limits {
	return Limits{
		RunTime: time.Duration(l.RunTime), IdleTime: time.Duration(l.IdleTime),
		Memory: int64(l.Memory), CPUs: l.CPUs, CPUTime: time.Duration(l.CPUTime), Processes: l.Processes, OpenFiles: l.OpenFiles,
		FileSize: int64(l.FileSize), TmpSize: int64(l.TmpSize), Disk: int64(l.Disk), Output: int64(l.Output),
		ToolCalls: l.ToolCalls, SameCalls: l.SameCalls, SameCallsInARow: l.SameCallsInARow, AskTime: time.Duration(l.AskTime),
	}
}
