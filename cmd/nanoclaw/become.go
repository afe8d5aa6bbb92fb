package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"nanoclaw/internal/config"
	"nanoclaw/internal/service"
)

// asRoot marks verbs that change the machine, or need nothing of the installation,
// and so stay root's.
const asRoot = "root"

func keepsRoot(cmd *cobra.Command) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[asRoot] = "yes"
	return cmd
}

// actAsService makes root at a terminal the system user of the service, if the
// installation is that user's, before anything is read or written. What root wrote
// there the service could not read, and what the service's user wrote root has no
// reason to trust.
func (a *app) actAsService(cmd *cobra.Command) error {
	for c := cmd; c != nil; c = c.Parent() {
		if c.Annotations[asRoot] != "" {
			return nil
		}
	}
	if os.Geteuid() != 0 {
		return nil
	}
	paths, err := a.paths()
	if err != nil {
		return nil // the verb says so, if it needs them
	}
	owner, ok, err := a.serviceUser(paths)
	if err != nil || !ok {
		return err
	}
	if err := a.become(owner.UID, owner.GID); err != nil {
		return fmt.Errorf("this installation belongs to the system user %s: %w", service.Name, err)
	}
	// Its home is nobody's, and root's is not for it.
	getenv := a.getenv
	a.getenv = func(name string) string {
		switch name {
		case "HOME":
			return paths.DataDir
		case "NANOCLAW_SYSTEM":
			return "1"
		}
		return getenv(name)
	}
	return nil
}

// serviceUser is the system user of the service, if the installation is theirs.
func (a *app) serviceUser(p config.Paths) (service.Owner, bool, error) {
	info, err := os.Lstat(p.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return service.Owner{}, false, nil
	}
	if err != nil {
		return service.Owner{}, false, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 {
		return service.Owner{}, false, nil
	}
	uid, gid, found, err := a.services().Lookup(service.Name)
	return service.Owner{UID: uid, GID: gid}, found && uid == int(stat.Uid), err
}
