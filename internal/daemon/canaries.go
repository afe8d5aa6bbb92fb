package daemon

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/wire"
)

// canariesDir holds, for as long as a probe goes on, a list of the canaries that
// it planted. A daemon that is killed meanwhile leaves both, and the next one
// takes them away.
func (d *Daemon) canariesDir() string { return filepath.Join(d.opt.Paths.DataDir, "canaries") }

const canariesSuffix = ".json"

// plantIn writes down where canaries will be, then plants them.
func (d *Daemon) plantIn(dirs ...string) (canaries []wire.Canary, clear func(), err error) {
	canaries = boundary.NewCanaries(dirs...)
	list := filepath.Join(d.canariesDir(), rand.Text()+canariesSuffix)
	if err := writeList(list, canaries); err != nil {
		return nil, nil, err
	}
	clear = func() { d.clearCanaries(list, canaries) }
	if err := boundary.PlantCanaries(canaries); err != nil {
		clear()
		return nil, nil, err
	}
	return canaries, clear, nil
}

// clearCanaries removes canaries, and then their list. If one cannot be removed
// the next start tries again.
func (d *Daemon) clearCanaries(list string, canaries []wire.Canary) {
	err := boundary.RemoveCanaries(canaries)
	if err == nil {
		err = os.Remove(list)
	}
	if err != nil {
		d.log.Warn("what the probe planted could not be removed", "err", err)
	}
}

// clearOldCanaries removes what probes of earlier processes planted. Whoever has
// the store is alone, so none of them goes on.
func (d *Daemon) clearOldCanaries() {
	lists, err := filepath.Glob(filepath.Join(d.canariesDir(), "*"+canariesSuffix))
	if err != nil {
		return // a fault in the pattern, which is ours
	}
	for _, list := range lists {
		var canaries []wire.Canary
		text, err := os.ReadFile(list)
		if err == nil {
			err = json.Unmarshal(text, &canaries)
		}
		if err != nil { // we ended before it was whole, and nothing was planted
			d.log.Info("a list of canaries is not complete", "list", list, "err", err)
			canaries = nil
		}
		d.clearCanaries(list, canaries)
	}
}

// writeList stores a list. It outlives us; after a power cut the canaries are
// mostly gone too.
func writeList(name string, canaries []wire.Canary) error {
	text, err := json.Marshal(canaries)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}
