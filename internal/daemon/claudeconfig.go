package daemon

import (
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/chat"
)

// prepareClaude makes the configuration folder of a group's Claude Code, which
// is ours, and the group's own folders in it.
//
// It is written anew where it differs, since a newer version of ours may have
// another, and the owner other skills. No agent can write there, so its names
// are what we made.
func (d *Daemon) prepareClaude(g chat.Group, uid int) error {
	if err := d.apart(g); err != nil { // the owner may have made links since the start
		return err
	}
	state, dir := d.machine.ClaudeStateDir(g), d.machine.ClaudeConfigDir(g)
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	// The group's uid reads it; the folders above are closed to all others.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range agent.ClaudeConfig(keepSessions(time.Duration(d.config.Retention.Sessions))) {
		if err := writeDiffering(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, name := range d.machine.ClaudeState {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil { // where the group's is mounted
			return err
		}
		if err := own(filepath.Join(state, name), uid); err != nil {
			return err
		}
	}
	return d.prepareSkills(g)
}

// writeDiffering writes a file of ours if it is not there with this text.
func writeDiffering(path string, text []byte, mode os.FileMode) error {
	if fi, err := os.Lstat(path); err == nil && fi.Mode() == mode && fi.Size() == int64(len(text)) {
		if old, err := os.ReadFile(path); err == nil && string(old) == string(text) {
			return nil
		}
	}
	return renameio.WriteFile(path, text, mode, renameio.WithStaticPermissions(mode))
}
