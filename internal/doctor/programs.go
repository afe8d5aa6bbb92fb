package doctor

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"nanoclaw/internal/install"
)

// Bounds of what is shown of one folder.
const (
	maxNamed   = 6
	maxEntries = 5000
)

// programs names the folders on the owner's PATH whose programs an agent does
// not have, each with the line of the configuration that would give them.
func (in Input) programs() []Check {
	var checks []Check
	var dirs []string
	for _, dir := range strings.Split(in.SearchPath, ":") {
		if dir = path.Clean(dir); !path.IsAbs(dir) || slices.Contains(dirs, dir) || in.inside(dir) || in.secret(dir) {
			continue
		}
		dirs = append(dirs, dir)
		names, links := in.executables(dir)
		if len(names) == 0 {
			continue
		}
		count := fmt.Sprintf("%d programs", len(names))
		if len(names) == 1 {
			count = "1 program"
		}
		detail := fmt.Sprintf("%s has %s that agents do not have: %s", dir, count, shorten(names))
		tools := []string{in.short(dir)}
		if needs := in.libraries(dir, links); needs != "" {
			tools = append(tools, in.short(needs))
		}
		checks = append(checks, Check{"PATH", Note, detail, in.toolsLine(tools)})
	}
	if len(checks) == 0 {
		return []Check{{Name: "PATH", State: OK, Detail: "agents have every folder of it"}}
	}
	return checks
}

// inside says that a folder is beneath a mount from which programs may run, at
// the same path as outside.
func (in Input) inside(dir string) bool {
	real := install.Follow(in.Root, dir) // a folder on the PATH may be a link into /usr
	for _, m := range in.Grant.Mounts {
		if m.Exec && !m.File && m.Source == m.Target && (beneath(dir, m.Target) || beneath(real, m.Target)) {
			return true
		}
	}
	return false
}

// secret says that a folder holds or is part of our own state, which no grant
// may touch.
func (in Input) secret(dir string) bool {
	for _, p := range in.Paths.Private() {
		if p != "" && (beneath(dir, p) || beneath(p, dir)) {
			return true
		}
	}
	return false
}

// executables lists the programs in a folder, and where those lead that are
// symbolic links.
func (in Input) executables(dir string) (names, links []string) {
	entries, err := fs.ReadDir(in.Root, strings.TrimPrefix(dir, "/"))
	if err != nil {
		return nil, nil
	}
	for _, e := range entries[:min(len(entries), maxEntries)] {
		p := path.Join(dir, e.Name())
		info, err := fs.Stat(in.Root, strings.TrimPrefix(p, "/"))
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
			continue
		}
		if p == in.Program {
			continue // nanoclaw is not for agents
		}
		names = append(names, e.Name())
		if e.Type()&fs.ModeSymlink != 0 {
			links = append(links, install.Follow(in.Root, p))
		}
	}
	return names, links
}

// libraries gives the folder above, if programs of a "bin" folder are links to
// what lies beside it, as npm's and rustup's are. It never gives a folder that
// holds a home or our own state.
func (in Input) libraries(dir string, links []string) string {
	above := path.Dir(dir)
	if path.Base(dir) != "bin" || above == "/" || beneath(in.Home, above) || in.secret(above) {
		return ""
	}
	for _, l := range links {
		if beneath(l, above) && !beneath(l, dir) {
			return above
		}
	}
	return ""
}

// toolsLine is the line as it would stand in the configuration, with what is
// there already.
func (in Input) toolsLine(more []string) string {
	var all []string
	if in.Config != nil {
		all = append(all, in.Config.Tools...)
	}
	line, err := json.Marshal(append(all, more...))
	if err != nil {
		return "" // texts always marshal
	}
	return `"tools": ` + string(line) + "   in the configuration"
}

// short writes the owner's home as "~".
func (in Input) short(dir string) string {
	if in.Home != "" && in.Home != "/" && dir != in.Home && beneath(dir, in.Home) {
		return "~" + strings.TrimPrefix(dir, in.Home)
	}
	return dir
}

// shorten names the first few of a list.
func shorten(names []string) string {
	if len(names) <= maxNamed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}

// beneath says that p is dir or lies below it.
func beneath(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
