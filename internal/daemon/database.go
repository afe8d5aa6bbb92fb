package daemon

import (
	"errors"

	"nanoclaw/internal/config"
)

// database is the address of the database that the configuration names, "" for none.
// It is read before all else, since the rest of a start needs the store.
func (d *Daemon) database() (string, error) {
	c, _, err := config.Load(d.opt.Paths.Config, d.configOptions())
	if errors.Is(err, config.ErrNoConfig) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return c.Database, nil
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
