package telegramtest

import (
	"encoding/json"
	"net/http"
	"slices"
)

// allowed are some of the emoji that Telegram lets bots react with (ReactionTypeEmoji).
var allowed = []string{"❤", "👍", "👎", "🔥", "🥰", "👏", "😁", "🤔", "🤯", "😱", "🎉", "🙏", "👌", "💯", "👀", "🤝"}

// Reactions are what the bot's reactions to messages are, as CHAT/ID EMOJI. A message has
// one of a bot's: another takes its place.
func (s *Server) Reactions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reactions)
}

func (s *Server) reactLocked(r *http.Request) (any, string) {
	var given []struct {
		Type  string `json:"type"`
		Emoji string `json:"emoji"`
	}
	err := json.Unmarshal([]byte(r.FormValue("reaction")), &given)
	if err != nil || len(given) != 1 || given[0].Type != "emoji" || !slices.Contains(allowed, given[0].Emoji) {
		return nil, "REACTION_INVALID"
	}
	to := r.FormValue("chat_id") + "/" + r.FormValue("message_id") + " "
	s.reactions = slices.DeleteFunc(s.reactions, func(old string) bool { return len(old) > len(to) && old[:len(to)] == to })
	s.reactions = append(s.reactions, to+given[0].Emoji)
	return true, ""
}
