package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
)

// machine gathers what decisions must know of this machine. It is asked once,
// at start.
func machine(o Options, c *config.Config, hasModel bool) grant.Machine {
	home := o.Getenv("HOME")
	if home == "" {
		home, _ = os.UserHomeDir()
	}
	m := grant.Machine{
		OwnerHome: resolved(home),
		GroupsDir: filepath.Join(o.Paths.DataDir, "groups"),
		GlobalDir: filepath.Join(o.Paths.DataDir, "global"),
		Claude:    findClaude(c.Agent.Claude.Path, o.Paths.DataDir, home, o.Getenv("PATH")),
		ClaudeEnv: agent.ClaudeEnv(),
		HasModel:  hasModel,
		TimeZone:  zoneName(o.Getenv("TZ")),
	}
	for _, dir := range []string{o.Paths.ConfigDir, o.Paths.DataDir, o.Paths.RuntimeDir} {
		m.Private = append(m.Private, dir)
		if r := resolved(dir); r != dir {
			m.Private = append(m.Private, r)
		}
	}
	return m
}

// resolved follows symbolic links where the path exists.
func resolved(p string) string {
	if r, err := filepath.EvalSymlinks(p); err == nil {
		return r
	}
	return filepath.Clean(p)
}

// findClaude gives the Claude Code program: the configured one, else the one we
// installed, else "claude" on the owner's PATH. "" if there is none that can
// run inside: a boundary shows the program as one file, so it must be a native
// executable.
func findClaude(configured, data, home, path string) string {
	if configured != "" {
		if rest, ok := bytes.CutPrefix([]byte(configured), []byte("~/")); ok {
			configured = filepath.Join(home, string(rest))
		}
		return native(configured)
	}
	if p := native(filepath.Join(data, "agents", "claude")); p != "" {
		return p
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue // a relative PATH would let the working directory choose the program
		}
		if p := native(filepath.Join(dir, "claude")); p != "" {
			return p
		}
	}
	return ""
}

// native resolves p and gives it if it is an executable that the kernel can
// load by itself: ELF, or Mach-O.
func native(p string) string {
	p = resolved(p)
	if fi, err := os.Stat(p); err != nil || !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
		return ""
	}
	f, err := os.Open(p)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, 4)
	if _, err := f.Read(head); err != nil {
		return ""
	}
	for _, magic := range []string{"\x7fELF", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe"} {
		if string(head) == magic {
			return p
		}
	}
	return ""
}

// zoneName is the owner's time zone by name: TZ, else what /etc/localtime
// points to, else "" where the system does not say.
func zoneName(tz string) string {
	if tz != "" {
		if _, err := time.LoadLocation(tz); err == nil {
			return tz
		}
	}
	target, err := os.Readlink("/etc/localtime")
	if err != nil {
		return ""
	}
	const dir = "/zoneinfo/"
	if i := bytes.Index([]byte(target), []byte(dir)); i >= 0 {
		return target[i+len(dir):]
	}
	return ""
}

// zone is the location of a zone's name, the machine's own for "".
func zone(name string) *time.Location {
	if name != "" {
		if l, err := time.LoadLocation(name); err == nil {
			return l
		}
	}
	return time.Local
}
