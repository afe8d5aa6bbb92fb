package runner

import (
	"context"
	"fmt"
	"strings"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
)

// happened tells an agent what runs that had its messages, and were cut off, did
// through the host's tools and began through those of MCP servers; "" for nothing. The
// arguments are its own words.
func (r *Runner) happened(ctx context.Context, job queue.Job, s *session) string {
	tried := false
	for _, m := range job.Messages {
		tried = tried || m.Cut != "" || m.Again > 0
	}
	if !tried || s.grant.Agent == grant.Shell {
		return ""
	}
	effects, err := r.Store.Effects(ctx, job.Run)
	if err != nil {
		r.Log.Warn("an agent cannot be told what was done before; it is still not done twice", "run", job.Run, "err", err)
	}
	if len(effects) == 0 {
		return ""
	}
	var host, mcp strings.Builder
	for _, e := range effects {
		b, sure := &host, ""
		if _, _, ok := grant.ServerTool(e.Tool); ok {
			b = &mcp
		} else if !e.Sure {
			sure = " (the host ended meanwhile: it may not have happened, so look before you do it again)"
		}
		at := e.At
		if r.Zone != nil {
			at = at.In(r.Zone)
		}
		fmt.Fprintf(b, "\n- %s at %s%s: %s", e.Tool, at.Format("15:04:05"), sure, e.Brief)
	}
	var out string
	if host.Len() > 0 {
		out = agent.FormatNote("Before work on the messages below was cut off, this was done through the host's tools. It is not to be done again; the same call is answered as done:" + host.String())
	}
	if mcp.Len() > 0 {
		out += agent.FormatNote("Before work on the messages below was cut off, these calls of MCP tools were begun, the last ones last. The host does not know what came of them, and does not keep them from being made again: where a call changes something, look whether it happened before you make it once more:" + mcp.String())
	}
	return out
}

// pushedOut tells an agent that it does not get all that was said to others.
func pushedOut(job queue.Job, s *session) string {
	if job.Pushed == 0 || s.grant.Agent == grant.Shell {
		return ""
	}
	return agent.FormatNote(fmt.Sprintf("%d earlier messages that did not call you are left out: only the newest are kept for you (limits.contextMessages).", job.Pushed))
}
