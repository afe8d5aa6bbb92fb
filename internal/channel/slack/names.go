package slack

import (
	"cmp"
	"context"
	"sync"
	"time"

	api "github.com/slack-go/slack"
)

// maxNames bounds what is remembered.
const maxNames = 5000

// names are how people call themselves, which proves nothing and is only shown. They
// are asked for beside the way of a message, which does not wait: the first one of a
// person has their id.
type names struct {
	ask func(ctx context.Context, user string) string

	mu    sync.Mutex
	known map[string]string
	// asking is the one question that goes on; more wait for the next message.
	asking bool
	work   sync.WaitGroup
}

// of gives a person's name, or their id as long as it is not known.
func (n *names) of(user string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name, ok := n.known[user]; ok {
		return cmp.Or(name, user)
	}
	if n.asking {
		return user
	}
	n.asking = true
	n.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		name := n.ask(ctx, user)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.asking = false
		if n.known == nil || len(n.known) >= maxNames {
			n.known = map[string]string{}
		}
		n.known[user] = name
	})
	return user
}

func (n *names) wait() { n.work.Wait() }

// nameOf asks Slack for a name; "" if it gives none.
func (c *Channel) nameOf(ctx context.Context, user string) string {
	var u *api.User
	if c.call(ctx, "users.info", func(ctx context.Context) (err error) {
		u, err = c.client.GetUserInfoContext(ctx, user)
		return err
	}) != nil {
		return ""
	}
	return cmp.Or(u.Profile.DisplayName, u.RealName, u.Name)
}
