// Package install puts Claude Code on this machine and finds it again.
//
// Claude Code has a licence of its own, so no part of it is in our program or
// our repository: it is fetched from an npm registry when the owner asks for
// it. The package promises that what it puts in place is, byte for byte, what
// the hash in this file says, whatever a registry, a proxy or the network in
// between did, and that a failed or broken-off attempt leaves what was there
// before.
//
// It never starts the program, not even for its version: that happens inside a
// boundary alone. Which program a run gets, and that it is read-only there, is
// the matter of grant and boundary.
package install

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Version is the version of Claude Code that is fetched, the one that our
// driver was written for and is tested with.
const Version = "2.1.330"

// Package is one package of the registry: the program for one platform.
type Package struct {
	Name    string // such as @anthropic-ai/claude-code-linux-x64
	Version string
	// Integrity is the hash of the archive as npm writes it: "sha512-" and base64.
	// It alone decides what is unpacked; what a registry says of itself does not
	// count.
	Integrity string
}

// pinned are the packages, with the hashes that the public registry had when
// this version was tested. For Linux they are the ones that need glibc.
func pinned() map[string]Package {
	pin := func(platform, hash string) Package {
		return Package{"@anthropic-ai/claude-code-" + platform, Version, "sha512-" + hash}
	}
	return map[string]Package{
		"linux/amd64":  pin("linux-x64", "9Gn+V7DtJ8M1nztP9CeDVl9g3RtrepI7rOFTyPRRnZe8D6zebIHKmC7OvBauucuAP0X0k85SDN/LPVZyjsGezQ=="),
		"linux/arm64":  pin("linux-arm64", "V4yanAY5EA5UpwwRPtjSfqDbNqAlUJeVn3NYZw2AgmRHjdpSsLtHAzbxRXfkAnbjwTXzE0uedjQxUY02ARPcsA=="),
		"darwin/arm64": pin("darwin-arm64", "rgzAjrRJJsIdZXGF9CCFFbURxKuJNobRr+krV3dNmqNJWIws74rLD0CABe4+nXlx/9WwRECTrveprWB96mubqw=="),
		"darwin/amd64": pin("darwin-x64", "XenTNj2zXaFrnLmf47n25vChfFhlfeyaAR/vW5SFsEnLGwd2U1vDUY97+5etHBZu3xWBnlK8HhBVxzRi9YTUDw=="),
	}
}

// Pinned gives the package for this machine.
func Pinned() (Package, error) {
	all, platform := pinned(), runtime.GOOS+"/"+runtime.GOARCH
	p, ok := all[platform]
	if !ok {
		names := make([]string, 0, len(all))
		for name := range all {
			names = append(names, name)
		}
		slices.Sort(names)
		return Package{}, fmt.Errorf("there is no Claude Code for %s, only for %s", platform, strings.Join(names, ", "))
	}
	return p, nil
}

// file is where a registry has the archive, below its own address. All
// registries that speak npm's protocol use this form.
func (p Package) file() string {
	base := p.Name[strings.LastIndexByte(p.Name, '/')+1:]
	return p.Name + "/-/" + base + "-" + p.Version + ".tgz"
}

func (p Package) String() string { return p.Name + " " + p.Version }
