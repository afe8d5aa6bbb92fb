package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/install"
)

// configuration looks at the owner's file and at the folders of the
// installation.
func (in Input) configuration() []Check {
	var checks []Check
	switch {
	case in.ConfigError != nil:
		checks = append(checks, Check{"configuration", Fail, in.ConfigError.Error(), "nanoclaw config check"})
	case in.Config == nil:
		checks = append(checks, Check{Name: "configuration", State: Note, Detail: "none yet; the first start writes " + in.Paths.Config})
	default:
		checks = append(checks, Check{Name: "configuration", State: OK, Detail: in.Paths.Config}, in.hostMode())
	}
	for _, f := range []struct{ name, path string }{
		{"config folder", in.Paths.ConfigDir}, {"data folder", in.Paths.DataDir}, {"socket folder", in.Paths.RuntimeDir},
	} {
		checks = append(checks, in.private(f.name, f.path))
	}
	if _, err := fs.Stat(in.Root, strings.TrimPrefix(in.Paths.KeyDir, "/")); in.Paths.KeyDir != "" && err == nil {
		checks = append(checks, in.private("key folder", in.Paths.KeyDir)) // there from the first credential on
	}
	return checks
}

// hostMode says which groups the configuration lets run natively.
func (in Input) hostMode() Check {
	const name = "host mode"
	if !in.Config.HostMode.Enabled {
		return Check{Name: name, State: Note, Detail: "switched off in the configuration (hostMode.enabled)"}
	}
	var groups []string
	for g, c := range in.Config.Groups {
		mode := c.Mode
		if mode == "" {
			mode = in.Config.ExecutionMode
		}
		if c.HostModeAllowed && mode == string(grant.HostMode) {
			groups = append(groups, g)
		}
	}
	slices.Sort(groups)
	if len(groups) == 0 {
		return Check{name, Note, "switched on, and no group has opted in", fmt.Sprintf("nanoclaw group set %s --mode host", chat.Main)}
	}
	return Check{Name: name, State: OK, Detail: "for " + strings.Join(groups, ", ")}
}

// private checks that a folder is closed to everybody but its owner.
func (in Input) private(name, dir string) Check {
	info, err := fs.Stat(in.Root, strings.TrimPrefix(dir, "/"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Check{Name: name, State: Note, Detail: dir + " is not there yet; the first start makes it"}
	case err != nil:
		return Check{name, Fail, err.Error(), "let nanoclaw's own user read it"}
	case !info.IsDir():
		return Check{name, Fail, dir + " is not a folder", "move it away"}
	case info.Mode().Perm()&0o077 != 0:
		return Check{name, Fail, fmt.Sprintf("%s is open to others (mode %04o)", dir, info.Mode().Perm()), "chmod 700 " + dir}
	}
	return Check{Name: name, State: OK, Detail: dir}
}

// agent looks at what answers a message.
func (in Input) agent() []Check {
	claude := Check{Name: "Claude Code", State: OK}
	version := install.VersionOf(in.Root, in.Claude)
	switch {
	case in.Claude == "":
		claude = Check{"Claude Code", Warn, "not found; main's own terminal gets a shell, other groups get no answer",
			"nanoclaw agent install claude, or set agent.claude.path in the configuration"}
	case version == "":
		claude.State, claude.Detail = Note, in.Claude+", of a version that cannot be told; tried with "+in.TriedClaude
	case semver.Compare("v"+version, "v"+in.TriedClaude) < 0:
		claude = Check{"Claude Code", Warn, fmt.Sprintf("%s, version %s, is older than %s, which we tried: what nanoclaw relies on may not be there", in.Claude, version, in.TriedClaude),
			"nanoclaw agent install claude"}
	case version != in.TriedClaude:
		claude.State, claude.Detail = Note, fmt.Sprintf("%s, version %s; tried with %s", in.Claude, version, in.TriedClaude)
	default:
		claude.Detail = fmt.Sprintf("%s, version %s, which we tried", in.Claude, version)
	}
	model := Check{Name: "model", State: OK, Detail: in.Model}
	if in.Model == "" {
		model = Check{"model", Warn, "no credential for a model",
			"nanoclaw login claude, or start nanoclaw with ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN set"}
	}
	checks := []Check{claude, model}
	for _, p := range in.Providers {
		c := Check{Name: "provider " + p.Name, State: OK, Detail: p.Model}
		if p.Model == "no model" {
			c.State, c.Detail, c.Fix = Warn, "no credential", "nanoclaw login claude --provider "+p.Name
		}
		checks = append(checks, c)
	}
	return checks
}
