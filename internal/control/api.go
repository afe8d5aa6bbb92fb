package control

import (
	"context"
	"encoding/json"
	"io"
	"syscall"
	"time"

	"nanoclaw/internal/chat"
)

// Host is what the daemon does for its owner: the acts behind the socket, one
// method each. Whoever calls is the owner; the server has proven that before.
//
// Errors of type *Error reach the caller as they are; any other error becomes
// one with CodeFailed. Methods may be called from several goroutines. Those of
// Observer work on a host that was opened but does not run.
type Host interface {
	Talker
	Executor
	Operator
	Observer
	Keeper
	Undertaker
	Census
	Configurer
	Eraser
	Retainer
	Doorkeeper
	TokenKeeper
	Tasker
	Connector
}

// Talker carries the owner's conversation with a group.
type Talker interface {
	// Attach connects a terminal to the chat console:GROUP. Messages that were
	// held because nobody was there are delivered to it. It fails with
	// CodeNotFound if there is no such group.
	Attach(ctx context.Context, g chat.Group) (Terminal, error)
	// Say stores a message of the owner in console:GROUP and returns once it is
	// durable.
	Say(ctx context.Context, r SayRequest) (chat.MessageID, error)
	// Wait returns what became of a message that Say stored, once that is final
	// and every message of its run has left the outbox or is held there.
	Wait(ctx context.Context, g chat.Group, id chat.MessageID) (Answer, error)
}

// Terminal is the receiving end of one attached terminal.
type Terminal interface {
	// Next gives the next thing to show: exactly one of the two is not nil.
	// Calling it again confirms that what it gave before was shown. It returns
	// io.EOF after Close or when the host stops.
	Next(ctx context.Context) (*chat.Outbound, *chat.Progress, error)
	// Close detaches the terminal. What it did not confirm is kept for the next.
	Close() error
}

// Executor starts commands in a group's boundary.
type Executor interface {
	// Exec starts a command in exactly the boundary that the group's agent gets.
	// ctx bounds the whole life of the process. The error is CodeRefused if the
	// grant refuses, CodeBoundary if the boundary cannot be built,
	// CodeNoCommand or CodeNotExecutable if the command cannot be started.
	Exec(ctx context.Context, r ExecRequest) (Process, error)
}

// Process is a command running inside.
type Process interface {
	Stdin() io.WriteCloser
	Stdout() io.Reader
	// Stderr is empty for a process with a terminal.
	Stderr() io.Reader
	Signal(s syscall.Signal) error
	Resize(rows, cols uint16) error
	// Wait returns once the process ended. Its output may still be in the readers.
	Wait(ctx context.Context) (Exit, error)
	// Close ends the process if it lives and frees its boundary. It is called
	// once, after the readers are drained or given up.
	Close() error
}

// Reporter is a Process about which the host has something to say once it is
// closed. The caller sees it at the end of standard error.
type Reporter interface {
	// Report is "" for nothing.
	Report() string
}

// Operator changes what goes on.
type Operator interface {
	// Interrupt ends what a group's agent is doing now and keeps its session, as
	// a person does with Ctrl-C. It is nil if nothing was going on.
	Interrupt(ctx context.Context, g chat.Group) error
	// Stop ends runs for good, with everything inside, and returns when it is over.
	Stop(ctx context.Context, r StopRequest) (Stopped, error)
	// Pause starts no more runs of a group, or of all, until Resume, also after a
	// restart. What is written meanwhile waits.
	Pause(ctx context.Context, r PauseRequest) error
	// Resume undoes Pause. It fails with CodeNotFound if nothing was paused.
	Resume(ctx context.Context, r PauseRequest) error
	// Credentials has the daemon read again what "nanoclaw login" stored, and nothing
	// else. It says where the model of each provider is by now and whose credential is
	// used, in words; "" is the configuration's own model.
	Credentials(ctx context.Context) (map[string]string, error)
	// Shutdown asks the daemon to end. It returns at once.
	Shutdown(ctx context.Context) error
	// Approvals lists the questions that wait for the owner, the oldest first.
	Approvals(ctx context.Context) ([]Approval, error)
	// Approve answers one of them, and gives in one line what was answered. The
	// error is CodeNotFound if no open question has this code.
	Approve(ctx context.Context, r ApproveRequest) (Approved, error)
	// Rights lists what the owner allowed for longer than once, the oldest first.
	Rights(ctx context.Context) ([]Right, error)
	// RemoveRight takes one of them back. The error is CodeNotFound if there is none
	// of that id.
	RemoveRight(ctx context.Context, id int64) error
}

// Observer answers questions.
type Observer interface {
	Status(ctx context.Context) (Status, error)
	Groups(ctx context.Context) ([]GroupInfo, error)
	// Runs lists runs, the newest first.
	Runs(ctx context.Context, q RunsQuery) ([]RunInfo, error)
	// Talk tells what was said in a group: the newest runs with their messages and their
	// answers, in the order in which they began.
	Talk(ctx context.Context, q TalkQuery) ([]Exchange, error)
	// Cost tells what models cost, and how the budgets stand.
	Cost(ctx context.Context, q CostQuery) (Cost, error)
	// RunByID tells one run's story. CodeNotFound if there is none of that name.
	RunByID(ctx context.Context, id chat.RunID) (RunInfo, error)
	// Logs lists the files of runs, the newest first, or gives that of one run with
	// its text. CodeNotFound if there is no such file.
	Logs(ctx context.Context, q LogsQuery) ([]RunLog, error)
	// Policy decides what a session of the group would be granted now.
	Policy(ctx context.Context, q PolicyQuery) (Policy, error)
	// Servers tells of the owner's MCP servers, for each group that has them; with
	// Test it looks at them first.
	Servers(ctx context.Context, q ServersQuery) ([]ServerInfo, error)
	// PinServer shows what waits to be accepted of what an MCP server says of its
	// tools, or accepts it.
	PinServer(ctx context.Context, r PinRequest) (Pin, error)
	// Trust shows what an agent would obey of the settings in its workspace, or trusts
	// it.
	Trust(ctx context.Context, r TrustRequest) (Trust, error)
	// Doctor examines this machine; with Probe it starts a boundary and lets the
	// probe try to break out. With Attack it tries the catalogue of attacks instead.
	Doctor(ctx context.Context, q DoctorQuery) (DoctorReport, error)
	// Health says whether the host can do now what it is there for. It tries what it
	// says; no boundary is started for it that stood before.
	Health(ctx context.Context) (Health, error)
	// AuditList lists entries, the oldest first.
	AuditList(ctx context.Context, q AuditQuery) ([]AuditEntry, error)
	// AuditExport writes the log as JSON lines with its proofs: all of it, or the
	// receipt of a run.
	AuditExport(ctx context.Context, q ExportQuery, w io.Writer) error
	// Why explains a run, a message, or an entry of the audit log. CodeNotFound
	// if there is nothing of that name.
	Why(ctx context.Context, q WhyQuery) (Why, error)
	// AuditVerify checks the log in the store, and against its anchors. A log that
	// does not hold is a report, not an error.
	AuditVerify(ctx context.Context, q VerifyQuery) (AuditReport, error)
}

// SayRequest is a message of the owner.
type SayRequest struct {
	Group chat.Group `json:"group"`
	Text  string     `json:"text"`
	Ask   chat.Ask   `json:"ask,omitzero"`
}

// Answer says what became of a message.
type Answer struct {
	Message chat.MessageID `json:"message"`
	// Run is empty if no run came of it.
	Run chat.RunID `json:"run,omitempty"`
	// State is the run's final state (succeeded, failed, refused, cancelled,
	// interrupted), or "ignored" if the message started nothing, or "dead" if it
	// was given up after several attempts, or "taken" if it was the answer to a
	// question of the host, which says itself what came of it.
	State string `json:"state"`
	// Reason says why, for every state but succeeded.
	Reason string `json:"reason,omitempty"`
}

// The states of an Answer that the command line tells apart.
const (
	Succeeded = "succeeded"
	Refused   = "refused"
	Taken     = "taken"
)

// ExecRequest asks for a command.
type ExecRequest struct {
	Group chat.Group `json:"group"`
	// Mode and Boundary are empty for the group's own.
	Mode     string   `json:"mode,omitempty"`
	Boundary string   `json:"boundary,omitempty"`
	Argv     []string `json:"argv"`
	// Mounts are the owner's --mount flags: DIR or DIR:rw, absolute.
	Mounts []string `json:"mounts,omitempty"`
	// TTY asks for a terminal of that size and of the type Term.
	TTY  bool   `json:"tty,omitempty"`
	Rows uint16 `json:"rows,omitempty"`
	Cols uint16 `json:"cols,omitempty"`
	Term string `json:"term,omitempty"`
}

// Exit says how a process ended. Code counts if Signal is 0.
type Exit struct {
	Code   int `json:"code"`
	Signal int `json:"signal,omitempty"`
}

// StopRequest names what to stop: exactly one field is set.
type StopRequest struct {
	Run   chat.RunID `json:"run,omitempty"`
	Group chat.Group `json:"group,omitempty"`
	All   bool       `json:"all,omitempty"`
}

// Stopped names the runs that were ended.
type Stopped struct {
	Runs []chat.RunID `json:"runs"`
	// Paused are the groups of those runs that have messages waiting. They are
	// paused, so that the next run does not begin where the last was stopped.
	Paused []chat.Group `json:"paused,omitempty"`
}

// PauseRequest names what to pause or resume: a group, or all.
type PauseRequest struct {
	Group  chat.Group `json:"group,omitempty"`
	All    bool       `json:"all,omitempty"`
	Reason string     `json:"reason,omitempty"`
}

// PausedGroup is a group that rests; an empty name means all of them.
type PausedGroup struct {
	Group  chat.Group `json:"group,omitempty"`
	At     time.Time  `json:"at"`
	Reason string     `json:"reason,omitempty"`
}

// Status is the daemon's state in one look.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	UID     int       `json:"uid"`
	Started time.Time `json:"started"`
	// HostMode is "on" or "off"; HostModeReason says why it is off, or what was
	// proven.
	HostMode       string `json:"host_mode"`
	HostModeReason string `json:"host_mode_reason,omitempty"`
	// Layers are the layers a session of this machine gets, Missing the ones it lacks.
	Layers  []string `json:"layers,omitempty"`
	Missing []string `json:"missing,omitempty"`
	// Held says why no new run starts (a changed configuration), "" if they do.
	Held string    `json:"held,omitempty"`
	Live []RunInfo `json:"live"`
	// Nodes are the processes that share the store, if there are several.
	Nodes []Node `json:"nodes,omitempty"`
	// Paused are the groups that the owner put to rest.
	Paused  []PausedGroup `json:"paused,omitempty"`
	Waiting int           `json:"waiting"` // messages that wait for a run
	// HeldMessages are those of them that wait for more than their turn.
	HeldMessages []HeldMessages `json:"held_messages,omitempty"`
	Sessions     int            `json:"sessions"`
	Prepared     int            `json:"prepared"` // those of them that wait for their first message
	Spares       int            `json:"spares"`   // boundaries that stand ready
	Outbox       int            `json:"outbox"`   // messages that wait for delivery
	Config       string         `json:"config"`
	Data         string         `json:"data"`
	// Servers tells of the MCP servers that a group has not, or not whole, each in a
	// line.
	Servers []string `json:"mcp,omitempty"`
	// Channels are the chat networks beside the terminals.
	Channels []ChannelInfo `json:"channels,omitempty"`
	// Modes tells of each group in which mode it is, and what the other would be.
	Modes []GroupMode `json:"modes,omitempty"`
}

// HeldMessages are messages of a group that wait for one reason.
type HeldMessages struct {
	Group chat.Group `json:"group"`
	Count int        `json:"count"`
	// Why is in words: a limit, a question, trouble, a pause.
	Why string `json:"why"`
	// Until is when the first of them goes on by itself at the latest; zero is not by
	// itself.
	Until time.Time `json:"until,omitzero"`
	// Code is that of the question that ends it, "" for none.
	Code string `json:"code,omitempty"`
}

// ChannelInfo is how the connection to a chat network stands.
type ChannelInfo struct {
	Channel chat.ChannelID `json:"channel"`
	// State is "connecting", "connected", "waiting" or "ended".
	State string    `json:"state"`
	Since time.Time `json:"since"`
	// Cause is why it is not connected, or was not before.
	Cause string `json:"cause,omitempty"`
	// Self is who we are there.
	Self chat.SenderID `json:"self,omitempty"`
	// Step is what somebody has to do now for it to be logged in.
	Step *ChannelStep `json:"step,omitempty"`
	// Chats are the addresses of chats there, as far as it tells, with their names.
	Chats []ChannelChat `json:"chats,omitempty"`
}

// GroupMode is the mode of a group, what enforces it, and what the group would lose
// and gain in the other one.
type GroupMode struct {
	Group  chat.Group `json:"group"`
	Mode   string     `json:"mode"`
	Reason string     `json:"reason"`
	// Engine is empty where none can be had. Layers are in force in its sessions,
	// Missing are those that this machine lacks.
	Engine  string   `json:"engine,omitempty"`
	Layers  []string `json:"layers,omitempty"`
	Missing []string `json:"missing,omitempty"`
	// Refusal says why the group cannot run in its mode, OtherRefusal why it could not
	// in Other; each is "" if nothing is known against it.
	Refusal      string   `json:"refusal,omitempty"`
	Other        string   `json:"other"`
	OtherRefusal string   `json:"other_refusal,omitempty"`
	Loses        []string `json:"loses,omitempty"`
	Gains        []string `json:"gains,omitempty"`
}

// GroupInfo is one group.
type GroupInfo struct {
	Name    chat.Group `json:"name"`
	Mode    string     `json:"mode"`
	Agent   string     `json:"agent"`
	Trigger string     `json:"trigger"`
	Chats   []string   `json:"chats"`
	// Refusal says why a message would be refused now, "" if it would run.
	Refusal string `json:"refusal,omitempty"`
}

// RunsQuery bounds a list of runs.
type RunsQuery struct {
	Group chat.Group `json:"group,omitempty"`
	Live  bool       `json:"live,omitempty"` // only runs that go on
	// Before asks for those that were made before this one.
	Before chat.RunID `json:"before,omitempty"`
	Limit  int        `json:"limit,omitempty"`
}

// RunInfo is one run.
type RunInfo struct {
	ID      chat.RunID     `json:"id"`
	Group   chat.Group     `json:"group"`
	State   string         `json:"state"`
	Mode    string         `json:"mode,omitempty"`
	Agent   string         `json:"agent,omitempty"`
	Session chat.SessionID `json:"session,omitempty"`
	Created time.Time      `json:"created"`
	Started time.Time      `json:"started,omitzero"`
	Ended   time.Time      `json:"ended,omitzero"`
	Error   string         `json:"error,omitempty"`
	// CostUSD is what the agent claims.
	CostUSD float64 `json:"cost_usd,omitempty"`
	// InputTokens, cached ones among them, and OutputTokens are what the model's
	// provider counted.
	InputTokens  int64 `json:"input_tokens,omitempty"`
	OutputTokens int64 `json:"output_tokens,omitempty"`
	Tools        int   `json:"tool_calls,omitempty"`
}

// LogsQuery asks for files of runs: that of Run, or those of Group, or all.
type LogsQuery struct {
	Run   chat.RunID `json:"run,omitempty"`
	Group chat.Group `json:"group,omitempty"`
	Limit int        `json:"limit,omitempty"`
}

// RunLog is the file of a run. Text is there if one run was asked for.
type RunLog struct {
	Run     chat.RunID `json:"run"`
	Group   chat.Group `json:"group"`
	Mode    string     `json:"mode,omitempty"`
	Engine  string     `json:"engine,omitempty"`
	Started string     `json:"started,omitempty"`
	Took    string     `json:"took,omitempty"`
	Exit    string     `json:"exit,omitempty"`
	File    string     `json:"file"`
	Size    int64      `json:"size"`
	Text    string     `json:"text,omitempty"`
}

// PolicyQuery asks for a grant. Owner asks as the owner's terminal would.
type PolicyQuery struct {
	Group  chat.Group `json:"group"`
	Mode   string     `json:"mode,omitempty"`
	Mounts []string   `json:"mounts,omitempty"`
	// Explain are questions to the grant: a path, a host, a variable, a tool or a
	// system call, each in the form that grant.ParseQuestion reads.
	Explain []string `json:"explain,omitempty"`
	// Render names an engine, and asks for what it makes of the grant.
	Render string `json:"render,omitempty"`
}

// Policy is a decision: a grant, or a refusal in words.
type Policy struct {
	// Grant is the value as JSON, Text the same for a person, each line with its
	// reason. Both are empty for a refusal.
	Grant   json.RawMessage `json:"grant,omitempty"`
	Text    string          `json:"text,omitempty"`
	Refusal string          `json:"refusal,omitempty"`
	Hint    string          `json:"hint,omitempty"`
	// Answers are those to PolicyQuery.Explain, in its order.
	Answers []Explanation `json:"answers,omitempty"`
	// Rendering is the engine's own form as JSON, RenderedText for a person.
	Rendering    json.RawMessage `json:"rendering,omitempty"`
	RenderedText string          `json:"rendered_text,omitempty"`
}

// Explanation answers one question about a grant.
type Explanation struct {
	Question string `json:"question"`
	Allowed  bool   `json:"allowed"`
	// Line is the line of the grant that decides, with its reason; Why says what
	// else the answer rests on.
	Line string `json:"line,omitempty"`
	Why  string `json:"why,omitempty"`
	// As is the path inside of what was asked for by its path on the host.
	As string `json:"as,omitempty"`
	// Allow is the command with which the owner would allow it.
	Allow string `json:"allow,omitempty"`
}
