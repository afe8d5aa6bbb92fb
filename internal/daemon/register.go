package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/hosttools"
)

// AskToRegister tells the owner which group main's agent wants, with the command that
// makes it. The daemon does not write the configuration, also not on a yes: that only
// the owner writes it is what its fingerprint stands for (decisions/0003). The same
// wish is told once a day.
func (h *toolHost) AskToRegister(ctx context.Context, from hosttools.Identity, g hosttools.NewGroup) (string, error) {
	to, err := h.d.chatOf(chat.Main)
	if err != nil {
		return "", err
	}
	command := fmt.Sprintf("nanoclaw group add %s --chat %s --trigger %s", g.Name, g.Chat, g.Trigger)
	sum := sha256.Sum256([]byte(command))
	_, err = h.d.outbox.Put(ctx, chat.Outbound{
		To: to, Kind: chat.Notice, Run: from.Run(), Group: chat.Main,
		Key:  "register:" + time.Now().UTC().Format(time.DateOnly) + ":" + hex.EncodeToString(sum[:8]),
		Text: fmt.Sprintf("The agent of %s asks for a new group %s with the chat %s. If you want it, run this in a terminal and restart nanoclaw:\n%s", from.Group, g.Name, g.Chat, command),
	})
	if err != nil {
		return "", err
	}
	h.d.outbox.Wake()
	return fmt.Sprintf("Not registered yet: the owner is asked. They have the command that makes the group %s, and only they can run it.", g.Name), nil
}
