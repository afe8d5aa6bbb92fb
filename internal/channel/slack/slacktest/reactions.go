package slacktest

import (
	"net/url"
	"slices"
)

// known are the names of emoji that the workspace has, as Slack calls them.
var known = map[string]string{
	"+1": "👍", "-1": "👎", "heart": "❤", "fire": "🔥", "clap": "👏", "grin": "😁",
	"thinking_face": "🤔", "tada": "🎉", "eyes": "👀", "pray": "🙏", "ok_hand": "👌", "100": "💯",
}

// Reactions are what the bot gave, as CHANNEL/TS EMOJI, in the order of their giving.
func (s *Server) Reactions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reactions)
}

func (s *Server) reactLocked(f url.Values) map[string]any {
	if !slices.ContainsFunc(s.messages, func(m Message) bool { return m.Channel == f.Get("channel") && m.TS == f.Get("timestamp") }) {
		return map[string]any{"error": "message_not_found"}
	}
	emoji, ok := known[f.Get("name")]
	given := f.Get("channel") + "/" + f.Get("timestamp") + " " + emoji
	switch {
	case !ok:
		return map[string]any{"error": "invalid_name"}
	case slices.Contains(s.reactions, given):
		return map[string]any{"error": "already_reacted"}
	}
	s.reactions = append(s.reactions, given)
	return map[string]any{}
}
