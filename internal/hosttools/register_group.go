package hosttools

import (
	"context"
	_ "embed"
	"encoding/json"
	"strings"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
)

//go:embed register_group.md
var registerGroupText string

// Registrar brings the wish for a new group before the owner.
type Registrar interface {
	// AskToRegister tells the owner what is to be registered, and how they do it. Only
	// they write the configuration, in which groups are. It gives the words for the
	// agent.
	AskToRegister(ctx context.Context, from Identity, g NewGroup) (string, error)
}

// NewGroup is a group that an agent wants. Each field is one plain word: it becomes a
// part of a command that a person is shown.
type NewGroup struct {
	Name    chat.Group `json:"name"`
	Chat    string     `json:"chat"`
	Trigger string     `json:"trigger"`
}

func registerGroup() tool {
	return tool{
		name: "register_group", description: registerGroupText, act: authority.GroupRegister, asks: true,
		schema: object(map[string]string{
			"jid":     "The chat, as CHANNEL:CHAT.",
			"name":    "How people call the group.",
			"folder":  "The group's own short name, of a-z, 0-9, - and _, such as family-chat.",
			"trigger": `"mention" (default): messages that call the assistant. "always": every message.`,
		}, "jid", "folder"),
		judge: judgeRegister,
	}
}

func judgeRegister(ctx context.Context, s *Server, raw json.RawMessage) (act, error) {
	var args struct {
		Chat    string `json:"jid"`
		Name    string `json:"name"`
		Folder  string `json:"folder"`
		Trigger string `json:"trigger"`
	}
	if err := parse(raw, &args); err != nil {
		return act{}, err
	}
	a := act{note: NewGroup{Name: chat.Group(clip(args.Folder, 100)), Chat: clip(args.Chat, 200), Trigger: clip(args.Trigger, 40)}}
	name, err := chat.ParseGroup(args.Folder)
	if err != nil {
		return a, refuse("%s", clip(err.Error(), 200))
	}
	if _, err := chat.ParseAddress(args.Chat); err != nil || !plain(args.Chat) {
		return a, refuse("%q is no chat: name it as CHANNEL:CHAT", clip(args.Chat, 200))
	}
	if args.Trigger != "always" {
		args.Trigger = "mention"
	}
	groups, err := s.host.Groups(ctx)
	if err != nil {
		return a, err
	}
	for _, g := range groups {
		if g.Name == name {
			return a, refuse("there is a group %s already", name)
		}
	}
	want := NewGroup{Name: name, Chat: args.Chat, Trigger: args.Trigger}
	a.do = func(ctx context.Context) (string, error) { return s.host.AskToRegister(ctx, s.id, want) }
	return a, nil
}

// plain says that a word means nothing to a shell, nor to a reader but what it shows.
func plain(s string) bool {
	return len(s) <= 200 && !strings.HasPrefix(s, "-") &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.@+:_-") == ""
}
