package install

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/semver"
)

// Places are where Claude Code may be.
type Places struct {
	Configured string // agent.claude.path of the configuration
	Data       string // our data folder
	Home       string // the owner's, for ~ in Configured
	Path       string // the owner's PATH
}

// Source says by which rule a program was found.
type Source string

// The sources, in the order in which they are asked.
const (
	FromConfig Source = "agent.claude.path in the configuration"
	FromUs     Source = "nanoclaw agent install claude"
	FromPath   Source = "the PATH"
)

// Program is a Claude Code that a boundary can show to an agent.
type Program struct {
	Path   string // without symbolic links; "" if there is none
	Source Source
	// Version is "" if it cannot be told without starting the program.
	Version string
	// Missing says why there is none.
	Missing string
}

// Find gives the Claude Code program: the configured one, else the one that we
// installed, else "claude" on the owner's PATH. A boundary shows the program as
// one file, so it must be a native executable.
func Find(p Places) Program {
	found := func(file string, s Source) Program {
		return Program{Path: file, Source: s, Version: VersionOf(os.DirFS("/"), file)}
	}
	if p.Configured != "" {
		file := p.Configured
		if rest, ok := strings.CutPrefix(file, "~/"); ok {
			file = filepath.Join(p.Home, rest)
		}
		if real := native(file); real != "" {
			return found(real, FromConfig)
		}
		return Program{Missing: fmt.Sprintf("agent.claude.path in the configuration names %s, which is no native program", p.Configured)}
	}
	if real := native(filepath.Join(Dir(p.Data), programName)); real != "" {
		return found(real, FromUs)
	}
	for _, dir := range filepath.SplitList(p.Path) {
		if !filepath.IsAbs(dir) {
			continue // a relative PATH would let the working directory choose the program
		}
		if real := native(filepath.Join(dir, programName)); real != "" {
			return found(real, FromPath)
		}
	}
	return Program{Missing: "it is neither in " + Dir(p.Data) + " nor, as a native program, on the PATH"}
}

// NewEnough says whether the program's version is known and at least the pinned
// one.
func (p Program) NewEnough() bool {
	return p.Version != "" && semver.Compare("v"+p.Version, "v"+Version) >= 0
}

// native resolves p and gives it if it is an executable that the kernel can
// load by itself: ELF, or Mach-O.
func native(p string) string {
	if real, err := filepath.EvalSymlinks(p); err == nil {
		p = real
	}
	if fi, err := os.Stat(p); err != nil || !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
		return ""
	}
	f, err := os.Open(p)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(f, head); err != nil {
		return ""
	}
	for _, magic := range []string{"\x7fELF", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe"} {
		if string(head) == magic {
			return filepath.Clean(p)
		}
	}
	return ""
}

var number = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)

// VersionOf reads the version of a Claude Code from where its installers write
// it, without starting it: ours leaves a record beside the program, the native
// one names the program by its version, npm puts a package.json beside it. It
// is "" if none holds. root is the file system that begins at /.
func VersionOf(root fs.FS, program string) string {
	if program == "" {
		return ""
	}
	program = Follow(root, program)
	if number.MatchString(path.Base(program)) {
		return path.Base(program)
	}
	if v := recorded(root, program); v != "" {
		return v
	}
	for _, dir := range []string{path.Dir(program), path.Dir(path.Dir(program))} {
		data, err := fs.ReadFile(root, below(path.Join(dir, "package.json")))
		if err != nil {
			continue
		}
		var p struct{ Name, Version string }
		if json.Unmarshal(data, &p) == nil && strings.HasPrefix(p.Name, "@anthropic-ai/claude-code") && number.MatchString(p.Version) {
			return p.Version
		}
	}
	return ""
}

// recorded gives the version that our record beside the program says, if it is
// about a program of this size.
func recorded(root fs.FS, program string) string {
	if path.Base(program) != programName {
		return ""
	}
	r, err := readRecord(root, below(path.Dir(program)))
	if err != nil || !number.MatchString(r.Version) {
		return ""
	}
	if info, err := fs.Stat(root, below(program)); err != nil || info.Size() != r.Size {
		return ""
	}
	return r.Version
}

func readRecord(root fs.FS, dir string) (Record, error) {
	var r Record
	data, err := fs.ReadFile(root, path.Join(dir, recordName))
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	return r, err
}

// below is an absolute path as package fs wants it.
func below(p string) string { return strings.TrimPrefix(p, "/") }

// Follow gives where a path leads if its last element is a symbolic link, over
// a few steps. Links among the folders above are left as they are.
func Follow(root fs.FS, p string) string {
	for range 8 {
		target, err := fs.ReadLink(root, below(p))
		if err != nil {
			return p
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(p), target)
		}
		p = path.Clean(target)
	}
	return p
}
