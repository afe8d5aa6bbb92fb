package boundary

import (
	"encoding/json"
	"fmt"
	"strings"
)

// SRTOptions say where the parts of the engine srt are. What is empty is looked
// for in a folder "srt" of Options.Dir, see SRTInstall.
type SRTOptions struct {
	// Path is the folder of the package @anthropic-ai/sandbox-runtime.
	Path string
	// Node is the program of Node.js, 22.12 or later.
	Node string
}

// The versions that this engine was tried with.
const (
	srtVersion  = "0.0.83"
	nodeVersion = "22.23.3"
)

// SRTInstall is the command that puts the parts of the engine srt into a folder
// where it looks for them. arch is Go's name of the processor.
func SRTInstall(dir, arch string) string {
	return fmt.Sprintf("npm install --ignore-scripts --prefix %s @anthropic-ai/sandbox-runtime@%s node-linux-%s@%s",
		dir, srtVersion, nodeArch(arch), nodeVersion)
}

// nodeArch is Node's name of a processor.
func nodeArch(arch string) string {
	if arch == "amd64" {
		return "x64"
	}
	return arch
}

// SRTRendering is what the engine srt makes of a grant on this machine: the view
// that we prepare, and the policy and command that srt gets within it.
type SRTRendering struct {
	NativeRendering
	Settings json.RawMessage `json:"settings"`
	Command  []string        `json:"command"`
}

// String implements Rendering.
func (r SRTRendering) String() string {
	return r.NativeRendering.String() + fmt.Sprintf("srt settings %s\nsrt command %s\n", r.Settings, strings.Join(r.Command, " "))
}

// srtSettings are the fields of srt's own policy that we use. Reads are open in
// it, within a root that holds nothing but the grant; writes are listed; and no
// host is allowed.
type srtSettings struct {
	Network struct {
		AllowedDomains []string `json:"allowedDomains"`
		DeniedDomains  []string `json:"deniedDomains"`
	} `json:"network"`
	Filesystem struct {
		DenyRead   []string  `json:"denyRead"`
		AllowWrite []srtPath `json:"allowWrite"`
		DenyWrite  []string  `json:"denyWrite"`
	} `json:"filesystem"`
	BwrapPath string `json:"bwrapPath"`
	SocatPath string `json:"socatPath"`
	Ripgrep   struct {
		Command string `json:"command"`
	} `json:"ripgrep"`
}

// srtPath is a path that is no pattern.
type srtPath struct {
	Path    string `json:"path"`
	Literal bool   `json:"literal"`
}
