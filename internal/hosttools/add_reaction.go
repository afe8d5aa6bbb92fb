package hosttools

import (
	"context"
	_ "embed"
	"encoding/json"
	"slices"
	"strings"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
)

//go:embed add_reaction.md
var addReactionText string

func addReaction() tool {
	return tool{
		name: "add_reaction", description: addReactionText, act: authority.Send, effect: true,
		schema: object(map[string]string{"emoji": "One of " + strings.Join(chat.Reactions, " ") + "."}, "emoji"),
		judge:  judgeReaction,
	}
}

// reacted is what the audit keeps of a reaction.
type reacted struct {
	Emoji string `json:"emoji"`
}

func judgeReaction(_ context.Context, s *Server, raw json.RawMessage) (act, error) {
	var args struct {
		Emoji string `json:"emoji"`
	}
	if err := parse(raw, &args); err != nil {
		return act{}, err
	}
	a := act{note: reacted{clip(args.Emoji, 40)}}
	// With and without the mark that asks for a picture it is the same one.
	emoji := strings.TrimSuffix(strings.TrimSpace(args.Emoji), "\ufe0f")
	if !slices.Contains(chat.Reactions, emoji) {
		return a, refuse("emoji has to be one of %s", strings.Join(chat.Reactions, " "))
	}
	a.do = func(ctx context.Context) (string, error) { return s.host.React(ctx, s.id, emoji) }
	return a, nil
}
