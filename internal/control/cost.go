package control

import (
	"context"
	"time"

	"nanoclaw/internal/chat"
)

// CostQuery chooses what Cost tells of.
type CostQuery struct {
	Group  chat.Group `json:"group,omitempty"`
	Sender string     `json:"sender,omitempty"`
	// Since is the first day; zero is today.
	Since time.Time `json:"since,omitzero"`
}

// Cost is what models cost, and what the budgets of today have left.
type Cost struct {
	Day     string       `json:"day"`
	Lines   []CostLine   `json:"lines"`
	Budgets []CostBudget `json:"budgets"`
}

// CostLine is what was used on one day for one group, sender and model. Runs that
// go on are not in it. Money is in millionths of a dollar.
type CostLine struct {
	Day    string     `json:"day"`
	Group  chat.Group `json:"group"`
	Sender string     `json:"sender,omitempty"`
	Task   string     `json:"task,omitempty"`
	Model  string     `json:"model,omitempty"`
	Runs   int        `json:"runs"`

	Input      int64 `json:"input"`
	CacheRead  int64 `json:"cacheRead"`
	CacheWrite int64 `json:"cacheWrite"`
	Output     int64 `json:"output"`

	Micros int64 `json:"micros"`
	// Unpriced are those of the tokens whose price nobody knows: they are not in
	// Micros.
	Unpriced int64 `json:"unpriced,omitempty"`
}

// Tokens are all of them.
func (l CostLine) Tokens() int64 { return l.Input + l.CacheRead + l.CacheWrite + l.Output }

// CostBudget is an account of today. What has no bound is 0.
type CostBudget struct {
	Account string `json:"account"`
	// Runs of MaxRuns are used.
	Runs    int `json:"runs"`
	MaxRuns int `json:"maxRuns,omitempty"`
	// Micros and Tokens are used or set aside by runs that go on; the maxima hold
	// what the owner added for today.
	Micros    int64 `json:"micros"`
	MaxMicros int64 `json:"maxMicros,omitempty"`
	Tokens    int64 `json:"tokens"`
	MaxTokens int64 `json:"maxTokens,omitempty"`
	// Extended says that the owner added something.
	Extended bool `json:"extended,omitempty"`
}

// Cost tells what models cost.
func (c *Client) Cost(ctx context.Context, q CostQuery) (Cost, error) {
	return call[Cost](ctx, c, "cost", q)
}
