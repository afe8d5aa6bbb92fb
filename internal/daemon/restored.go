package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/backup"
)

// noteRestored records that the folders come from a backup, tells the owner, and
// removes the note of it. What happened after the backup is not in the log, so the
// log has to say where its gap is.
func (d *Daemon) noteRestored(ctx context.Context) error {
	path := filepath.Join(d.opt.Paths.DataDir, backup.MarkerFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var m backup.Marker
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%s: %w\nfix: remove it; it only says that a backup was restored", path, err)
	}
	err = d.store.Record(ctx, audit.Entry{At: time.Now(), Kind: audit.StoreRestored, Data: audit.StoreRestoredData{
		Made: m.Backup.Made, Version: m.Backup.Version, Restored: m.Restored,
	}})
	if err != nil {
		return err
	}
	d.tellOwner(ctx, "restored:"+m.Restored.Format(time.RFC3339Nano), fmt.Sprintf(
		"Everything comes from the backup of %s. Messages since then are not here, and one that waited to be sent at that time is sent now.",
		m.Backup.Made.Local().Format(time.DateTime)))
	return os.Remove(path)
}
