package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/hosttools"
	"nanoclaw/internal/router"
)

// AskToRegister tells the owner which group main's agent wants, with the command that
// makes it. The daemon does not write the configuration, also not on a yes: that only
// the owner writes it is what its fingerprint stands for (decisions/0003). The same
// wish is told once a day.
func (h *toolHost) AskToRegister(ctx context.Context, from hosttools.Identity, g hosttools.NewGroup) (string, error) {
	command := fmt.Sprintf("nanoclaw group add %s --chat %s --trigger %s", g.Name, g.Chat, g.Trigger)
	text := fmt.Sprintf("The agent of %s asks for a new group %s with the chat %s. If you want it, run this in a terminal and restart nanoclaw:\n%s", from.Group, g.Name, g.Chat, command)
	if err := h.d.tellRegister(ctx, from.Run(), command, text); err != nil {
		return "", err
	}
	return fmt.Sprintf("Not registered yet: the owner is asked. They have the command that makes the group %s, and only they can run it.", g.Name), nil
}

// tellRegister puts the command that makes a group into the owner's own chat, once a day.
func (d *Daemon) tellRegister(ctx context.Context, run chat.RunID, command, text string) error {
	to, err := d.chatOf(chat.Main)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(command))
	_, err = d.outbox.Put(ctx, chat.Outbound{
		To: to, Kind: chat.Notice, Run: run, Group: chat.Main, Text: text,
		Key: "register:" + time.Now().UTC().Format(time.DateOnly) + ":" + hex.EncodeToString(sum[:8]),
	})
	if err == nil {
		d.outbox.Wake()
	}
	return err
}

// obeyRegister is the owner's wish, in a chat that belongs to no group, to make it one.
// It goes the way of an agent's: the command that does it comes into the owner's own
// chat, and they run it in a terminal. So a message alone gives no rights, also not
// one from a phone that somebody else holds.
func (d *Daemon) obeyRegister(ctx context.Context, c router.Command, who authority.Actor) (string, error) {
	if v := authority.Decide(authority.GroupRegister, who); v.Outcome == authority.Deny {
		return "", errors.New(v.Reason)
	}
	base := who.From.Base()
	switch {
	case who.Group != "":
		return "", fmt.Errorf("this chat belongs to the group %s already", who.Group)
	case strings.ContainsFunc(base.String(), notPlain):
		return "", errors.New("the address of this chat holds characters that a terminal would not take as they are: write it into the configuration")
	}
	g, err := chat.ParseGroup(c.Target)
	if err != nil {
		return "", err
	}
	command := fmt.Sprintf("nanoclaw group add %s --chat %s --trigger mention", g, base)
	if d.router.Rules().Knows(g) {
		return "", fmt.Errorf("there is a group %s: add %q to its chats in the configuration, or choose another name", g, base)
	}
	text := fmt.Sprintf("You asked in the chat %s for a new group %s. To make it, run this in a terminal and restart nanoclaw:\n%s", base, g, command)
	if err := d.tellRegister(ctx, "", command, text); err != nil {
		return "", err
	}
	return fmt.Sprintf("Not registered yet: the command that makes this chat the group %s is in your own chat. Run it in a terminal, and restart nanoclaw.", g), nil
}

// notPlain says of a character that it may mean something to a shell.
func notPlain(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._:/@+=,", r))
}
