package imports

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Forms of chats and people of NanoClaw 1 and its fork.
var (
	whatsappChat = regexp.MustCompile(`^[0-9-]{5,40}@(g\.us|s\.whatsapp\.net|lid)$`)
	device       = regexp.MustCompile(`:[0-9]+@`) // 49170:12@s.whatsapp.net
	number       = regexp.MustCompile(`^-?[0-9]{1,20}$`)
	slackChat    = regexp.MustCompile(`^[CDG][A-Z0-9]{8,}$`)
	slackUser    = regexp.MustCompile(`^[UWB][A-Z0-9]{5,20}$`)
	slackTeam    = regexp.MustCompile(`^[TE][A-Z0-9]{5,20}$`)
)

// network is the channel of an old chat, and what is left of its name.
func network(jid string) (channel, rest string) {
	for _, n := range []struct{ prefix, channel string }{{"tg:", "telegram"}, {"dc:", "discord"}, {"slack:", "slack"}} {
		if rest, ok := strings.CutPrefix(jid, n.prefix); ok {
			return n.channel, rest
		}
	}
	switch {
	case strings.Contains(jid, "@"):
		return "whatsapp", jid
	case slackChat.MatchString(jid): // the fork wrote it down as it is
		return "slack", jid
	}
	return "", jid
}

// address is an old chat as the configuration here has it.
func address(jid, team string) (string, error) {
	channel, rest := network(jid)
	switch {
	case channel == "whatsapp" && whatsappChat.MatchString(rest):
		return "whatsapp:" + rest, nil
	case (channel == "telegram" || channel == "discord") && number.MatchString(rest):
		return channel + ":" + rest, nil
	case channel == "slack" && slackChat.MatchString(rest):
		if team == "" {
			return "", errors.New("chats of Slack are named with their workspace here: say --slack-team T…")
		}
		return "slack:" + team + "/" + rest, nil
	case channel == "":
		return "", errors.New("there is no channel for such chats here; docs/adapters.md says how to add one")
	}
	return "", fmt.Errorf("it is no chat of %s", channel)
}

// person is an old sender of a chat as the configuration here has it.
func person(jid, sender, team string) (string, error) {
	channel, _ := network(jid)
	_, rest := network(sender)
	switch {
	case channel == "whatsapp":
		if rest = device.ReplaceAllString(rest, "@"); whatsappChat.MatchString(rest) && !strings.HasSuffix(rest, "@g.us") {
			return "whatsapp:" + rest, nil
		}
	case channel == "telegram" || channel == "discord":
		if number.MatchString(rest) {
			return channel + ":" + rest, nil
		}
	case channel == "slack" && team != "":
		if rest = strings.TrimPrefix(sender, "slack:"); slackUser.MatchString(rest) {
			return "slack:" + team + "/" + rest, nil
		}
	}
	return "", errors.New("it is nobody that a network could prove")
}

// SlackTeam says whether s is the id of a Slack workspace.
func SlackTeam(s string) bool { return slackTeam.MatchString(s) }
