package daemon

import (
	"context"
	"errors"

	"nanoclaw/internal/config"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
)

// openStore takes the store that the configuration names. That is read before all else,
// since the rest of a start needs the store.
func (d *Daemon) openStore(ctx context.Context) error {
	var database string
	c, _, err := config.Load(d.opt.Paths.Config, d.configOptions())
	switch {
	case err == nil:
		database, d.nodes.name = c.Database, c.Nodes.Name
	case !errors.Is(err, config.ErrNoConfig):
		return err
	}
	d.store, err = store.Open(ctx, d.opt.Paths.DataDir, store.Options{
		Now:   steps.Now,
		Owner: ownerName(), Database: database, Node: d.nodes.name, Version: d.opt.Version, OnLink: d.linked,
	})
	return err
}

// linked hears that the database cannot be reached, and that it can be again. Changes
// wait for it meanwhile.
func (d *Daemon) linked(lost error) {
	if lost != nil {
		d.log.Warn("the database cannot be reached: what comes in waits for it", "err", lost)
		return
	}
	d.log.Info("the database can be reached again")
}
