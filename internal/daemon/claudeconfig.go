package daemon

import (
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/chat"
)

// prepareClaude makes the configuration folder of Claude Code, which is ours and
// the same for all groups, and the group's own folders in it.
//
// It is written anew where it differs, since a newer version of ours may have
// another. No agent can write there, so its names are what we made.
func (d *Daemon) prepareClaude(g chat.Group, uid int) error {
	if err := d.apart(g); err != nil { // the owner may have made links since the start
		return err
	}
	dir := d.machine.ClaudeConfig
	// Every group's uid reads it; the data folder above is closed to all others.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range agent.ClaudeConfig() {
		path := filepath.Join(dir, name)
		if old, err := os.ReadFile(path); err == nil && string(old) == text {
			continue
		}
		if err := renameio.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	state := d.machine.ClaudeStateDir(g)
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	for _, name := range d.machine.ClaudeState {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil { // where the group's is mounted
			return err
		}
		if err := own(filepath.Join(state, name), uid); err != nil {
			return err
		}
	}
	return nil
}
