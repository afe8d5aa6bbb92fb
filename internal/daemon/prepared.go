package daemon

import (
	"context"
	"fmt"

	"nanoclaw/internal/chat"
)

// preparedGroups are the groups that ask for a session before anybody writes.
func (d *Daemon) preparedGroups() []chat.Group {
	var out []chat.Group
	for _, g := range d.groupNames() {
		if d.config.Groups[string(g)].Prepared {
			out = append(out, g)
		}
	}
	return out
}

// unready tells the owner, once, why no session stands ready for a group. Messages
// are answered all the same.
func (d *Daemon) unready(g chat.Group, why string) {
	d.tellOwner(context.Background(), fmt.Sprintf("prepared:%s:%d", g, d.started.UnixNano()),
		fmt.Sprintf("No session stands ready for group %s (groups.%s.prepared): %s\nIts messages are answered all the same, after a start of the agent.", g, g, why))
	d.outbox.Wake()
}
