package grant

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// Folders of the owner that groups are lent come from one place: "mounts" of the
// configuration, or the owner's --mount. mount-allowlist.json, where there is one,
// bounds both. So the list can be kept as it was for version 1, and nobody has to
// write a folder down twice who has none.

// extraMounts are the folders that the owner gave to the group, in the
// configuration or with --mount.
func (r Request) extraMounts(g config.Group) ([]Mount, error) {
	given := make([]config.Mount, 0, len(g.Mounts)+len(r.Trigger.Mounts))
	reasons := make([]string, 0, cap(given))
	for _, m := range g.Mounts {
		given, reasons = append(given, m), append(reasons, fmt.Sprintf("groups.%s.mounts", r.Group))
	}
	for _, s := range r.Trigger.Mounts {
		if !r.Trigger.Owner || !r.Trigger.Terminal {
			return nil, &Refusal{"mount.asked", "only the owner's own terminal may ask for a mount", ""}
		}
		given, reasons = append(given, ParseMount(s)), append(reasons, "asked for by the owner with --mount")
	}
	out := make([]Mount, 0, len(given))
	seen := make(map[string]string, len(given))
	for i, m := range given {
		p, err := r.hostPath(m.Path, reasons[i])
		if err != nil {
			return nil, err
		}
		write, why, no := r.Machine.MayLend(p, m.Write, r.Group == chat.Main)
		if no != nil {
			no.Text = reasons[i] + ": " + no.Text
			return nil, no
		}
		name := m.Name
		if name == "" {
			name = filepath.Base(p)
		}
		if other, dup := seen[name]; dup {
			return nil, &Refusal{"mount.name", fmt.Sprintf("two mounts are called %q: %s and %s", name, other, p), "give one of them a name of its own"}
		}
		seen[name] = p
		out = append(out, Mount{Target: Extra + "/" + name, Source: p, Write: write, Exec: true, Foreign: true, Reason: reasons[i] + why})
	}
	return out, nil
}

// ParseMount reads one --mount: DIR, DIR:ro or DIR:rw.
func ParseMount(s string) config.Mount {
	dir, write := strings.CutSuffix(s, ":rw")
	return config.Mount{Path: strings.TrimSuffix(dir, ":ro"), Write: write}
}

// MayLend judges a folder as it is written, and where that leads now. One that is
// asked for writing where the list permits reading is lent for reading, as
// version 1 did; why says so in the grant.
func (m Machine) MayLend(p string, write, main bool) (mayWrite bool, why string, no *Refusal) {
	real, known := m.Real[p]
	switch {
	case !known:
		real = p
	case real == "":
		return false, "", &Refusal{"mount.missing", fmt.Sprintf("%q is not there", p), "make the folder, or take it away from the group: nanoclaw group mount remove"}
	case real != p:
		if no := m.CheckPath(real); no != nil {
			return false, "", no
		}
	}
	if no := m.allowed(p, real); no != nil {
		return false, "", no
	}
	if !write || m.Allowed == nil {
		return write, "", nil
	}
	switch {
	case m.Allowed.NonMainReadOnly && !main:
		return false, "; for reading only, since nonMainReadOnly of " + config.MountAllowlistFile + " is true", nil
	case !m.root(real).AllowReadWrite:
		return false, "; for reading only, since " + config.MountAllowlistFile + " allows no writing below " + m.root(real).Path, nil
	}
	return true, "", nil
}

// allowed holds the list against a folder as it is written and as it is.
func (m Machine) allowed(p, real string) *Refusal {
	l := m.Allowed
	if l == nil {
		return nil
	}
	const again = " and restart nanoclaw"
	if l.Broken != "" {
		return &Refusal{"mount.allowlist", "no folder can be lent: " + l.Broken, "mend the file" + again}
	}
	for _, name := range l.BlockedPatterns {
		if blocks(name, p) || blocks(name, real) {
			return &Refusal{"mount.blocked", fmt.Sprintf("%q cannot be shown to an agent: %s blocks %q", p, config.MountAllowlistFile, name),
				"choose another folder, or take the name out of blockedPatterns" + again}
		}
	}
	if m.root(real) == nil {
		where := fmt.Sprintf("%q", p)
		if real != p {
			where += fmt.Sprintf(", which is %q,", real)
		}
		return &Refusal{"mount.root", fmt.Sprintf("%s is below no folder that %s allows", where, config.MountAllowlistFile),
			"add a folder above it to allowedRoots" + again}
	}
	return nil
}

// root is the first folder of the list that holds p, nil if none does.
func (m Machine) root(p string) *config.AllowedRoot {
	for i := range m.Allowed.AllowedRoots {
		if r := &m.Allowed.AllowedRoots[i]; within(p, r.Path) {
			return r
		}
	}
	return nil
}

// blocks says that a name of blockedPatterns is a part of a path, or several in a
// row if it has a slash. Case does not count, and * stands for anything within a
// part. A name within a part is nothing: ".env" does not block "my.environment".
func blocks(name, p string) bool {
	want := strings.Split(strings.ToLower(strings.Trim(name, "/")), "/")
	parts := strings.Split(strings.ToLower(strings.Trim(p, "/")), "/")
	for i := 0; i+len(want) <= len(parts); i++ {
		hit := true
		for j, w := range want {
			match, err := path.Match(w, parts[i+j])
			hit = hit && (w == parts[i+j] || err == nil && match)
		}
		if hit {
			return true
		}
	}
	return false
}

// CheckLent is asked by the boundary where a folder of the owner that it opened
// really lies. What was put in its place since the grant was decided meets the
// same rules, and gives no more than was decided.
func (m Machine) CheckLent(mount Mount, canonical string) *Refusal {
	if no := m.CheckPath(canonical); no != nil {
		return no
	}
	if !strings.HasPrefix(mount.Target, Extra+"/") {
		return nil
	}
	if no := m.allowed(mount.Source, canonical); no != nil {
		return no
	}
	if mount.Write && m.Allowed != nil && !m.root(canonical).AllowReadWrite {
		return &Refusal{"mount.root", fmt.Sprintf("%q is now %q, below which %s allows no writing", mount.Source, canonical, config.MountAllowlistFile), ""}
	}
	return nil
}
