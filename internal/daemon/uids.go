package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/store"
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
	r, err := recordedRange(ctx, d.store, d.log)
	if err == nil {
		d.uidsKnown = r
	}
	return r, err
}

// GroupUID is whom a group's folders belong to: its own uid if we are root, else 0. It
// is for whoever has the store open in place of a daemon.
func GroupUID(ctx context.Context, s *store.Store, g chat.Group, log *slog.Logger) (int, error) {
	if os.Geteuid() != 0 {
		return 0, nil
	}
	r, err := recordedRange(ctx, s, log)
	if err != nil {
		return 0, err
	}
	return s.UID(ctx, g, r.First, r.Count)
}

// recordedRange reads the range, and chooses it the first time.
func recordedRange(ctx context.Context, s *store.Store, log *slog.Logger) (boundary.UIDs, error) {
	const key = "uid.range"
	text, err := s.Meta(ctx, key)
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
		if err := s.SetMeta(ctx, key, fmt.Sprintf("%d %d", r.First, r.Count)); err != nil {
			return boundary.UIDs{}, err
		}
		log.Info("groups get uids of their own", "range", r)
	}
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
