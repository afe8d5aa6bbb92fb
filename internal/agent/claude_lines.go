package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

const (
	// maxLine bounds one line of Claude Code, in bytes. An image that it reads
	// makes a line of some megabytes.
	maxLine = 32 << 20
	// maxTurn bounds all lines of one turn together.
	maxTurn = 1 << 30
)

var errLineTooLong = errors.New("a line is longer than 32 MiB")

// readLine gives the next line without its end. The slice is the caller's own.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			return nil, errLineTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(line, "\r\n"), nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		default:
			return nil, err
		}
	}
}

// incoming is one line of Claude Code, as far as we look into it. Which fields
// are set depends on the type; what we do not know is ignored.
type incoming struct {
	Type    string `json:"type"`
	Subtype string `json:"subtype"`
	// ParentToolUseID is set on what a subagent says.
	ParentToolUseID string `json:"parent_tool_use_id"`

	// control_request, control_response, control_cancel_request
	RequestID string          `json:"request_id"`
	Request   json.RawMessage `json:"request"`
	Response  json.RawMessage `json:"response"`

	// stream_event, assistant
	Event   streamEvent     `json:"event"`
	Message json.RawMessage `json:"message"`
	Error   json.RawMessage `json:"error"`

	// command_lifecycle
	CommandUUID string `json:"command_uuid"`
	State       string `json:"state"`

	// tool_progress
	ToolName string  `json:"tool_name"`
	Elapsed  float64 `json:"elapsed_time_seconds"`

	// system/api_retry
	Attempt    int     `json:"attempt"`
	MaxRetries int     `json:"max_retries"`
	RetryDelay float64 `json:"retry_delay_ms"`
	Status     int     `json:"error_status"`
}

// streamEvent is one raw event of the Messages API.
type streamEvent struct {
	Type    string `json:"type"`
	Message struct {
		ID string `json:"id"`
	} `json:"message"`
	ContentBlock struct {
		Type string `json:"type"`
	} `json:"content_block"`
	Delta struct {
		Type string `json:"type"`
		Text string `json:"text"`
	} `json:"delta"`
}

// assistantMessage is what an assistant line carries: one content block.
type assistantMessage struct {
	ID      string `json:"id"`
	Content []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	} `json:"content"`
}

// resultLine ends a turn.
type resultLine struct {
	Subtype        string   `json:"subtype"`
	IsError        bool     `json:"is_error"`
	Result         string   `json:"result"`
	Errors         []string `json:"errors"`
	TerminalReason string   `json:"terminal_reason"`
	APIErrorStatus int      `json:"api_error_status"`
	StartupReason  string   `json:"startup_failure_reason"`
	APIErrorType   string   `json:"api_error_type,omitempty"`
	// APIErrorParams tells of a limit of a subscription.
	APIErrorParams struct {
		RateLimit struct {
			ResetsAt int64 `json:"resetsAt,omitempty"` // seconds since 1970
		} `json:"rate_limit_info,omitzero"`
	} `json:"api_error_params,omitzero"`
	MessageUUIDs []string `json:"user_message_uuids"`
	Origin       struct {
		Kind string `json:"kind"`
	} `json:"origin"`
	// Usage is by model, since the last result: of this turn and of turns that
	// nobody asked for before it, subagents included.
	Usage map[string]struct {
		Input       int64   `json:"inputTokens"`
		CacheRead   int64   `json:"cacheReadInputTokens"`
		CacheCreate int64   `json:"cacheCreationInputTokens"`
		Output      int64   `json:"outputTokens"`
		CostUSD     float64 `json:"costUSD"`
	} `json:"model_usage_since_last_result"`
}

// controlRequest is what Claude Code asks of us.
type controlRequest struct {
	Subtype string `json:"subtype"`

	// mcp_message
	Server  string          `json:"server_name"`
	Message json.RawMessage `json:"message"`

	// hook_callback: a hookInput; can_use_tool: the tool's arguments
	CallbackID string          `json:"callback_id"`
	Input      json.RawMessage `json:"input"`

	// can_use_tool
	ToolUseID string `json:"tool_use_id"`
}

// hookInput is what a hook is told.
type hookInput struct {
	Event     string          `json:"hook_event_name"`
	ToolName  string          `json:"tool_name"`
	ToolInput json.RawMessage `json:"tool_input"`
	Cwd       string          `json:"cwd"`
	ToolUseID string          `json:"tool_use_id"`
	AgentID   string          `json:"agent_id"`
	// Transcript is the file of the conversation, inside.
	Transcript string `json:"transcript_path"`
}

// controlResponse answers a request of ours.
type controlResponse struct {
	Subtype   string `json:"subtype"`
	RequestID string `json:"request_id"`
	Error     string `json:"error"`
}
