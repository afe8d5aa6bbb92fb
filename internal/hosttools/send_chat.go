package hosttools

import (
	"context"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
)

// judgeChat decides about a message to a chat that is named by its address. One
// that belongs to a group is a message to that group; to any other the owner is
// asked, each time. Who may name no chat learns nothing of whether it exists.
func judgeChat(ctx context.Context, s *Server, a act, address, text string) (act, error) {
	v := authority.Decide(authority.SendUnregistered, s.who())
	if v.Outcome == authority.Deny {
		return a, refuse("%s: leave out chat to send to your own, or ask the owner", v.Reason)
	}
	to, err := chat.ParseAddress(address)
	if err != nil {
		return a, refuse("%v", clip(err.Error(), 300))
	}
	group, err := s.host.GroupOf(to)
	if err != nil {
		return a, refuse("%s", clip(err.Error(), 300))
	}
	if group != "" {
		if group, err = target(ctx, s, string(group)); err != nil {
			return a, err
		}
		a.do = func(ctx context.Context) (string, error) {
			return "Sent to " + string(group) + ".", s.host.Send(ctx, s.id, group, text)
		}
		return a, nil
	}
	a.do = func(ctx context.Context) (string, error) { return s.host.AskToSend(ctx, s.id, to, text) }
	return a, nil
}
