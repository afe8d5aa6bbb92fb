package runner

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/grant"
)

// note is what the host itself tells the session's agent before the messages, ""
// for nothing. These are our own words and the owner's configuration; nothing
// from inside is among them. It is part of a message, since Claude Code keeps the
// system prompt of a conversation that it resumes.
func (s *session) note() string {
	if s.grant.Agent == grant.Shell { // it reads no words of ours
		return ""
	}
	var parts []string
	if s.news != "" {
		parts = append(parts, lastEnd(s.news))
	}
	if s.stale {
		parts = append(parts, "What you can touch here has changed since this conversation was last told. What holds now:\n"+s.may)
	}
	if len(parts) == 0 {
		return ""
	}
	return agent.FormatNote(strings.TrimSpace(strings.Join(parts, "\n")))
}

// lastEnd tells the agent why its last session ended.
func lastEnd(why string) string {
	return "Your last session here was ended by the host: " + why + ". What ran in it is gone; files are still there."
}

// told notes that the agent knows why the session before it ended, and that its
// conversation knows what it may touch.
func (r *Runner) told(s *session, conversation string) {
	if s.news != "" {
		s.news = ""
		r.remember(s, "")
	}
	mark := toldMark(conversation, s.may)
	if conversation == "" || mark == s.told {
		return
	}
	s.stale, s.told = false, mark
	if err := r.Store.Told(context.Background(), s.grant.Group, s.thread, mark); err != nil {
		r.log(s).Error("what an agent was told could not be remembered; it is told again", "err", err)
	}
}

// toldMark stands for a conversation that was told a statement.
func toldMark(conversation, statement string) string {
	return fmt.Sprintf("%s %x", conversation, sha256.Sum256([]byte(statement)))
}

// remember keeps why a session ended for the next agent of its conversation.
func (r *Runner) remember(s *session, why string) {
	if err := r.Store.Ended(context.Background(), s.grant.Group, s.thread, why); err != nil {
		r.log(s).Error("why a session ended could not be remembered", "err", err)
	}
}
