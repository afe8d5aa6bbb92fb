package config

// Group is one chat, or several, with one agent and one set of rights.
type Group struct {
	// Node is the one node that serves the group (nodes.name). Empty: the one that
	// served it first, or any where nodes.groups is set.
	Node string `json:"node,omitempty"`
	// Mode is "host" or "container". Empty: executionMode above.
	Mode string `json:"mode,omitempty"`
	// Image is the container's, in container mode. Empty: container.image above.
	Image string `json:"image,omitempty"`
	// HostModeAllowed is the group's own opt-in, without which it never runs in
	// host mode, whatever Mode says.
	HostModeAllowed bool `json:"hostModeAllowed,omitempty"`
	// Confirm says when the owner is asked before somebody else's message starts a
	// run in host mode: "each" run, each new "session", or "never". Empty: "session".
	// What the owner writes needs no other yes, and main asks nobody.
	Confirm string `json:"confirm,omitempty"`
	// HostRunsPerHour is this group's limit. 0: hostMode.runsPerHour above.
	HostRunsPerHour int `json:"hostRunsPerHour,omitempty"`
	// Rates of this group. What is 0 is as in rates above.
	Rates Rates `json:"rates,omitzero"`
	// Budget of this group in place of budgets.group above.
	Budget Budget `json:"budget,omitzero"`
	// Agent is "auto", "claude" or "shell". Empty: agent.kind above.
	Agent string `json:"agent,omitempty"`
	// Chats are the addresses that belong to the group, as CHANNEL:CHAT. The
	// terminal's is always console:NAME and need not be written.
	Chats []string `json:"chats,omitempty"`
	// Trigger says when the agent is addressed: "mention" (its name, with or
	// without @, begins the message, or the channel marks a mention) or
	// "always". Empty: "always" for main, else "mention".
	Trigger string `json:"trigger,omitempty"`
	// Senders are who may speak beside the owner, as CHANNEL:SENDER. An empty
	// list admits nobody else.
	Senders []string `json:"senders,omitempty"`
	// Mounts are folders of this machine that the agent may touch, each at
	// /workspace/extra/NAME.
	Mounts []Mount `json:"mounts,omitempty"`
	// Egress are hosts that the agent may reach, as HOST, *.SUFFIX, HOST:PORT, or
	// a preset: @git, @npm, @go, @pypi. Empty: only the model.
	Egress []string `json:"egress,omitempty"`
	// EgressDeny are hosts that this group does not reach, beside egress.deny above.
	EgressDeny []string `json:"egressDeny,omitempty"`
	// EgressHosts go before those of egress.hosts above, for this group.
	EgressHosts map[string]EgressHost `json:"egressHosts,omitempty"`
	// EgressAsk has the owner asked as egress.ask above does, for this group.
	EgressAsk bool `json:"egressAsk,omitempty"`
	// Approvals add to approvals above, for this group.
	Approvals Approvals `json:"approvals,omitzero"`
	// PermissionMode is "bypass" or "ask". Empty: permissionMode above.
	PermissionMode string `json:"permissionMode,omitempty"`
	// Permissions are rules about tools, beside permissions above.
	Permissions Permissions `json:"permissions,omitzero"`
	// Model to ask for in this group. Empty: agent.claude.model above.
	Model string `json:"model,omitempty"`
	// FallbackModel of this group. Empty: agent.claude.fallbackModel above.
	FallbackModel string `json:"fallbackModel,omitempty"`
	// Effort in this group. Empty: agent.claude.effort above.
	Effort string `json:"effort,omitempty"`
	// MaxTurns in this group. 0: agent.claude.maxTurns above.
	MaxTurns int `json:"maxTurns,omitempty"`
	// Prompt is told to the group's agent in every session, beside what the host
	// says of where it is.
	Prompt string `json:"prompt,omitempty"`
	// PromptFile is a file with such a text, in the folder of this configuration:
	// "prompts/family.md". It is read when nanoclaw starts.
	PromptFile string `json:"promptFile,omitempty"`
	// Provider is one of providers above, where this group's model is and whose
	// credential it uses. Empty: model above.
	Provider string `json:"provider,omitempty"`
	// ServerTools are tools that the model's provider may run for this group:
	// "web_search", "web_fetch", "code_execution". The provider then reaches the web
	// or runs code for the agent, and no egress rule sees it. Empty: none.
	ServerTools []string `json:"serverTools,omitempty"`
	// Prepared has a session with its agent started stand ready before anybody
	// writes, so that the first message too is answered without a start. It holds
	// the memory of an idle agent, and ends as warm ones do, but for their idle
	// time. Groups that may write a folder of the owner have none.
	Prepared bool `json:"prepared,omitempty"`
}

// Mount is a folder of this machine that an agent may touch.
type Mount struct {
	// Path on this machine; "~/" is the owner's home.
	Path string `json:"path"`
	// Name under /workspace/extra. Empty: the last element of Path.
	Name string `json:"name,omitempty"`
	// Write permits changing it.
	Write bool `json:"write,omitempty"`
}
