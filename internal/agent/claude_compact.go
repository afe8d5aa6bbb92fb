package agent

import (
	"context"
	"encoding/json"
	"time"
)

// compactTimeout is how long Options.Compacting may take. The compaction waits
// for it, and goes on after it in any case.
const compactTimeout = 30 * time.Second

// compacting passes on that the words of the conversation are about to become a
// summary. The answer says nothing: the host has no part in how it is made.
func (c *claude) compacting(ctx context.Context, req controlRequest) any {
	var in hookInput
	if json.Unmarshal(req.Input, &in) != nil || c.o.Compacting == nil || in.Event != "PreCompact" || len(in.Transcript) > 4096 {
		return map[string]any{}
	}
	ctx, cancel := context.WithTimeout(ctx, compactTimeout-5*time.Second)
	defer cancel()
	c.o.Compacting(ctx, in.Transcript)
	return map[string]any{}
}
