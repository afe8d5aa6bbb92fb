package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"syscall"
	"time"

	"nanoclaw/internal/wire"
)

// Box is the boundary as an adapter sees it: it starts processes inside.
type Box interface {
	// Exec starts a process. The ID of the request is the box's to choose.
	Exec(ctx context.Context, e wire.Exec) (Process, error)
	// Proven names the record of the attack that this very box withstood, "" if it
	// is none that was attacked. What is not proven gets no agent that works
	// without asking.
	Proven() string
}

// Process is one process inside a boundary.
type Process interface {
	// Stdin is written to the process. Closing it is its end of input.
	Stdin() io.WriteCloser
	// Stdout and Stderr end when the process and all who inherited them let go.
	Stdout() io.Reader
	Stderr() io.Reader
	// Signal reaches the process's whole group.
	Signal(syscall.Signal) error
	// Wait returns when the process has ended. It may be called more than once.
	Wait(ctx context.Context) (wire.Exited, error)
}

// Adapter is one kind of agent.
type Adapter interface {
	// Open starts the agent, or resumes it, and returns when it can take a turn.
	// The context bounds the opening alone. ErrSession says that the session to
	// resume does not exist, so that the caller can begin a new one.
	Open(ctx context.Context, box Box, o Options) (Conversation, error)
}

// Conversation is one agent that takes turns. It serves one turn at a time.
type Conversation interface {
	// Turn gives the agent a prompt and returns its answer. Emit is called with
	// what happens meanwhile, from one goroutine, and never after Turn returned;
	// events may be joined or dropped if emit is slow. An error means that the
	// conversation is over; a Result with Failed set means that this turn did not
	// succeed and the next one may. If ctx ends, the agent is killed.
	Turn(ctx context.Context, p Prompt, emit func(Event)) (Result, error)
	// Interrupt asks the running turn to end, and insists if it does not. It
	// returns once the agent was told; Turn then returns with Interrupted set.
	// Without a running turn it does nothing.
	Interrupt(ctx context.Context) error
	// Done is closed when the conversation is over, whoever ended it, also between
	// two turns.
	Done() <-chan struct{}
	// Close ends the agent. It returns when the process has ended or was killed.
	Close() error
}

// Follower is a conversation that takes messages while it works.
type Follower interface {
	// Follow gives the agent a message while a turn goes on: the turn ends once
	// that is answered too. ErrIdle says that the turn does not take it any more,
	// and that the agent has not seen it. Any other error is that of Turn.
	Follow(p Prompt) error
}

// Options say how a conversation is opened.
type Options struct {
	// Env is the whole environment, made from the grant.
	Env []string
	// Dir is the working directory inside.
	Dir string
	// Argv0 is Claude Code's program inside; "" is its usual place there.
	Argv0 string
	// Resume is the SessionID of an earlier Result, or "" to begin anew.
	Resume string
	// Session names a conversation that begins anew, a UUID that the caller has
	// written down; "" makes one.
	Session string
	// Model to ask for, or "" for the agent's own choice. Fallback are models to
	// ask, in order, while it is too busy.
	Model, Fallback string
	// Effort is how hard to think, in the agent's own words; "" is its choice.
	Effort string
	// MaxTurns bounds the rounds of one prompt: the model's answers, each with the
	// tools it asked for. 0 is no bound.
	MaxTurns int
	// SystemPrompt is added to the agent's own.
	SystemPrompt string
	// Disallow are further tools of the agent that this session must not have.
	Disallow []string
	// Project says that the settings and MCP servers that lie in the workspace are
	// obeyed: the owner trusts them, and nobody inside can change them.
	Project bool
	// ServerTools are tools of the grant that the model's provider may run.
	ServerTools []string
	// MCP answers one JSON-RPC message to a server of the host. A notification is
	// answered by nil. It is called from goroutines of its own.
	MCP func(ctx context.Context, server string, msg json.RawMessage) (json.RawMessage, error)
	// HostServers are further servers that MCP answers, beside the host's tools.
	HostServers []string
	// MCPServers run inside, or are reached from there.
	MCPServers []MCPServer
	// Permission says whether the agent may work without asking. The zero value is
	// Bypass, which needs a box that is proven.
	Permission Permission
	// Tool is asked before each tool that the agent uses, its subagents included.
	// Its context ends when nobody waits for the answer any more. What it does not
	// answer in time, or fails to answer, is refused. It is called from goroutines
	// of its own.
	Tool func(ctx context.Context, c ToolCall) ToolVerdict
	// ToolTime is how long Tool may take. 0 is a minute.
	ToolTime time.Duration
	// Compacting is told, before the agent forgets the words of the conversation
	// and keeps a summary, where inside they are written down. It is waited for,
	// for as long as its context lasts. The path comes from inside.
	Compacting func(ctx context.Context, transcript string)
	// Unasked is told what the agent said in turns that nobody asked for, such as
	// when work that it left behind ended. It is called from goroutines of its own,
	// a bounded number of times.
	Unasked func(Unasked)
	// Log gets what nobody else is told. Nil discards it.
	Log *slog.Logger
	// MaxOutput bounds the text of an answer, in bytes. 0 is DefaultMaxOutput.
	MaxOutput int64
}

// Permission says whether an agent may work without asking.
type Permission string

// The permissions.
const (
	// Bypass lets every tool run that Options.Tool does not refuse.
	Bypass Permission = ""
	// AskFirst has the agent itself hold each tool back until Options.Tool lets it
	// pass, so that a check which is lost on the way refuses.
	AskFirst Permission = "ask"
)

// DefaultMaxOutput is the bound on an answer where the grant gives none.
const DefaultMaxOutput = 1 << 20

// Prompt is a message for an agent, and what a turn begins with.
type Prompt struct {
	// UUID names the message. An agent that knows it will not do it again.
	UUID string
	// Text is given to the agent as it is: for Claude the form of FormatPrompt,
	// for Shell the command itself.
	Text string
	// Before are messages that are given first, in order: the agent answers all in
	// one. Shell has none.
	Before []Prompt
	// Command says that Text is a command of the agent itself, one of Commands, and
	// not to be taken as it is written.
	Command bool
}

// Commands are the commands of Claude Code that a message may be, if its sender
// has the right. They read and shorten its conversation, and touch nothing else.
func Commands() []string { return []string{"/compact", "/context", "/cost"} }

// Unasked is what an agent said without having been asked.
type Unasked struct {
	// Origin is what the agent says caused it, Text what it said, bounded.
	Origin, Text string
	// More says that further ones will not be told.
	More bool
}

// ToolCall is an agent's wish to use one of its tools.
type ToolCall struct {
	// ID names the call, in the agent's spelling.
	ID string
	// Name of the tool, such as "Bash".
	Name string
	// Input is the tool's arguments as JSON. It comes from inside.
	Input json.RawMessage
	// Subagent is set if a subagent asks.
	Subagent string
	// Dir is the folder in which the agent says that it works. It comes from inside.
	Dir string
}

// ToolVerdict is the host's answer to a ToolCall.
type ToolVerdict struct {
	// Deny refuses the call, and is shown to the agent. "" lets it pass.
	Deny string
	// Input, if there is one, is what the tool gets in place of the call's own: the
	// very arguments that somebody approved.
	Input json.RawMessage
	// Stop ends the turn after a refusal.
	Stop bool
}

// EventKind says what an Event tells.
type EventKind string

// The kinds of event.
const (
	TextEvent EventKind = "text" // Text is the next piece of the answer
	ToolEvent EventKind = "tool" // the agent uses Tool; Input shows how, in one line
	NoteEvent EventKind = "note" // Text is about the work: a retry, a pause
)

// Event is something that happens during a turn.
type Event struct {
	Kind  EventKind
	Text  string
	Tool  string
	Input string
}

// Result is how a turn ended.
type Result struct {
	// Text is the answer, or what there is of it.
	Text string
	// SessionID resumes this conversation, or "" if it cannot be resumed.
	SessionID string
	// Failed says that the turn did not succeed. Class names the kind of failure,
	// Error tells it in words fit for the owner.
	Failed bool
	Class  Class
	Error  string
	// Retry is when it may be tried again, as far as the agent knows. Zero: it
	// does not say.
	Retry time.Time
	// Raw is what the agent said of its failure, bounded, with what looks like a
	// secret masked. It is for the record, not for a chat.
	Raw string
	// CostUSD and the tokens are this turn's, as the agent claims them.
	CostUSD      float64
	InputTokens  int64
	OutputTokens int64
	ToolCalls    int
	// Interrupted says that the turn ended because it was asked to.
	Interrupted bool
	// Truncated says that Text was cut at MaxOutput.
	Truncated bool
	// Done are messages of the prompt that an earlier process of this conversation
	// had. What they asked for is not done again; their answer may be lost.
	Done []string
	// Unread are messages that the agent never saw, since it was interrupted.
	Unread []string
}

// Errors of a conversation.
var (
	// ErrSession says that the session to resume cannot be had.
	ErrSession = errors.New("the agent does not know this session")
	// ErrBusy says that a turn is already going on.
	ErrBusy = errors.New("the agent is busy with another turn")
	// ErrIdle says that no turn goes on that a message could follow.
	ErrIdle = errors.New("the agent is not at work")
	// ErrClosed says that the conversation was closed.
	ErrClosed = errors.New("the conversation is closed")
)

// Error is why a conversation is over.
type Error struct {
	Class Class
	// Text says what failed, and Detail what the agent wrote about it: the end of
	// its stderr. Both are bounded.
	Text   string
	Detail string
}

// Error gives the text and the last words of the agent.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Text
	}
	return e.Text + ": " + e.Detail
}

// Is makes an Error of class session match ErrSession.
func (e *Error) Is(target error) bool { return target == ErrSession && e.Class == ClassSession }

func (o Options) logger() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

func (o Options) toolTime() time.Duration {
	if o.ToolTime <= 0 {
		return time.Minute
	}
	return o.ToolTime
}

func (o Options) maxOutput() int {
	if o.MaxOutput <= 0 {
		return DefaultMaxOutput
	}
	return int(min(o.MaxOutput, 1<<30))
}
