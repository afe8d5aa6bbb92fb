package egress

import (
	"fmt"
	"sync/atomic"

	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
)

// budget is what a session may use up, in all or with one host. Bytes are
// counted as they go over the network, handshakes and headers among them.
type budget struct {
	// with is " with HOST:PORT", or "" for the whole session; setting is where the
	// owner sets it.
	with, setting   string
	most            grant.Budget
	up, down, conns atomic.Int64
}

// spentError says in words which budget is used up. It ends a connection.
type spentError struct{ text string }

func (e *spentError) Error() string { return e.text }

// connect takes one connection, if there is one left and bytes for it.
func (b *budget) connect() error {
	if n := b.most.Connections; n > 0 && b.conns.Add(1) > int64(n) {
		return b.spent(fmt.Sprintf("%d connections", n), "connections")
	}
	return b.check()
}

// add counts bytes. The error stands for them: they are not passed on.
func (b *budget) add(up, down int) error {
	b.up.Add(int64(up))
	b.down.Add(int64(down))
	return b.check()
}

func (b *budget) check() error {
	if n := b.most.Upload; n > 0 && b.up.Load() > n {
		return b.spent(config.Size(n).String()+" of upload", "upload")
	}
	if n := b.most.Download; n > 0 && b.down.Load() > n {
		return b.spent(config.Size(n).String()+" of download", "download")
	}
	return nil
}

func (b *budget) spent(what, key string) error {
	return &spentError{fmt.Sprintf("the session used up its %s%s (%s.%s in the configuration)", what, b.with, b.setting, key)}
}

// budgets are those of the session and of the hosts that have one, by the line
// of the grant.
func budgets(o Options) (session *budget, hosts map[string]*budget) {
	hosts = map[string]*budget{}
	for _, h := range o.Hosts {
		if h.Budget != (grant.Budget{}) {
			name := ruleName(h)
			hosts[name] = &budget{with: " with " + name, setting: "egress.hosts", most: h.Budget}
		}
	}
	return &budget{setting: "egress", most: o.Budget}, hosts
}

// spendable says whether the session can still use everything it may.
func (g *Gateway) spendable() bool {
	all := []*budget{g.budget}
	for _, b := range g.hostBudgets {
		all = append(all, b)
	}
	for _, b := range all {
		if n := b.most.Connections; b.check() != nil || n > 0 && b.conns.Load() >= int64(n) {
			return false
		}
	}
	return true
}
