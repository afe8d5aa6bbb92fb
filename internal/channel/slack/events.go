package slack

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	api "github.com/slack-go/slack"

	"nanoclaw/internal/chat"
)

// message is a message as events and the history have it.
// Source: docs.slack.dev/reference/events/message.
type message struct {
	Type       string   `json:"type"`
	SubType    string   `json:"subtype"`
	User       string   `json:"user"`
	Team       string   `json:"team"`
	UserTeam   string   `json:"user_team"`
	SourceTeam string   `json:"source_team"`
	BotID      string   `json:"bot_id"`
	Username   string   `json:"username"`
	Text       string   `json:"text"`
	TS         string   `json:"ts"`
	Thread     string   `json:"thread_ts"`
	ParentUser string   `json:"parent_user_id"`
	Channel    string   `json:"channel"`
	Kind       string   `json:"channel_type"`
	Files      []upload `json:"files"`
}

// upload is a file of a message.
type upload struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	MimeType string `json:"mimetype"`
	Size     int64  `json:"size"`
	Mode     string `json:"mode"`
}

// spoken are the subtypes of messages in which somebody says something. Edits,
// deletions, joins and all that may come later are none.
var spoken = map[string]bool{"": true, "file_share": true, "thread_broadcast": true, "me_message": true, "bot_message": true}

// maxFiles is how many files of one message are looked at.
const maxFiles = 20

// read makes a message of an envelope. It is false for what is none.
func (c *Channel) read(e envelope) (chat.Inbound, bool) {
	switch e.Type {
	case "events_api":
		var p struct {
			Team  string  `json:"team_id"`
			Event message `json:"event"`
		}
		if json.Unmarshal(e.Payload, &p) != nil || p.Event.Type != "message" {
			return chat.Inbound{}, false
		}
		return c.inbound(p.Team, p.Event)
	case "interactive":
		return c.pressed(e.Payload)
	}
	return chat.Inbound{}, false
}

// inbound makes our form of a message. Whether anybody listens to its sender is the
// router's matter.
func (c *Channel) inbound(team string, m message) (chat.Inbound, bool) {
	if !spoken[m.SubType] || m.TS == "" || m.Channel == "" {
		return chat.Inbound{}, false
	}
	me := c.who()
	thread := m.Thread
	if thread == m.TS { // the message that the thread hangs on
		thread = ""
	}
	in := chat.Inbound{
		From: address(me.team, m.Channel, thread), ID: chat.MessageID(m.TS), Sender: c.sender(me, team, m),
		Text: c.plain(m.Text), Sent: moment(m.TS),
		// A direct message calls the agent; elsewhere a mention of its user does, and a
		// reply in the thread under a message of its own.
		Mentioned: m.Kind == "im" || strings.Contains(m.Text, "<@"+me.user+">") || strings.Contains(m.Text, "<@"+me.user+"|") ||
			thread != "" && m.ParentUser == me.user && me.user != "",
	}
	for i, f := range m.Files {
		if i == maxFiles {
			break
		}
		if f.ID != "" && f.Mode != "tombstone" {
			in.Files = append(in.Files, chat.File{Name: f.Name, Type: f.MimeType, Size: f.Size, Ref: f.ID})
		}
	}
	return in, true
}

// sender is who wrote a message, as Slack proves it. team is the workspace that the
// event was sent to.
func (c *Channel) sender(me identity, team string, m message) chat.Sender {
	for _, t := range []string{m.Team, m.SourceTeam, m.UserTeam} { // the last is the surest
		if t != "" {
			team = t
		}
	}
	if team == me.team && m.User == me.user && me.user != "" || m.BotID != "" && m.BotID == me.bot {
		return chat.Sender{ID: senderID(me.team, me.user), Self: true}
	}
	if m.BotID != "" || m.SubType == "bot_message" || m.User == "" {
		return chat.Sender{ID: senderID(team, "bot:"+m.BotID), Name: m.Username}
	}
	return chat.Sender{ID: senderID(team, m.User), Name: c.names.of(m.User)}
}

// moment reads a time stamp of Slack's: seconds, a dot, and a number that makes it
// unique.
func moment(ts string) time.Time {
	seconds, fraction, _ := strings.Cut(ts, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}
	}
	micros, _ := strconv.ParseInt((fraction + "000000")[:6], 10, 64)
	return time.Unix(s, micros*1000)
}

var unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// plain gives what a person reads of a text in Slack's form: <@U1> is a mention,
// <#C1|name> a channel, <!here> a broadcast, <https://…|words> a link.
func (c *Channel) plain(text string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "<")
		out.WriteString(unescape.Replace(before))
		if !found {
			return out.String()
		}
		inside, after, closed := strings.Cut(rest, ">")
		if !closed {
			out.WriteString("<" + unescape.Replace(rest))
			return out.String()
		}
		out.WriteString(unescape.Replace(c.reference(inside)))
		text = after
	}
}

// reference is what stands between < and >.
func (c *Channel) reference(s string) string {
	if s == "" {
		return "<>"
	}
	target, words, _ := strings.Cut(s, "|")
	switch target[:1] {
	case "@":
		if target[1:] == c.who().user {
			return "@" + c.opt.Assistant()
		}
		if words == "" {
			words = c.names.of(target[1:])
		}
		return "@" + words
	case "#":
		if words == "" {
			words = target[1:]
		}
		return "#" + words
	case "!":
		if words == "" {
			words = "@" + strings.TrimPrefix(strings.TrimPrefix(target[1:], "subteam^"), "date^")
		}
		return words
	}
	if words == "" || words == target || strings.HasSuffix(target, "://"+words) || strings.HasSuffix(target, ":"+words) {
		return target
	}
	return words + " (" + target + ")"
}

// The buttons of a question.
const (
	pressApprove = "nanoclaw_approve"
	pressDeny    = "nanoclaw_deny"
)

// pressed makes of a pressed button the words that it stands for, said by whoever
// pressed it. So a button can do nothing that words cannot, and the same rules hold.
func (c *Channel) pressed(payload json.RawMessage) (chat.Inbound, bool) {
	var p api.InteractionCallback
	if json.Unmarshal(payload, &p) != nil || p.Type != api.InteractionTypeBlockActions || len(p.ActionCallback.BlockActions) == 0 {
		return chat.Inbound{}, false
	}
	a := p.ActionCallback.BlockActions[0]
	words := map[string]string{pressApprove: "approve ", pressDeny: "deny "}[a.ActionID]
	id := p.Container.ChannelID
	if id == "" {
		id = p.Channel.ID
	}
	if words == "" || a.Value == "" || p.User.ID == "" || id == "" {
		return chat.Inbound{}, false
	}
	team := p.User.TeamID
	if team == "" {
		team = p.Team.ID
	}
	return chat.Inbound{
		From:   address(c.who().team, id, p.Container.ThreadTs),
		ID:     chat.MessageID("press:" + a.ActionTs + ":" + p.User.ID),
		Sender: chat.Sender{ID: senderID(team, p.User.ID), Name: p.User.Name},
		Text:   words + a.Value, Sent: moment(a.ActionTs),
	}, true
}
