package why

import (
	"cmp"
	"fmt"
	"strings"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
)

// The payloads that others write in a form of their own, as far as an account
// needs them.
type (
	// started is audit.RunStartedData.
	started struct {
		Trigger struct {
			Kind        string        `json:"kind"`
			Owner       bool          `json:"owner"`
			Terminal    bool          `json:"terminal"`
			From        string        `json:"from"`
			Sender      chat.SenderID `json:"sender"`
			AgentReason string        `json:"agent_reason"`
			Warm        bool          `json:"warm"`
		} `json:"trigger"`
		Mode  string      `json:"mode"`
		Agent string      `json:"agent"`
		Grant grant.Grant `json:"grant"`
	}
	// verdict is audit.ToolCalledData and audit.HostToolCalledData.
	verdict struct {
		Tool    string `json:"tool"`
		Verdict string `json:"verdict"`
		Reason  string `json:"reason"`
	}
	// tried is an egress.Event.
	tried struct {
		Gate    string `json:"gate"`
		Phase   string `json:"phase"`
		Verdict string `json:"verdict"`
		Host    string `json:"host"`
		Port    int    `json:"port"`
		Reason  string `json:"reason"`
		Allow   string `json:"allow"`
		Up      int64  `json:"up"`
		Down    int64  `json:"down"`
	}
)

// name is what was reached. A connection that names no host has been refused.
func (d tried) name() string {
	n := cmp.Or(d.Host, "a connection that names no host")
	if d.Port != 0 {
		n = host(n, d.Port)
	}
	if d.Gate == "model" {
		n += " (the model)"
	}
	return n
}

func host(name string, port int) string { return fmt.Sprintf("%s:%d", name, port) }

func inWorkspace(target string) bool {
	return target == grant.Workspace || strings.HasPrefix(target, "/workspace/")
}
