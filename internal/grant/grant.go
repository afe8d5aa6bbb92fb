// Package grant answers one question: what may this session touch?
//
// Decide is pure. It takes the configuration, the trigger and what is known of
// the machine as values, and gives a Grant or a Refusal. It reads no file, no
// clock and no environment, so a decision can be printed, compared, tested by a
// table and explained afterwards. Everything that enforces (the boundary, the
// egress gateway, the host tools) is rendered from the Grant and from nothing
// else.
//
// A Grant names paths as the agent sees them. Each line carries the reason why
// it is there.
package grant

import (
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"time"
)

// Mode is where an agent runs.
type Mode string

// The modes.
const (
	HostMode      Mode = "host"      // natively, inside the operating-system boundary
	ContainerMode Mode = "container" // in a container
)

// Paths inside, the same in every mode on Linux.
const (
	Workspace = "/workspace/group"  // the working directory
	Global    = "/workspace/global" // memory shared by all groups
	Inbox     = "/workspace/inbox"  // files that came with messages
	Extra     = "/workspace/extra"  // extra mounts, by name
	Home      = "/home/agent"       // the group's own home
	ClaudeDir = "/opt/claude"       // holds the agent program "claude", read-only

	// ClaudeConfig is Claude Code's own configuration folder, read-only but for the
	// folders of Machine.ClaudeState. It lies in no folder that an agent can write,
	// so that nothing inside can put another one in its place.
	ClaudeConfig = ClaudeDir + "/config"
)

// Ports of the loopback endpoints inside.
const (
	ProxyPort = 3128 // HTTP proxy, the way to granted hosts
	ModelPort = 8480 // the model; the host adds the credential
	ToolsPort = 8481 // host tools over MCP, for agents without their own stdio way
)

// Files inside that name certificate authorities, where a host is inspected.
const (
	TrustDir  = "/etc/nanoclaw"
	Authority = TrustDir + "/session-ca.pem" // the session's own
	Roots     = TrustDir + "/roots.pem"      // it and the system's
)

// Grant is everything one session may touch.
type Grant struct {
	Group chat.Group `json:"group"`
	Mode  Mode       `json:"mode"`
	// ModeReason is why this mode: the line of the configuration.
	ModeReason string  `json:"mode_reason"`
	Agent      string  `json:"agent"` // "claude" or "shell"
	Mounts     []Mount `json:"mounts"`
	Env        []Var   `json:"env"`
	Egress     []Host  `json:"egress"`
	// EgressAsk says that the owner is asked about hosts beyond Egress: the line of
	// the configuration that says so, "" if they are refused.
	EgressAsk string `json:"egress_ask,omitempty"`
	// Denied goes before Egress.
	Denied []Denied `json:"denied,omitempty"`
	// Budget is what the session may use up on the way out, all hosts together.
	Budget    Budget     `json:"budget,omitzero"`
	Endpoints []Endpoint `json:"endpoints"`
	// Model is what the session may ask of a model; nil if it has none.
	Model *Model `json:"model,omitempty"`
	Tools []Tool `json:"tools"`
	// Servers are the configured MCP servers, those among them that the session
	// has not, with the reason.
	Servers []Server `json:"servers,omitempty"`
	// Settings are what the owner chose of how the agent works. They widen
	// nothing; they are here because a session has one set of them, as of the rest.
	Settings []Setting `json:"settings,omitempty"`
	// Ask says that the owner is asked before the agent uses a tool of its own, and
	// AskReason which line says so.
	Ask       bool   `json:"ask,omitempty"`
	AskReason string `json:"ask_reason,omitempty"`
	// Rules about the agent's own tools. They guide it and enforce nothing.
	Rules  []ToolRule `json:"rules,omitempty"`
	Limits Limits     `json:"limits"`
}

// ToolRule is one rule about the agent's own tools, as package watch reads it.
type ToolRule struct {
	Level  string `json:"level"` // "deny", "ask" or "allow"
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
}

// Mount lets the agent see Source, a path of the host, at Target.
type Mount struct {
	Target string `json:"target"`
	Source string `json:"source"`
	Write  bool   `json:"write"`
	// Exec permits running programs from it.
	Exec bool `json:"exec"`
	// File says that it is a file and not a folder.
	File bool `json:"file,omitempty"`
	// Optional mounts are left out where Source does not exist: system folders.
	Optional bool `json:"optional,omitempty"`
	// Foreign marks folders of the owner (extra mounts), whose files belong to
	// other uids than the group's.
	Foreign bool `json:"foreign,omitempty"`
	// Held marks a part of a writable folder of the owner that is a mount of its
	// own: a place of files that run code on the owner's machine later, or, with
	// Write, a folder above one, which thereby cannot be renamed. Source lies in
	// the folder and is looked up from there, never by its path.
	Held bool `json:"held,omitempty"`
	// Dev and Ino say which file Source was when it was looked at. The boundary
	// refuses another. 0 accepts any.
	Dev    uint64 `json:"dev,omitempty"`
	Ino    uint64 `json:"ino,omitempty"`
	Reason string `json:"reason"`
}

// Var is one variable of the agent's environment.
type Var struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Reason string `json:"reason"`
}

// Host is one line of the egress allow-list: an exact name or "*." and a
// suffix, and a port.
type Host struct {
	Pattern string `json:"pattern"`
	Port    int    `json:"port"`
	Reason  string `json:"reason"`
	Terms
}

// Endpoint is a loopback port inside that leads over the wire to the host.
type Endpoint struct {
	Name   string `json:"name"` // "proxy", "model", "tools", "mcp": the kinds of wire stream
	Port   int    `json:"port"`
	Reason string `json:"reason"`
}

// Model says whose model a session asks, and what that may do for it.
type Model struct {
	// Provider is its name in the configuration, "" for the configuration's own
	// model. The credential is the host's and nowhere in a grant.
	Provider string `json:"provider,omitempty"`
	Reason   string `json:"reason"`
	// ServerTools are tools that the provider may run: with them it reaches the web
	// or runs code for whoever is inside, past every egress rule.
	ServerTools []Tool `json:"server_tools,omitempty"`
}

// Tool is a host tool that the agent may call.
type Tool struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Setting is one choice of the owner's of how the agent works.
type Setting struct {
	Name   SettingName `json:"name"`
	Value  string      `json:"value"`
	Reason string      `json:"reason"`
}

// SettingName names a setting.
type SettingName string

// The settings. A grant holds those that the owner chose.
const (
	ModelSetting    SettingName = "model"     // the model to ask for
	FallbackSetting SettingName = "fallback"  // models to ask while that one is too busy, in order, with commas
	EffortSetting   SettingName = "effort"    // how hard it thinks
	TurnsSetting    SettingName = "max-turns" // the rounds of one message, as a number
	PromptSetting   SettingName = "prompt"    // what the owner tells the agent in every session
	TrustSetting    SettingName = "trusted"   // the hash of the workspace's own settings, which the agent obeys
)

// Setting gives a choice, "" where the owner made none.
func (g Grant) Setting(name SettingName) string {
	for _, s := range g.Settings {
		if s.Name == name {
			return s.Value
		}
	}
	return ""
}

// Limits bound the session. Sizes are bytes.
type Limits struct {
	RunTime  time.Duration `json:"run_time"`
	IdleTime time.Duration `json:"idle_time"`
	Memory   int64         `json:"memory"` // of all processes together
	// CPUs is how many processors it may keep busy, 0 for all; CPUTime how much
	// of them it may use in all, 0 for no limit.
	CPUs      int           `json:"cpus"`
	CPUTime   time.Duration `json:"cpu_time"`
	Processes int           `json:"processes"`
	OpenFiles int           `json:"open_files"`
	FileSize  int64         `json:"file_size"`
	TmpSize   int64         `json:"tmp_size"`
	Disk      int64         `json:"disk"` // of the group's workspace and home together
	Output    int64         `json:"output"`
	// ToolCalls, SameCalls and SameCallsInARow bound what a run does with tools, 0
	// for no bound. AskTime is how long the owner has to answer.
	ToolCalls       int           `json:"tool_calls"`
	SameCalls       int           `json:"same_calls"`
	SameCallsInARow int           `json:"same_calls_in_a_row"`
	AskTime         time.Duration `json:"ask_time"`
}

// Machine is what a decision must know of this machine, gathered once at
// start.
type Machine struct {
	// OwnerHome is the owner's home folder, which no mount may cover.
	OwnerHome string
	// Private are folders that no grant may ever touch: configuration, data,
	// sockets (I6).
	Private []string
	// OwnClaude are the folders of the owner's own Claude Code, which no grant may
	// ever touch.
	OwnClaude []string
	// Allowed bounds the folders that may be lent; nil: nothing beside the built-in
	// rules does. Its roots are absolute, and lie where they led at the start.
	Allowed *config.MountAllowlist
	// Real says where folders of the configuration lead now, links followed, and ""
	// for one that is not there. Of a folder that is not in it nothing is known.
	Real map[string]string
	// GroupDir gives the host folder of a group's workspace and home; GlobalDir
	// is the shared one.
	GroupsDir, GlobalDir string
	// Claude is the Claude Code program on this machine, "" if there is none.
	Claude string
	// ClaudeState names the folders in Claude Code's configuration where it keeps
	// what it must remember.
	ClaudeState []string
	// ClaudeEnv are the variables that Claude Code needs, from its adapter.
	ClaudeEnv []Var
	// Prompts are the texts of groups whose prompt is a file, by group.
	Prompts map[chat.Group]string
	// HasModel says that an upstream and a credential are configured, and
	// Providers which of the named ones have theirs.
	HasModel  bool
	Providers []string
	// TimeZone is the owner's, such as "Europe/Berlin".
	TimeZone string
}

// Trigger is why a run starts.
type Trigger struct {
	// Kind is "message", "task" or "exec".
	Kind string `json:"kind"`
	// Task is the scheduled task's name, and HostModeAllowed its own flag, without
	// which it never runs in host mode, whatever its group may (I7).
	Task            string `json:"task,omitempty"`
	HostModeAllowed bool   `json:"host_mode_allowed,omitempty"`
	// Owner says that the owner asked, proven by the pipe.
	Owner bool `json:"owner"`
	// Terminal says that it came from the owner's own terminal.
	Terminal bool `json:"terminal"`
	// Mounts are the owner's --mount flags.
	Mounts []string `json:"mounts,omitempty"`
}

// Refusal is the answer "no", in words fit for the owner's chat.
type Refusal struct {
	// Rule names what refused, for the audit: "mode.container", "hostmode.rate".
	Rule string
	// Text says what is refused and why.
	Text string
	// Hint says what to do.
	Hint string
}

// Error gives text and hint.
func (r *Refusal) Error() string {
	if r.Hint == "" {
		return r.Text
	}
	return r.Text + "\n" + r.Hint
}
