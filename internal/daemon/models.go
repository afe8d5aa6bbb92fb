package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/egress"
)

// models are where sessions ask their model, by provider; "" is the configuration's
// own. Credentials live here and in the gateway, and nowhere else in the daemon.
type models struct {
	loading sync.Mutex // one load at a time

	mu sync.Mutex
	by map[string]*egress.Upstream // without an entry: no model
	// told are those whose owner knows that they have to log in again, and tells how
	// often that was said.
	told  map[*egress.Upstream]bool
	tells int
}

// of gives a provider's upstream, nil if there is no model.
func (m *models) of(provider string) *egress.Upstream {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.by[provider]
}

// has says whether the configuration's own model can be asked, and which providers.
func (m *models) has() (own bool, providers []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.by)) {
		if name != "" {
			providers = append(providers, name)
		}
	}
	return m.by[""] != nil, providers
}

// use takes new upstreams in place of the old ones.
func (m *models) use(by map[string]*egress.Upstream) {
	m.mu.Lock()
	old := m.by
	m.by, m.told = by, map[*egress.Upstream]bool{}
	m.mu.Unlock()
	for name, u := range old {
		if by[name] != u {
			u.Close()
		}
	}
}

func (m *models) close() { m.use(nil) }

// tell says whether the owner has to be told about an upstream, once, with a number
// that no other telling has.
func (m *models) tell(u *egress.Upstream) (n int, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.told[u] || !slices.Contains(slices.Collect(maps.Values(m.by)), u) {
		return 0, false
	}
	m.told[u] = true
	m.tells++
	return m.tells, true
}

// loadModels finds out where the models are, with the credentials that are stored
// now. What did not change stays, so that no token is renewed twice.
func (d *Daemon) loadModels() error {
	d.models.loading.Lock()
	defer d.models.loading.Unlock()
	store := credential.New(d.opt.Paths, d.opt.Getenv)
	if did, err := store.Migrate(); err != nil {
		d.log.Warn("the stored credential stays as an earlier version left it", "err", err)
	} else if did {
		d.log.Info("the stored credential is encrypted now", "key", store.KeyPlace())
	}
	by := map[string]*egress.Upstream{}
	for _, name := range append(slices.Sorted(maps.Keys(d.config.Providers)), "") {
		stored, err := store.Load(name)
		if err != nil {
			return err
		}
		if stored != nil {
			d.mask.Learn(stored.Value, stored.Refresh)
		}
		if old := d.models.of(name); old != nil && old.Holds(stored) {
			by[name] = old
			continue
		}
		m := d.config.Model
		if name != "" {
			m = d.config.Providers[name]
		}
		u, err := egress.NewUpstream(egress.Source{
			Provider: name, Model: m, Getenv: d.opt.Getenv, Stored: stored,
			Renewed: func(old, next credential.Credential) error { return d.renewed(store, name, old, next) },
		})
		if err != nil {
			return err
		}
		if u != nil {
			by[name] = u
		}
	}
	d.models.use(by)
	return nil
}

// renewed stores a token that was exchanged for a stored one.
func (d *Daemon) renewed(store *credential.Store, provider string, old, next credential.Credential) error {
	d.mask.Learn(next.Value, next.Refresh)
	err := store.Renew(provider, old, next)
	switch {
	case errors.Is(err, credential.ErrChanged):
		go func() {
			if err := d.loadModels(); err != nil {
				d.log.Error("the credential that was stored meanwhile cannot be used", "err", err)
			}
		}()
	case err != nil:
		d.log.Error("a renewed token could not be stored; it is lost when nanoclaw ends", "provider", provider, "err", err)
	}
	return err
}

// Credentials takes up what "nanoclaw login" or "logout" changed, and nothing else
// of the configuration. Sessions that are alive use it from their next request on.
func (d *Daemon) Credentials(ctx context.Context) (map[string]string, error) {
	d.acted(ctx, "credentials", "")
	if err := d.loadModels(); err != nil {
		return nil, err
	}
	d.tryTroubles(ctx, agent.ClassCredential, agent.ClassExpired, agent.ClassBilling)
	now := map[string]string{"": d.models.of("").String()}
	for name := range d.config.Providers {
		now[name] = d.models.of(name).String()
	}
	return now, nil
}

// loginNeeded tells the owner, once for each credential, that it is not accepted.
func (d *Daemon) loginNeeded(u *egress.Upstream, text string) {
	n, first := d.models.tell(u)
	if !first {
		return
	}
	d.log.Error("a model does not accept the credential", "upstream", u)
	d.tellOwner(context.Background(), fmt.Sprintf("login:%d:%d", d.started.UnixNano(), n), text)
	d.outbox.Wake()
}
