package control

import (
	"time"

	"nanoclaw/internal/chat"
)

// ServersQuery asks for MCP servers.
type ServersQuery struct {
	// Name and Group are empty for all.
	Name  string     `json:"name,omitempty"`
	Group chat.Group `json:"group,omitempty"`
	// Test starts, or asks, each of them now.
	Test bool `json:"test,omitempty"`
}

// ServerInfo is an MCP server as a group has it, or why it has it not.
type ServerInfo struct {
	Name  string     `json:"name"`
	Group chat.Group `json:"group"`
	// As is how agents know it.
	As string `json:"as"`
	// Transport is "stdio" (inside the agent's boundary), "own" or "http".
	Transport string `json:"transport"`
	// State is "active", "filtered" or "failed", or why the group has no session
	// at all; Reason says why, Fix what to do.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	Fix    string `json:"fix,omitempty"`
	// Secrets are inside the agent's boundary, as the owner accepted.
	Secrets []string `json:"secrets,omitempty"`
	// Checked is when it was looked at, zero if it was not yet.
	Checked time.Time `json:"checked,omitzero"`
	// Says is what it calls itself, Tools its tools with the hash of each
	// definition, Hash that of all, Since when they were first seen so.
	Says  string            `json:"says,omitempty"`
	Hash  string            `json:"hash,omitempty"`
	Tools map[string]string `json:"tools,omitempty"`
	Since time.Time         `json:"since,omitzero"`
	// Pin is the hash of the definitions that were accepted, By who accepted them,
	// and Waiting the tools that are left out until the owner accepts what is said of
	// them. Asks says that the owner is asked about calls.
	Pin     string   `json:"pin,omitempty"`
	By      string   `json:"by,omitempty"`
	Waiting []string `json:"waiting,omitempty"`
	Asks    bool     `json:"asks,omitempty"`
}

// TrustRequest asks what a workspace holds that its agent would obey. With Hash,
// what was shown under it is trusted.
type TrustRequest struct {
	Group chat.Group `json:"group"`
	Hash  string     `json:"hash,omitempty"`
}

// Trust is what a workspace holds that its agent would obey.
type Trust struct {
	Group chat.Group `json:"group"`
	Hash  string     `json:"hash"`
	// Text names each file, with its hash, in a line.
	Text string `json:"text"`
	// Done says that it is trusted as it is now.
	Done bool `json:"done"`
}

// PinRequest asks what waits to be accepted of a server's tools. With Hash, what
// was shown under it is accepted.
type PinRequest struct {
	Name  string     `json:"name"`
	Group chat.Group `json:"group,omitempty"`
	Hash  string     `json:"hash,omitempty"`
}

// Pin is what waits to be accepted: definitions of tools, as they were and are.
// They are the server's words.
type Pin struct {
	Server string `json:"server"`
	// Group is empty where all groups meet the same server.
	Group chat.Group `json:"group,omitempty"`
	Hash  string     `json:"hash"`
	Text  string     `json:"text,omitempty"`
	// Done says that nothing waits any more.
	Done bool `json:"done"`
}
