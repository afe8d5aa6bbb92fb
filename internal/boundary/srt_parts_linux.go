package boundary

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/grant"
)

// srtParts are srt and the programs that it uses, as paths of this machine.
type srtParts struct {
	node    string // the program
	modules string // the folder node_modules that holds srt and what it depends on
	cli     string // srt's own program, below modules
	// The system's, which the grant must show at the same path.
	bwrap, rg string
	// untried says that this is not what the engine was tried with.
	untried []string
	skip    []string // Options.skip
}

// srtPrograms are the programs of the system that srt runs.
var srtPrograms = [...]string{"bwrap", "rg", "bash", "which"}

// find finds the parts, and refuses where one is missing, or could be changed by
// those whom it is to confine.
func (s *SRT) find(g grant.Grant, id identity) (srtParts, error) {
	p, err := s.locate()
	if err != nil {
		return p, err
	}
	if err := p.readable(id); err != nil {
		return p, &StartError{Step: "srt", Err: err, Hint: "Make it readable for all: chmod -R a+rX " + filepath.Dir(p.modules)}
	}
	if err := p.private(g); err != nil {
		return p, &StartError{Step: "srt", Err: err,
			Hint: "Install srt where no group can write, or take the folder out of the group's mounts."}
	}
	found := make(map[string]string)
	for _, name := range srtPrograms {
		path, err := systemProgram(name)
		if err == nil {
			err = shownWithLinks(g, path)
		}
		if err != nil {
			return p, &StartError{Step: "srt", Err: err, Hint: "On Debian: apt-get install bash bubblewrap debianutils ripgrep"}
		}
		found[name] = path
	}
	p.bwrap, p.rg = found["bwrap"], found["rg"]
	return p, nil
}

// locate finds srt and Node.js.
func (s *SRT) locate() (srtParts, error) {
	p := srtParts{node: s.opts.Node}
	if p.node == "" {
		p.node = filepath.Join(s.dir, "node_modules", "node-linux-"+nodeArch(runtime.GOARCH), "bin", "node")
	}
	pkg := s.opts.Path
	if pkg == "" {
		pkg = filepath.Join(s.dir, "node_modules", "@anthropic-ai", "sandbox-runtime")
	}
	var err error
	for _, path := range []*string{&p.node, &pkg} {
		if err == nil {
			*path, err = filepath.EvalSymlinks(*path)
		}
	}
	version := ""
	if err == nil {
		version, err = packageVersion(pkg)
	}
	if err != nil {
		return p, &StartError{Step: "srt", Err: err, Hint: "Install srt and its Node.js with: " + SRTInstall(s.dir, runtime.GOARCH)}
	}
	if version != srtVersion {
		p.untried = []string{fmt.Sprintf("srt: version %s is installed; this engine was tried with %s", plain(version), srtVersion)}
	}
	p.modules = filepath.Dir(filepath.Dir(pkg))
	p.cli = filepath.Join(strings.TrimPrefix(pkg, p.modules), "dist", "cli.js")
	return p, nil
}

// packageVersion reads the version of the package in a folder.
func packageVersion(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return "", err
	}
	var manifest struct{ Name, Version string }
	if err := json.Unmarshal(b, &manifest); err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Join(dir, "package.json"), err)
	}
	if manifest.Name != "@anthropic-ai/sandbox-runtime" {
		return "", fmt.Errorf("%s is the package %q, and not srt", dir, plain(manifest.Name))
	}
	return manifest.Version, nil
}

// readable fails if a group with a uid of its own could not read srt's parts.
func (p srtParts) readable(id identity) error {
	if !id.change {
		return nil
	}
	for _, path := range []string{p.node, p.modules, filepath.Join(p.modules, p.cli)} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Mode()&srtFileMode == 0 {
			return fmt.Errorf("%s cannot be read by uid %d", path, id.uid)
		}
	}
	return nil
}

// private fails if what is to confine an agent lies where it can write.
func (p srtParts) private(g grant.Grant) error {
	for _, path := range []string{p.node, p.modules} {
		for at := path; at != "/"; at = filepath.Dir(at) {
			info, err := os.Stat(at)
			if err != nil {
				return err
			}
			// In a folder above, the sticky bit keeps others from replacing what lies there.
			if info.Mode()&0o002 != 0 && (at == path || info.Mode()&os.ModeSticky == 0) {
				return fmt.Errorf("everybody can change %s", at)
			}
		}
		for _, m := range g.Mounts {
			source, err := filepath.EvalSymlinks(m.Source)
			if err == nil && m.Write && (beneath(path, source) || beneath(source, path)) {
				return fmt.Errorf("the group can change %s, since it can write %s", path, m.Source)
			}
		}
	}
	return nil
}

// systemProgram finds a program of the system.
func systemProgram(name string) (string, error) {
	for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/bin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		if !info.Mode().IsRegular() || info.Mode()&0o001 == 0 {
			return "", fmt.Errorf("%s is not a program that all can run", path)
		}
		return path, nil
	}
	return "", fmt.Errorf("%s, which srt needs, is not installed", name)
}

// maxLinks is how many symbolic links the kernel follows, path_resolution(7).
const maxLinks = 40

// shownWithLinks fails unless the grant shows a file, and each link on the way to
// it, as this machine has them.
func shownWithLinks(g grant.Grant, path string) error {
	for range maxLinks {
		if !slices.ContainsFunc(g.Mounts, func(m grant.Mount) bool {
			return !m.Write && m.Source == m.Target && beneath(path, m.Target)
		}) {
			return fmt.Errorf("the grant does not show %s, which srt needs inside", path)
		}
		to, err := os.Readlink(path)
		if err != nil {
			return nil // no link
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return fmt.Errorf("%s is behind too many links", path)
}

// mounts are what we add to the grant's. Landlock keeps the agent out of them.
func (p srtParts) mounts() []grant.Mount {
	return []grant.Mount{
		{Target: srtNode, Source: p.node, Exec: true, File: true},
		{Target: srtModules, Source: p.modules, Exec: true},
	}
}

// command is srt's, from Node.js to the second init.
func (p srtParts) command() []string {
	return append([]string{srtNode, srtModules + p.cli, "--settings", srtConfig, "--", confine.InitPath, "nested"}, p.skip...)
}

// settings is srt's policy for a grant.
func (p srtParts) settings(g grant.Grant) srtSettings {
	var s srtSettings
	s.Network.AllowedDomains, s.Network.DeniedDomains = []string{}, []string{}
	s.Filesystem.DenyRead, s.Filesystem.DenyWrite = []string{}, []string{}
	s.Filesystem.AllowWrite = []srtPath{{"/tmp", true}}
	for _, m := range g.Mounts {
		if m.Write {
			s.Filesystem.AllowWrite = append(s.Filesystem.AllowWrite, srtPath{m.Target, true})
		}
	}
	s.BwrapPath, s.SocatPath, s.Ripgrep.Command = p.bwrap, srtRelay, p.rg
	return s
}
