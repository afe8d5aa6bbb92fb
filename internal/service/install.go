package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"nanoclaw/internal/config"
	"nanoclaw/internal/hostproc"
)

// Install makes the service, lets it begin at each start of the machine, and says
// in words what it changed: nothing, if all of it was there. It does not start it.
func (h Host) Install(ctx context.Context, o Options) (changed []string, err error) {
	u, err := h.Unit(o)
	if err != nil {
		return nil, err
	}
	before, mine, err := h.Installed()
	if err != nil {
		return nil, err
	}
	if before != "" && !mine {
		return nil, fmt.Errorf("%s is there and was not written by nanoclaw\nfix: move it away, and try again", h.File())
	}
	u.Made, _ = ours(before)
	say := func(format string, args ...any) { changed = append(changed, fmt.Sprintf(format, args...)) }
	if u.System {
		if err := h.prepare(ctx, o.Paths, &u, say); err != nil {
			return changed, err
		}
	}
	if u.Manager == Systemd && !u.System && !u.Made.Linger {
		h.linger(ctx, &u, say)
	}
	text, err := u.Text()
	if err != nil {
		return changed, err
	}
	if text != before {
		if err := os.MkdirAll(filepath.Dir(h.File()), 0o755); err != nil {
			return changed, err
		}
		if err := renameio.WriteFile(h.File(), []byte(text), 0o644, renameio.IgnoreUmask()); err != nil {
			return changed, fmt.Errorf("write the unit: %w", err)
		}
		say("wrote %s", h.File())
	}
	if u.Manager == Launchd {
		return changed, nil // launchd finds it at the next login; Start loads it now
	}
	if text != before {
		if _, err := h.act(ctx, hostproc.Reload); err != nil {
			return changed, err
		}
	}
	if h.enabled(ctx) {
		return changed, nil
	}
	if _, err := h.act(ctx, hostproc.Enable); err != nil {
		return changed, err
	}
	say("it begins when the machine does")
	return changed, nil
}

func (h Host) enabled(ctx context.Context) bool {
	s, err := h.show(ctx)
	return err == nil && s["UnitFileState"] == "enabled"
}

// prepare gives a service of the machine its user and folders.
func (h Host) prepare(ctx context.Context, p config.Paths, u *Unit, say func(string, ...any)) error {
	to := Owner{}
	if !u.AsRoot() {
		uid, gid, found, err := h.Lookup(Name)
		if err == nil && !found {
			if _, err = h.Do(ctx, hostproc.AddUser, nil); err == nil {
				u.Made.User = true
				say("made the system user %s, who has no password and no shell", Name)
				uid, gid, found, err = h.Lookup(Name)
			}
			if err == nil && !found {
				err = fmt.Errorf("there is no user %s, although it was made", Name)
			}
		}
		if err != nil {
			return err
		}
		to = Owner{uid, gid}
	}
	return h.giveFolders(p, u.Writable, to, say)
}

// giveFolders makes the folders of an installation and gives them to who runs the
// service.
func (h Host) giveFolders(p config.Paths, dirs []string, to Owner, say func(string, ...any)) error {
	for _, dir := range dirs {
		if dir == p.RuntimeDir && filepath.Dir(dir) == "/run" {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		owner, err := ownerOf(dir)
		if err != nil {
			return err
		}
		if owner == to.UID {
			continue
		}
		if err := h.Chown(dir, Owner{UID: owner}, to); err != nil {
			return fmt.Errorf("give %s to uid %d: %w", dir, to.UID, err)
		}
		say("%s belongs to uid %d now", dir, to.UID)
	}
	return nil
}

// linger lets a user's service run while the user is not logged in. Where that
// cannot be had, the service still runs during a login.
func (h Host) linger(ctx context.Context, u *Unit, say func(string, ...any)) {
	if out, err := h.Do(ctx, hostproc.ShowLinger, nil); err == nil && strings.TrimSpace(out) == "Linger=yes" {
		return
	}
	if _, err := h.Do(ctx, hostproc.Linger, nil); err != nil {
		say("it runs only while you are logged in: %v", err)
		return
	}
	u.Made.Linger = true
	say("your services run while you are not logged in, too (loginctl enable-linger)")
}

// Remove stops the service and undoes what Install did. Folders stay, and belong to
// root again.
func (h Host) Remove(ctx context.Context, p config.Paths) (changed []string, err error) {
	text, mine, err := h.Installed()
	if err != nil || text == "" {
		return nil, err
	}
	if !mine {
		return nil, fmt.Errorf("%s was not written by nanoclaw, and stays", h.File())
	}
	made, _ := ours(text)
	say := func(format string, args ...any) { changed = append(changed, fmt.Sprintf(format, args...)) }
	if err := h.Stop(ctx); err != nil {
		return nil, fmt.Errorf("stop it first: %w", err)
	}
	say("stopped it")
	if h.System != "darwin" {
		if _, err := h.act(ctx, hostproc.Disable); err != nil {
			return changed, err
		}
	}
	if h.UID == 0 {
		if err := h.takeFolders(p, say); err != nil {
			return changed, err
		}
	}
	if made.User {
		if _, err := h.Do(ctx, hostproc.RemoveUser, nil); err != nil {
			return changed, err
		}
		say("removed the system user %s", Name)
	}
	if made.Linger {
		if _, err := h.Do(ctx, hostproc.NoLinger, nil); err != nil {
			return changed, err
		}
		say("your services end with your last login again (loginctl disable-linger)")
	}
	// Last: as long as the unit is there, what is left to do can be read in it.
	if err := os.Remove(h.File()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return changed, err
	}
	say("removed %s", h.File())
	if h.System != "darwin" {
		_, err = h.act(ctx, hostproc.Reload)
	}
	return changed, err
}

// takeFolders gives the folders back to root.
func (h Host) takeFolders(p config.Paths, say func(string, ...any)) error {
	for _, dir := range []string{p.ConfigDir, p.DataDir, p.KeyDir, p.RuntimeDir} {
		owner, err := ownerOf(dir)
		if errors.Is(err, fs.ErrNotExist) || err == nil && owner == 0 {
			continue
		}
		if err != nil {
			return err
		}
		if err := h.Chown(dir, Owner{UID: owner}, Owner{}); err != nil {
			return fmt.Errorf("give %s back to root: %w", dir, err)
		}
		say("%s belongs to root again", dir)
	}
	return nil
}
