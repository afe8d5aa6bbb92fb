// Package config is the owner's one file: what it may say, what it means, and
// how a mistake in it is told.
//
// The file is JSONC (JSON with comments and trailing commas). Config is its
// only description: the comments on its fields are the manual, the JSON Schema
// is made from it, and the template that a first start writes is checked
// against it by a test.
//
// The file decides what agents may touch, so the package refuses one that
// somebody else could have written (see Load), and gives a fingerprint by which
// the daemon notices a change under its feet. Its own edits (see Edit) keep the
// owner's comments and layout.
//
// It decides nothing: what a group may touch, whether a folder may be shown and
// what an egress entry means is the matter of package grant.
package config

// Config is the whole file.
type Config struct {
	// Schema is where an editor finds the JSON Schema of this file, as
	// "./config.schema.json". NanoClaw itself does not look at it.
	Schema string `json:"$schema,omitempty"`
	// Version of this format. Always 1.
	Version int `json:"version"`
	// Database is where messages, runs and the audit log are kept:
	// "postgres://USER@HOST/NAME", with what else the address of a PostgreSQL database
	// may say, or "" for a file in the data folder. It counts at the next start, and
	// nothing is moved. A password comes as ${NAME} from the environment, or from the
	// file that passfile=FILE in the address names.
	Database string `json:"database" secret:"true"`
	// Nodes lets several machines share that database.
	Nodes Nodes `json:"nodes"`
	// Assistant is how the assistant is called.
	Assistant Assistant `json:"assistant"`
	// Agent says which agent answers, for groups that do not say it themselves.
	Agent Agent `json:"agent"`
	// Model says where the model is and which credential the host adds. None of
	// it ever enters a boundary.
	Model Model `json:"model"`
	// Providers are further places where a model is, by name, for groups that name
	// one. What they leave empty is not taken from the environment.
	Providers map[string]Model `json:"providers"`
	// ExecutionMode is where agents of groups without a mode of their own run:
	// "container" or "host".
	ExecutionMode string `json:"executionMode"`
	// HostMode bounds native execution.
	HostMode HostMode `json:"hostMode"`
	// Boundary says what the operating system must enforce.
	Boundary Boundary `json:"boundary"`
	// Container says which engine starts containers, and from which image.
	Container Container `json:"container"`
	// Tools are folders of programs that every agent may read and run, beside
	// the system's own: "/opt/node", "~/.cargo/bin".
	Tools []string `json:"tools"`
	// PermissionMode says whether agents use their own tools without asking:
	// "bypass", inside a boundary that was tried and held, or "ask", where each
	// call that is not read-only waits for the owner's yes. A shell has no tools.
	PermissionMode string `json:"permissionMode"`
	// Permissions are rules about what agents do with their own tools, for every
	// group. They guide an agent and are no boundary.
	Permissions Permissions `json:"permissions"`
	// Approvals say what a yes of yours needs, for every group.
	Approvals Approvals `json:"approvals"`
	// Limits bound every run.
	Limits Limits `json:"limits"`
	// Rates bound how often agents are asked. What is beyond waits, and is worked on
	// by itself when it may be.
	Rates Rates `json:"rates"`
	// Budgets bound what the model costs on one day.
	Budgets Budgets `json:"budgets"`
	// Quarantine bounds what is kept of files that agents left in your folders and
	// that would have run code later: nanoclaw quarantine list.
	Quarantine Quarantine `json:"quarantine"`
	// RunLogs bounds the files that tell of each run: nanoclaw logs.
	RunLogs RunLogs `json:"runLogs"`
	// Retention says how long what is over is kept.
	Retention Retention `json:"retention"`
	// Egress says what holds of the way out, for every group. It lets nobody out:
	// that does a group's own egress.
	Egress Egress `json:"egress"`
	// Audit says where the record of what happened is anchored beside the data
	// folder.
	Audit Audit `json:"audit"`
	// Observe says who may see in numbers how the daemon is.
	Observe Observe `json:"observe"`
	// Upgrade says whose programs may take the place of this one: nanoclaw upgrade.
	Upgrade Upgrade `json:"upgrade"`
	// MCPServers are servers of the Model Context Protocol, by name, in the form of
	// .mcp.json with what it lacks. What a workspace brings along is never used.
	MCPServers map[string]MCPServer `json:"mcpServers"`
	// GlobalMcpInheritance says who gets the MCP servers of your own Claude Code,
	// those of the user in ~/.claude.json and ~/.claude/settings.json: "main-only",
	// "all-groups" or "none". They are there in host mode alone. A server of the same
	// name above goes before them.
	GlobalMcpInheritance string `json:"globalMcpInheritance"`
	// Channels are the chat networks that are connected, beside the terminal.
	Channels Channels `json:"channels"`
	// People are who has a role, by their identity as CHANNEL:SENDER. A role belongs
	// to a sender and never to a chat. Whoever only speaks need not be here: see
	// senders of a group.
	People map[string]Person `json:"people"`
	// Groups are the chats that have an agent, by name. "main" is the owner's own.
	Groups map[string]Group `json:"groups"`
}

// Assistant is how the assistant is called.
type Assistant struct {
	// Name is the word that calls it in a group: "@Andy" for "Andy".
	Name string `json:"name"`
}

// Agent says which agent answers.
type Agent struct {
	// Kind is "auto", "claude" or "shell". "auto" is Claude Code where it and a
	// model can be had; without them it is a shell in main's own terminal and
	// "no model" everywhere else.
	Kind string `json:"kind"`
	// Claude is about Claude Code.
	Claude Claude `json:"claude"`
}

// Claude is about Claude Code.
type Claude struct {
	// Path of the program. Empty: the one that nanoclaw installed, else "claude"
	// on the PATH.
	Path string `json:"path"`
	// Model to ask for, such as "sonnet". Empty: Claude Code's own choice.
	Model string `json:"model"`
	// FallbackModel is asked while the model is too busy; several with commas.
	FallbackModel string `json:"fallbackModel"`
	// Effort is how hard it thinks: "low", "medium", "high", "xhigh" or "max".
	// Empty: Claude Code's own choice.
	Effort string `json:"effort"`
	// MaxTurns is how many rounds (an answer of the model, and the tools it asks
	// for) one message may take. 0: no limit but the run's time.
	MaxTurns int `json:"maxTurns"`
}

// Model says where the model is. At most one of the three credentials is set.
// Fields tagged as secret are never shown in messages, and a Model that is
// printed or logged says only which of them are there.
type Model struct {
	// BaseURL of the API. Empty: ANTHROPIC_BASE_URL of the daemon, else Anthropic's own.
	BaseURL string `json:"baseURL" secret:"true"`
	// APIKey is sent as X-Api-Key.
	APIKey string `json:"apiKey" secret:"true"`
	// AuthToken is sent as a bearer token, for compatible endpoints.
	AuthToken string `json:"authToken" secret:"true"`
	// OAuthToken is a Claude subscription's token (claude setup-token).
	OAuthToken string `json:"oauthToken" secret:"true"`
	// AllowHTTP accepts a BaseURL of http:// to another machine. Whoever is between
	// can then read the credential and all that is said.
	AllowHTTP bool `json:"allowHTTP,omitempty"`
	// Headers are added to each request, as a gateway of a company may want them.
	Headers map[string]string `json:"headers,omitempty" secret:"true"`
	// OAuth says where a stored token that ends is exchanged for the next one.
	OAuth OAuth `json:"oauth,omitzero"`
}

// OAuth is the client that a token was issued to (RFC 6749, section 6). Without it
// a token that ended is told to the owner, who logs in again.
type OAuth struct {
	// TokenURL is the token endpoint.
	TokenURL string `json:"tokenURL,omitempty" secret:"true"`
	// ClientID is the client's own, as it was registered with the endpoint.
	ClientID string `json:"clientID,omitempty"`
	// ClientSecret is sent with it, where the client has one.
	ClientSecret string `json:"clientSecret,omitempty" secret:"true"`
}

// HostMode bounds native execution.
type HostMode struct {
	// Enabled is the global switch. Off: no group runs in host mode.
	Enabled bool `json:"enabled"`
	// RunsPerHour is the limit of each group but main.
	RunsPerHour int `json:"runsPerHour"`
	// ConfirmTime is how long a message waits for the owner's yes where a group asks
	// for it (confirm). Silence is no.
	ConfirmTime Duration `json:"confirmTime"`
}

// Boundary says what the operating system must enforce.
type Boundary struct {
	// Engine builds the boundaries of host mode: "native", "bubblewrap", "srt",
	// "seatbelt", or "auto" for the first that holds on this machine. srt stops
	// less than the others and is never chosen by itself.
	Engine string `json:"engine"`
	// LandlockFloor is the lowest Landlock version that is accepted. 0 accepts a
	// kernel without it: the other layers are always required.
	LandlockFloor int `json:"landlockFloor"`
	// Spares is how many boundaries stand ready before they are needed, all but
	// the folders and the command, so that a run begins sooner. 0: none.
	Spares int `json:"spares"`
	// SRT is where the engine srt finds its parts.
	SRT SRT `json:"srt"`
}

// Container is for groups in container mode.
type Container struct {
	// Engine starts the containers: "podman", "docker", "apple-container" (on macOS),
	// or "auto" for the first that holds on this machine.
	Engine string `json:"engine"`
	// Program is the engine's command line tool. Empty: the engine's own name, in the
	// folders of the system.
	Program string `json:"program,omitempty"`
	// Args come before the tool's command, such as ["--root", "/srv/containers"]. They
	// can weaken what the engine does; the init then refuses what it can see of it.
	Args []string `json:"args,omitempty"`
	// OCIRuntime is what the engine starts containers with, by name or path, such as
	// "runsc". Empty: the engine's own choice.
	OCIRuntime string `json:"ociRuntime,omitempty"`
	// Image is that of groups which name none of their own. "nanoclaw image build"
	// makes it.
	Image string `json:"image"`
}

// SRT says where the parts of the engine srt are. What is empty is looked for in
// the folder "srt" of the data folder; a refusal names the command that installs
// it there. No group may be able to write to them.
type SRT struct {
	// Path is the folder of the package @anthropic-ai/sandbox-runtime.
	Path string `json:"path"`
	// Node is the program of Node.js 22.12 or later.
	Node string `json:"node"`
}

// Permissions are rules about tools, in the words of Claude Code's own settings:
// "WebFetch", "Bash(git push*)", "Edit(docs/**)", "WebFetch(domain:example.com)",
// "mcp__github". The strictest that matches decides.
type Permissions struct {
	// Deny refuses what matches. Whole tools are not even offered to the agent.
	Deny []string `json:"deny,omitempty"`
	// Ask asks the owner about what matches.
	Ask []string `json:"ask,omitempty"`
	// Allow lets whole tools pass where permissionMode is "ask".
	Allow []string `json:"allow,omitempty"`
}

// Approvals say what a yes to a question of the host needs.
type Approvals struct {
	// FourEyes says that whoever asked for something cannot approve it. What the
	// owner asked for then takes an admin of the group: without one it is a no.
	FourEyes bool `json:"fourEyes,omitempty"`
	// OtherChat says that a yes counts only in another chat than the one in which
	// it was asked for, or in the terminal (nanoclaw approve).
	OtherChat bool `json:"otherChat,omitempty"`
	// Wait is how long a question is open that no run waits for, such as that about
	// an unknown sender. Silence is no. In a group it says nothing.
	Wait Duration `json:"wait,omitempty"`
}

// Limits bound every run.
type Limits struct {
	// RunTime ends a run that takes longer.
	RunTime Duration `json:"runTime"`
	// IdleTime ends a warm session that nobody writes to.
	IdleTime Duration `json:"idleTime"`
	// WarmSessions is how many sessions may wait between runs, over all groups,
	// prepared ones included. The one that waited longest goes first; the next
	// message of its group resumes the conversation. 0: none waits.
	WarmSessions int `json:"warmSessions"`
	// ConcurrentRuns is how many runs go on at once, over all groups.
	ConcurrentRuns int `json:"concurrentRuns"`
	// Memory is how much memory all of a session may use together.
	Memory Size `json:"memory"`
	// CPUs is how many processors a session may keep busy. 0 is all of them.
	CPUs int `json:"cpus"`
	// CPUTime is how much processor time a session may use in all. 0 is no limit.
	CPUTime Duration `json:"cpuTime"`
	// Processes is how many processes and threads a session may have.
	Processes int `json:"processes"`
	// OpenFiles is how many files one process may have open.
	OpenFiles int `json:"openFiles"`
	// FileSize is the largest file a process may write.
	FileSize Size `json:"fileSize"`
	// TmpSize is how much a session may keep in its private /tmp and /dev/shm.
	TmpSize Size `json:"tmpSize"`
	// Disk is how much a group may keep in its workspace and home together.
	Disk Size `json:"disk"`
	// Output is how much of an answer is kept; the rest is cut, and the answer says so.
	Output Size `json:"output"`
	// ContextMessages is how many messages that called nobody are kept as context.
	ContextMessages int `json:"contextMessages"`
	// MessageSize is the longest message taken in; the rest is cut, and the prompt says so.
	MessageSize Size `json:"messageSize"`
	// QueuedMessages is how many messages of one group may wait.
	QueuedMessages int `json:"queuedMessages"`
	// Tasks is how many scheduled tasks a group may have.
	Tasks int `json:"tasks"`
	// TaskInterval is how close to each other the times of a task may come.
	TaskInterval Duration `json:"taskInterval"`
	// ToolCalls is how often a run may use tools. 0 is no limit, here and below.
	ToolCalls int `json:"toolCalls"`
	// SameCalls is how often a run may make the very same call of a tool.
	SameCalls int `json:"sameCalls"`
	// SameCallsInARow is how often without another call in between.
	SameCallsInARow int `json:"sameCallsInARow"`
	// AskTime is how long a question to the owner about a call waits. Silence is no.
	AskTime Duration `json:"askTime"`
}

// Rates bound how often agents are asked.
type Rates struct {
	// Group is for each group but main, all its senders but the owner together.
	Group Rate `json:"group,omitzero"`
	// Sender is for each sender but the owner.
	Sender Rate `json:"sender,omitzero"`
	// Owner is for the owner, so that a program that speaks as the owner cannot go on
	// for ever.
	Owner Rate `json:"owner,omitzero"`
}

// Rate is one limit of messages and one of runs.
type Rate struct {
	// MessagesPerMinute are messages for the agent in one group. 0: no limit.
	MessagesPerMinute int `json:"messagesPerMinute,omitempty"`
	// RunsPerDay are runs from midnight to midnight, over all groups where it is a
	// sender's. A run counts once for each sender whom it answers, and so does a
	// message that joins it. 0: no limit.
	RunsPerDay int `json:"runsPerDay,omitempty"`
}

// Budgets bound what the model costs from midnight to midnight. A run counts for
// the day on which it began. The owner can extend a budget for the day.
type Budgets struct {
	// Day is for everything together.
	Day Budget `json:"day"`
	// Group is for each group but main that has no budget of its own.
	Group Budget `json:"group"`
	// Sender is for each sender but the owner, over all groups.
	Sender Budget `json:"sender"`
	// Task is for each scheduled task.
	Task Budget `json:"task"`
	// Step is by how much one yes of the owner extends a budget for the day. What is
	// 0 is half of the budget.
	Step Budget `json:"step"`
	// Prices of models, by the beginning of their names; the longest that fits
	// counts. Without one, money is what the agent says of itself at the end of a
	// run, which cannot be checked and stops nothing before.
	Prices map[string]Price `json:"prices"`
}

// Budget is an amount. What is 0 is not bounded.
type Budget struct {
	// USD is money, such as "$5" or "$0.50".
	USD USD `json:"usd,omitempty"`
	// Tokens are those that the model's provider counted, cached ones among them.
	Tokens int `json:"tokens,omitempty"`
}

// Price is what a million tokens of a model cost.
type Price struct {
	// Input is for what the model reads.
	Input USD `json:"input"`
	// Output is for what it writes.
	Output USD `json:"output"`
	// CacheRead is for what it reads from its provider's cache.
	CacheRead USD `json:"cacheRead"`
	// CacheWrite is for what is put there.
	CacheWrite USD `json:"cacheWrite"`
}

// Quarantine bounds what is kept of files that agents left in the owner's folders
// and that would have run code later.
type Quarantine struct {
	// Keep is how long they are kept. 0 is for ever.
	Keep Duration `json:"keep"`
	// Size is how much is kept. Beyond it the group that left most loses its oldest
	// files first, but none within a day. 0 is no limit.
	Size Size `json:"size"`
}

// RunLogs are files for you to read, one for each run, in the data folder:
// groups/GROUP/logs. Agents neither read nor write them.
type RunLogs struct {
	// Keep is how long they are kept. 0 is for ever.
	Keep Duration `json:"keep"`
	// Files is how many of a group are kept. 0 is no limit.
	Files int `json:"files"`
	// Size is how much of a group's is kept, all together. 0 is no limit.
	Size Size `json:"size"`
	// Content puts what was asked and answered into them, with what looks like a
	// credential masked. Off: neither is in them.
	Content bool `json:"content"`
}

// Retention says how long what is over is kept. 0 is for ever. What is open stays,
// however old: messages that wait, runs that go on, messages still to be sent. What
// was removed is in the audit log, as a count.
type Retention struct {
	// Messages is how long messages are kept that came in and were done with, or that
	// went out.
	Messages Duration `json:"messages"`
	// Runs is how long runs are listed.
	Runs Duration `json:"runs"`
	// Costs is how long the cost of a day is kept.
	Costs Duration `json:"costs"`
	// Words is how long the audit log keeps what people wrote and what agents did.
	// Its entries stay for ever, and it still verifies.
	Words Duration `json:"words"`
	// Sessions is how long Claude Code keeps a conversation that nobody goes on with,
	// in whole days. The pages in a group's conversations folder are the agent's own.
	Sessions Duration `json:"sessions"`
}

// Egress says what holds of the way out, for every group.
type Egress struct {
	// Deny are hosts that no group reaches, whatever else allows them: HOST for
	// every port, HOST:PORT for one, *.SUFFIX for the names below, or "*" for all.
	Deny []string `json:"deny"`
	// Hosts say how a host is treated where a group may reach it, by HOST,
	// HOST:PORT or *.SUFFIX. They let nobody out by themselves.
	Hosts map[string]EgressHost `json:"hosts"`
	// Upload is how much a session may send through the proxy. The model's own
	// endpoint is not counted, here and below.
	Upload Size `json:"upload"`
	// Download is how much a session may receive.
	Download Size `json:"download"`
	// Connections is how many connections a session may make in all.
	Connections int `json:"connections"`
	// Ask has the owner asked about a host that a group may not reach, when its
	// agent tries to: once, for the session, or for the group. What Deny names is
	// never asked about. Off: it is refused in words.
	Ask bool `json:"ask,omitempty"`
}

// EgressHost says how a host is treated.
type EgressHost struct {
	// Address is dialled for the name, and DNS is not asked: a line of a hosts
	// file. It may be private, and the machine's own too.
	Address string `json:"address,omitempty"`
	// Private accepts private addresses for the name, as DNS gives them.
	Private bool `json:"private,omitempty"`
	// Raw lets a tunnel carry anything in place of TLS for the name, such as SSH.
	Raw bool `json:"raw,omitempty"`
	// ECH accepts tunnels whose real name is encrypted (Encrypted ClientHello).
	ECH bool `json:"ech,omitempty"`
	// Inspect looks into TLS, with a certificate authority that the session makes
	// for itself and for the hosts to be inspected alone.
	Inspect bool `json:"inspect,omitempty"`
	// Rules are the only requests that pass, as METHOD[,METHOD] /PATH, where * is
	// a part of a name and ** any number of folders. For https they need inspect.
	Rules []string `json:"rules,omitempty"`
	// WebSocket lets a plain or inspected connection become a WebSocket.
	WebSocket bool `json:"webSocket,omitempty"`
	// Upload is how much a session may send to this host. Empty: the limit above.
	Upload Size `json:"upload,omitempty"`
	// Download is how much a session may receive from it. Empty: the limit above.
	Download Size `json:"download,omitempty"`
	// Connections is how many a session may make to it. 0: the limit above.
	Connections int `json:"connections,omitempty"`
}

// Audit says where the record of what happened is anchored. Whoever can write
// the data folder can put back an older store, and only an anchor elsewhere
// shows it.
type Audit struct {
	// Anchor is a file to which signed checkpoints of the log are added, once a
	// minute at most: on another disk, a network folder, a medium that can only be
	// added to. It may not lie in the data folder, and no agent is ever shown it.
	// Empty: none.
	Anchor string `json:"anchor"`
	// AnchorChat is how often a checkpoint is written into main's chat, such as
	// "24h". 0: never.
	AnchorChat Duration `json:"anchorChat"`
}

// Upgrade says whose programs may take the place of this one.
type Upgrade struct {
	// Key is the file of a public key of minisign, for releases of your own. It is
	// yours alone, with mode 0600. Empty: the key that was built in.
	Key string `json:"key"`
}

// Person is somebody on a chat network.
type Person struct {
	// Name is for you to read, and proves nothing.
	Name string `json:"name,omitempty"`
	// Role is "owner" (you, on that network), "admin" (may also stop, pause and
	// resume the named groups, see their status, and answer questions that are open
	// to admins) or "member" (may speak in the named groups). Empty: "member".
	Role string `json:"role,omitempty"`
	// Groups are those that the role is about. An owner has all, and names none.
	Groups []string `json:"groups,omitempty"`
}
