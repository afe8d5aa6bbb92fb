package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"nanoclaw/internal/boundary"
)

// uidRange is the recorded range of uids for groups, chosen at the first start
// as root and kept for good: files on disk belong to them. It is judged again
// at each start, since somebody may have given the same ids to others.
func (d *Daemon) uidRange(ctx context.Context) (boundary.UIDs, error) {
	d.uids.Lock()
	defer d.uids.Unlock()
	if d.uidsKnown != (boundary.UIDs{}) {
		return d.uidsKnown, nil
	}
	const key = "uid.range"
	text, err := d.store.Meta(ctx, key)
	if err != nil {
		return boundary.UIDs{}, err
	}
	var recorded boundary.UIDs
	if text != "" {
		if _, err := fmt.Sscanf(text, "%d %d", &recorded.First, &recorded.Count); err != nil {
			return boundary.UIDs{}, fmt.Errorf("the recorded range of uids %q cannot be read: %w", text, err)
		}
	}
	files, err := idFiles()
	if err != nil {
		return boundary.UIDs{}, err
	}
	r, err := boundary.UIDRange(files, recorded)
	if err != nil {
		return boundary.UIDs{}, err
	}
	if text == "" {
		if err := d.store.SetMeta(ctx, key, fmt.Sprintf("%d %d", r.First, r.Count)); err != nil {
			return boundary.UIDs{}, err
		}
		d.log.Info("groups get uids of their own", "range", r)
	}
	d.uidsKnown = r
	return r, nil
}

// idFiles reads in which files this machine says whose ids are whose. One that
// does not exist says nothing.
func idFiles() (boundary.IDFiles, error) {
	var f boundary.IDFiles
	for path, to := range map[string]*string{
		"/etc/passwd": &f.Passwd, "/etc/group": &f.Group, "/etc/subuid": &f.SubUID, "/etc/subgid": &f.SubGID,
	} {
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		*to = string(b)
	}
	return f, nil
}
