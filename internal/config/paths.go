package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// fileName is the configuration file in its folder.
const fileName = "config.jsonc"

// Paths are the places of one installation.
type Paths struct {
	// Config is the file.
	Config string `json:"config"`
	// ConfigDir holds it, DataDir the store, the groups and the audit log, and
	// RuntimeDir the control socket.
	ConfigDir  string `json:"config_dir"`
	DataDir    string `json:"data_dir"`
	RuntimeDir string `json:"runtime_dir"`
	// KeyDir holds the key of the stored credentials and nothing else, apart from
	// them, so that who copies or backs up the other folders does not get it too.
	// It is made when a credential is stored.
	KeyDir string `json:"key_dir"`
}

// Private are all of them: no agent may ever see what they hold.
func (p Paths) Private() []string {
	return slices.DeleteFunc([]string{p.ConfigDir, p.DataDir, p.RuntimeDir, p.KeyDir}, func(dir string) bool { return dir == "" })
}

// Locate says where everything is. In this order:
//
//   - NANOCLAW_HOME holds everything: config/, data/, run/ and key/;
//   - root, and with NANOCLAW_SYSTEM the system user of root's service, has /etc/nanoclaw, /var/lib/nanoclaw, /run/nanoclaw
//     and /var/lib/nanoclaw-key;
//   - anybody else has nanoclaw/ under XDG_CONFIG_HOME (~/.config),
//     XDG_DATA_HOME (~/.local/share), XDG_STATE_HOME (~/.local/state, for the key)
//     and XDG_RUNTIME_DIR; without the last, run/ in the data folder. As the XDG
//     base directory specification says, a relative value counts as not set.
//
// It only looks at variables; EnsureDirs makes the folders.
func Locate(o Options) (Paths, error) {
	getenv := o.Getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	if home := getenv("NANOCLAW_HOME"); home != "" {
		if !filepath.IsAbs(home) {
			return Paths{}, fmt.Errorf("NANOCLAW_HOME is %s, which is not an absolute path\nfix: export NANOCLAW_HOME=\"$(realpath %s)\"",
				quote(home), shellQuote(home))
		}
		return pathsAt(filepath.Join(home, "config"), filepath.Join(home, "data"), filepath.Join(home, "run"), filepath.Join(home, "key")), nil
	}
	if o.UID == 0 || getenv("NANOCLAW_SYSTEM") != "" {
		return pathsAt("/etc/nanoclaw", "/var/lib/nanoclaw", "/run/nanoclaw", "/var/lib/nanoclaw-key"), nil
	}
	home := getenv("HOME")
	xdg := func(name string, fallback ...string) string {
		if dir := getenv(name); filepath.IsAbs(dir) {
			return filepath.Join(dir, "nanoclaw")
		}
		if len(fallback) == 0 || !filepath.IsAbs(home) {
			return ""
		}
		return filepath.Join(append([]string{home}, append(fallback, "nanoclaw")...)...)
	}
	config, data := xdg("XDG_CONFIG_HOME", ".config"), xdg("XDG_DATA_HOME", ".local", "share")
	key := xdg("XDG_STATE_HOME", ".local", "state")
	if config == "" || data == "" {
		return Paths{}, errors.New("HOME is not set to an absolute path, so there is no place for the configuration\nfix: set HOME or NANOCLAW_HOME")
	}
	if key == "" {
		key = data + "-key"
	}
	run := xdg("XDG_RUNTIME_DIR")
	if run == "" {
		run = filepath.Join(data, "run")
	}
	return pathsAt(config, data, run, key), nil
}

func pathsAt(config, data, run, key string) Paths {
	config = filepath.Clean(config)
	return Paths{filepath.Join(config, fileName), config, filepath.Clean(data), filepath.Clean(run), filepath.Clean(key)}
}

// EnsureDirs makes the folders but KeyDir, and parents that are missing, with mode
// 0700. Folders that are there must belong to the user of this process; what
// others may do in them is taken away. A parent that others can change is
// refused as Load refuses it.
func (p Paths) EnsureDirs() error { return p.ensure(os.Geteuid()) }

func (p Paths) ensure(uid int) error {
	for _, dir := range []string{p.ConfigDir, p.DataDir, p.RuntimeDir} {
		if err := ensureDir(dir, uid); err != nil {
			return fmt.Errorf("folder %s: %w", dir, err)
		}
	}
	return nil
}

func ensureDir(dir string, uid int) error {
	real, err := walk(dir, uid, func(missing string) error {
		err := os.Mkdir(missing, 0o700)
		if errors.Is(err, fs.ErrExist) {
			return nil // somebody was quicker; walk looks at what it is
		}
		return err
	})
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w\nfix: let uid %d write there, or choose another place with NANOCLAW_HOME (for the runtime folder: unset XDG_RUNTIME_DIR)", err, uid)
	}
	if err != nil {
		return err
	}
	d, err := os.OpenFile(real, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return err
	}
	if owner := ownerOf(info); owner != uid {
		return &insecureError{real, fmt.Sprintf("belongs to uid %d and not to us", owner),
			fmt.Sprintf("sudo chown %d %s, or choose another place with NANOCLAW_HOME", uid, shellQuote(real))}
	}
	if info.Mode().Perm()&0o077 != 0 {
		return d.Chmod(0o700)
	}
	return nil
}
