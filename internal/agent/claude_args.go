package agent

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"nanoclaw/internal/grant"
)

// ToolName is how the model knows a tool of the host.
func ToolName(name string) string { return grant.ToolOf(grant.HostServer, name) }

// unwanted are tools that this host takes away. The first line starts turns
// that nobody asked for, the second talks to other sessions of the machine or
// leaves the workspace, the third waits for somebody at a keyboard, and the last
// is done by the model's provider, which reaches the web past every egress rule, so
// that it takes a grant of its own (Options.ServerTools).
// None of this is a boundary: it keeps the model from plans that cannot work.
var unwanted = []string{
	"CronCreate", "CronDelete", "CronList", "ScheduleWakeup", "Monitor",
	"SendMessage", "ListAgents", "EnterWorktree", "ExitWorktree",
	"AskUserQuestion", "EnterPlanMode", "ExitPlanMode",
	"WebSearch",
}

// ClaudeVersion is the version of Claude Code that the contract test runs. The
// protocol is not documented by its maker, so another version may differ.
const ClaudeVersion = "2.1.330"

// ClaudeEnv is the part of the environment that Claude Code needs beside what
// every agent has. It holds no secret: the key is a word that stands in for
// one, and the host's gateway puts the real credential into each request.
func ClaudeEnv() []grant.Var {
	proxy := fmt.Sprintf("http://127.0.0.1:%d", grant.ProxyPort)
	vars := []grant.Var{
		{Name: "CLAUDE_CONFIG_DIR", Value: grant.ClaudeConfig, Reason: "settings made by the host, which nothing inside can change"},
		{Name: "ANTHROPIC_BASE_URL", Value: fmt.Sprintf("http://127.0.0.1:%d", grant.ModelPort), Reason: "the model is reached through the host, which adds the credential"},
		{Name: "ANTHROPIC_API_KEY", Value: "placeholder", Reason: "Claude Code does not start without a key; this one opens nothing"},
		{Name: "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", Value: "1", Reason: "no telemetry, no feature flags, no update checks"},
		{Name: "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", Value: "1", Reason: "work left in the background would start turns that nobody asked for"},
		{Name: "DISABLE_AUTOUPDATER", Value: "1", Reason: "the program is read-only and its version is the owner's choice"},
		{Name: "NO_PROXY", Value: "127.0.0.1,localhost", Reason: "the model's endpoint is on loopback already"},
		{Name: "no_proxy", Value: "127.0.0.1,localhost", Reason: "the spelling that curl reads"},
	}
	const why = "the only way out; set without any granted host too, so that a refusal comes in words"
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		vars = append(vars, grant.Var{Name: name, Value: proxy, Reason: why})
	}
	return vars
}

// claudeArgv is the command line. It holds nothing secret: any process of the
// boundary can read it.
func claudeArgv(o Options, session string) []string {
	program := o.Argv0
	if program == "" {
		program = path.Join(grant.ClaudeDir, "claude")
	}
	argv := []string{
		program,
		"--output-format", "stream-json", "--input-format", "stream-json", "--verbose", "--include-partial-messages",
		"--permission-mode", permissionMode(o), "--permission-prompt-tool", "stdio",
		"--await-initialize", "--managed-settings-in-initialize",
		"--disallowedTools", strings.Join(disallowed(o), ","),
	}
	argv = append(argv, sources(o)...)
	argv = append(argv, chosen(o)...)
	if o.Resume != "" {
		return append(argv, "--resume="+session)
	}
	return append(argv, "--session-id="+session)
}

// sources say whose settings and MCP servers count. The workspace is code to Claude
// Code: settings, hooks and servers found there would run without a question.
func sources(o Options) []string {
	if o.Project {
		return []string{"--setting-sources", "user,project"}
	}
	return []string{"--strict-mcp-config", "--setting-sources", "user"}
}

// chosen are the flags for what the owner chose. A value is joined to its flag,
// so that none can be taken for another.
func chosen(o Options) []string {
	// What the session is told of its boundary is what holds now, in a
	// conversation that is resumed too: without this flag it would be what held
	// when the conversation began.
	argv := []string{"--system-prompt-snapshot=off"}
	for _, f := range []struct{ name, value string }{{"model", o.Model}, {"fallback-model", o.Fallback}, {"effort", o.Effort}} {
		if f.value != "" {
			argv = append(argv, "--"+f.name+"="+f.value)
		}
	}
	if o.MaxTurns > 0 {
		argv = append(argv, fmt.Sprintf("--max-turns=%d", o.MaxTurns))
	}
	return argv
}

// permissionMode is what Claude Code does with a call that our hook did not decide:
// nothing inside a proven boundary, else it asks us once more.
func permissionMode(o Options) string {
	if o.Permission == Bypass {
		return "bypassPermissions"
	}
	return "default"
}

// disallowed are the tools that a session must not have. The gateway decides over
// what the provider does; here the model is only kept from asking in vain.
func disallowed(o Options) []string {
	out := append(slices.Clone(unwanted), o.Disallow...)
	if slices.Contains(o.ServerTools, "web_search") {
		out = slices.DeleteFunc(out, func(tool string) bool { return tool == "WebSearch" && !slices.Contains(o.Disallow, tool) })
	}
	return out
}

// hookID and compactID name our hooks to Claude Code.
const (
	hookID    = "pre-tool-use"
	compactID = "pre-compact"
)

// claudeInitialize is the first control request: what must not be on the
// command line, or cannot.
func claudeInitialize(o Options) map[string]any {
	hooks := map[string]any{"PreToolUse": []any{map[string]any{
		"hookCallbackIds": []string{hookID},
		"timeout":         (o.toolTime() + hookGrace).Seconds(),
		// A hook that fails must not let the call pass.
		"onFailure": "block",
	}}}
	if o.Compacting != nil {
		hooks["PreCompact"] = []any{map[string]any{"hookCallbackIds": []string{compactID}, "timeout": compactTimeout.Seconds()}}
	}
	request := map[string]any{
		"subtype": "initialize",
		"hooks":   hooks,
		"managedSettings": map[string]any{
			"permissions": map[string]any{"deny": disallowed(o)},
			"sandbox":     map[string]any{"allowUnsandboxedCommands": false},
			// Hooks in settings that the agent itself may have written stay silent. What
			// the owner trusts it cannot write, and the user's settings are ours.
			"allowManagedHooksOnly": !o.Project,
			// WebFetch would ask api.anthropic.com about each domain; here the
			// egress gateway decides.
			"skipWebFetchPreflight": true,
		},
	}
	if names := hostServers(o); names != nil {
		request["sdkMcpServers"] = names
	}
	if len(o.MCPServers) > 0 {
		request["mcpServers"] = mcpServers(o.MCPServers)
	}
	if o.SystemPrompt != "" {
		request["appendSystemPrompt"] = o.SystemPrompt
	}
	return request
}
