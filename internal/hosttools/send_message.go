package hosttools

import (
	"context"
	_ "embed"
	"encoding/json"
	"strings"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
)

//go:embed send_message.md
var sendMessageText string

// maxText bounds the text of one message, in bytes.
const maxText = 64 << 10

func sendMessage() tool {
	return tool{
		name: "send_message", description: sendMessageText, act: authority.Send, effect: true,
		schema: object(map[string]string{
			"text":  "The message, as the people in the chat will read it.",
			"group": "The group to send to. Left out: the group you are in. Only main may name another.",
			"chat":  "In place of group, a chat as CHANNEL:CHAT. Only main may name one. If it belongs to no group, the owner is asked first.",
		}, "text"),
		judge: judgeSend,
	}
}

// sent is what the audit keeps of a message: its whole text is in the outbox.
type sent struct {
	Group chat.Group `json:"group,omitempty"`
	Chat  string     `json:"chat,omitempty"`
	Bytes int        `json:"bytes"`
	Text  string     `json:"text,omitempty"`
}

func judgeSend(ctx context.Context, s *Server, raw json.RawMessage) (act, error) {
	var args struct {
		Text  string `json:"text"`
		Group string `json:"group"`
		Chat  string `json:"chat"`
	}
	if err := parse(raw, &args); err != nil {
		return act{}, err
	}
	note := sent{Group: s.id.Group, Bytes: len(args.Text), Text: clip(args.Text, 2000)}
	if args.Group != "" {
		note.Group = chat.Group(clip(args.Group, 100))
	}
	if args.Chat != "" {
		note.Group, note.Chat = "", clip(args.Chat, 200)
	}
	a := act{note: note}
	if err := fitText(args.Text); err != nil {
		return a, err
	}
	if args.Chat != "" {
		if args.Group != "" {
			return a, refuse("group and chat are both given: name one of them")
		}
		return judgeChat(ctx, s, a, args.Chat, args.Text)
	}
	to, err := target(ctx, s, args.Group)
	if err != nil {
		return a, err
	}
	a.do = func(ctx context.Context) (string, error) {
		if err := s.host.Send(ctx, s.id, to, args.Text); err != nil {
			return "", err
		}
		return "Sent to " + string(to) + ".", nil
	}
	return a, nil
}

func fitText(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return refuse("text is missing: there is nothing to send")
	case len(text) > maxText:
		return refuse("the text is %d bytes, more than the %d that one message may have: send it in parts, or as a file in the workspace", len(text), maxText)
	}
	return nil
}

// target decides where a message may go. A group that names another learns nothing of whether
// that one exists.
func target(ctx context.Context, s *Server, name string) (chat.Group, error) {
	own := s.id.Group
	if name == "" || name == string(own) {
		return own, nil
	}
	if err := s.may(authority.Send.Toward(s.who(), chat.Group(name))); err != nil {
		return "", refuse("%v: leave out group to send to your own chat, or ask the owner", err)
	}
	groups, err := s.host.Groups(ctx)
	if err != nil {
		return "", err
	}
	var names []string
	for _, g := range groups {
		if string(g.Name) == name {
			return g.Name, nil
		}
		names = append(names, string(g.Name))
	}
	return "", refuse("there is no group %q: there are %s", clip(name, 100), clip(strings.Join(names, ", "), 2000))
}
