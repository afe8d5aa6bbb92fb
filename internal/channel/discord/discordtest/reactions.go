package discordtest

import (
	"slices"
)

// Reactions are what the bot gave, as CHANNEL/ID EMOJI, in the order of their giving.
func (s *Server) Reactions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reactions)
}

// reactLocked answers PUT channels/CHANNEL/messages/ID/reactions/EMOJI/@me.
func (s *Server) reactLocked(part []string) (int, any) {
	if len(part) != 7 || part[4] != "reactions" || part[6] != "@me" {
		return 404, Object{"code": 0}
	}
	if given := part[1] + "/" + part[3] + " " + part[5]; !slices.Contains(s.reactions, given) {
		s.reactions = append(s.reactions, given)
	}
	return 204, nil
}
