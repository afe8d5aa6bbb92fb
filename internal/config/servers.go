package config

// MCPServer is one server of the Model Context Protocol: a program (command), or
// an address (url).
type MCPServer struct {
	// Type is "stdio" or "http". Empty: by command or url.
	Type string `json:"type,omitempty"`
	// Command is the program of a server that speaks over its stdio: a name on the
	// agent's PATH, or a path. It runs inside the agent's boundary, where it must be
	// reachable: see tools.
	Command string `json:"command,omitempty"`
	// Args are the program's arguments.
	Args []Text `json:"args,omitempty"`
	// Env is added to the program's environment.
	Env map[string]Text `json:"env,omitempty"`
	// URL is where a server listens that speaks streamable HTTP. The host asks it;
	// agents never learn the address.
	URL Text `json:"url,omitzero"`
	// Headers are added by the host to each request, such as "Authorization".
	Headers map[string]Text `json:"headers,omitempty"`
	// Modes are those in which agents have the server: "host", "container" or
	// both. It must be written.
	Modes []string `json:"modes"`
	// Groups are those that have the server, or "*" for all. Empty: main alone.
	Groups []string `json:"groups,omitempty"`
	// Own gives a program a boundary of its own, with nothing of the group in it.
	// The host passes messages on, so that Env and what the program reads are out
	// of the agent's reach.
	Own bool `json:"own,omitempty"`
	// Egress are hosts that the program of an own boundary may reach.
	Egress []string `json:"egress,omitempty"`
	// Workspace shows the group's workspace in an own boundary: "read" or "write".
	// Empty: it is not there.
	Workspace string `json:"workspace,omitempty"`
	// SecretsInside accepts that secrets in Env or Args are inside the agent's
	// boundary, where every agent that has the server can read them.
	SecretsInside bool `json:"secretsInside,omitempty"`
	// Tools are the only ones that may be called, with own or url. Empty: all.
	Tools []string `json:"tools,omitempty"`
	// Dangerous asks the owner about every call by a group other than main. With own
	// or url the host holds it; a program inside is asked about before its tool is
	// used, and the agent's own shell could go around that.
	Dangerous bool `json:"dangerous,omitempty"`
	// DangerousTools does the same for these tools alone.
	DangerousTools []string `json:"dangerousTools,omitempty"`
	// Timeout bounds one call of a tool. Empty: the agent's own, which is long.
	Timeout Duration `json:"timeout,omitempty"`
	// StartTime is how long an agent's first answer may wait for the server to
	// start. Empty: 3s.
	StartTime Duration `json:"startTime,omitempty"`
	// AlwaysLoad shows the tools to the model from the beginning, and not when it
	// looks for them.
	AlwaysLoad bool `json:"alwaysLoad,omitempty"`

	// From is the file of the owner's own Claude Code that the server is from. It is
	// no key of this file.
	From string `json:"-"`
}
