//go:build linux || darwin

package boundary

import (
	"crypto/rand"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// newToken makes a session's secret.
func newToken() string { return rand.Text() }

// visible is a mount and where its visible really is.
type visible struct {
	grant.Mount
	canonical string
}

// renderVisible makes all of the spec but the mounts. It decides nothing: each line is
// in the grant or the same for every session.
func renderVisible(spec Spec, mounts []visible, links []wire.Link) wire.Spec {
	g := spec.Grant
	w := wire.Spec{
		Version: wire.Version, Token: newToken(), Hostname: hostname,
		Links: append(links, aliases(mounts)...), Files: append(generated(mounts), spec.Files...),
		TmpBytes: g.Limits.TmpSize, Rlimits: rlimits(g.Limits),
		LandlockFloor: spec.LandlockFloor, Landlock: landlock(g.Mounts, mounts),
	}
	for _, e := range g.Endpoints {
		w.Endpoints = append(w.Endpoints, wire.Endpoint{Port: e.Port, Kind: wire.Kind(e.Name)})
	}
	return w
}

// aliases are further names for what the grant shows. Agents know the memory of
// all groups as the CLAUDE.md above their workspace.
func aliases(mounts []visible) []wire.Link {
	for _, m := range mounts {
		if m.Target == grant.Global {
			return []wire.Link{{Path: path.Dir(grant.Workspace) + "/CLAUDE.md", Target: grant.Global + "/CLAUDE.md"}}
		}
	}
	return nil
}

// landlockCanary is a file that no rule of Landlock allows, and that everything
// else does, so that the probe can feel Landlock.
const landlockCanary = "/.landlock-canary"

// generated are the files that the agent has instead of this machine's.
// A file that the grant mounts, or that lies in a folder it mounts, is left out.
func generated(mounts []visible) []wire.File {
	all := []wire.File{
		{Path: "/etc/passwd", Data: []byte(fmt.Sprintf(
			"root:x:0:0:root:/:/usr/sbin/nologin\nagent:x:%d:%d:agent:%s:%s\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
			insideUID, insideUID, grant.Home, shell(mounts)))},
		{Path: "/etc/group", Data: []byte(fmt.Sprintf("root:x:0:\nagent:x:%d:\nnogroup:x:65534:\n", insideUID))},
		{Path: "/etc/hosts", Data: []byte("127.0.0.1 localhost " + hostname + "\n::1 localhost\n")},
		{Path: "/etc/hostname", Data: []byte(hostname + "\n")},
		{Path: "/etc/resolv.conf"}, // there is no network to ask
		{Path: "/etc/nsswitch.conf", Data: []byte("passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\nprotocols: files\nservices: files\n")},
		{Path: "/etc/host.conf", Data: []byte("multi on\n")},
		{Path: landlockCanary, Data: []byte("Nothing but Landlock keeps this from being read.\n")},
	}
	return slices.DeleteFunc(all, func(f wire.File) bool {
		return slices.ContainsFunc(mounts, func(m visible) bool { return beneath(f.Path, m.Target) })
	})
}

// shell is the agent's login shell: bash, where the grant shows one.
func shell(mounts []visible) string {
	for _, m := range mounts {
		if m.Target == "/usr" && m.canonical == "/usr" {
			if _, err := os.Stat("/usr/bin/bash"); err == nil {
				return "/bin/bash"
			}
		}
	}
	return "/bin/sh"
}

// The numbers of resources on Linux (setrlimit(2)), where the inside runs.
const (
	rlimitFSize    = 1
	rlimitCore     = 4
	rlimitNProc    = 6
	rlimitNoFile   = 7
	rlimitMsgQueue = 12
)

// rlimits are the grant's limits as far as setrlimit(2) knows them. A limit
// above our own hard one is set to that: it cannot be raised.
//
// There is none on address space: programs with garbage collection reserve far
// more than they use.
func rlimits(l grant.Limits) []wire.Rlimit {
	// No cores: a limit of 1, see confine's rules about cores; 0 if nothing more can
	// be had, where that holds: see cores.
	out := []wire.Rlimit{{Resource: rlimitCore, Value: reachable(rlimitCore, 1)}, {Resource: rlimitMsgQueue}}
	for _, r := range []struct {
		resource int
		value    int64
	}{
		{rlimitNProc, int64(l.Processes)},
		{rlimitNoFile, int64(l.OpenFiles)},
		{rlimitFSize, l.FileSize},
	} {
		if r.value > 0 {
			out = append(out, wire.Rlimit{Resource: r.resource, Value: reachable(r.resource, uint64(r.value))})
		}
	}
	return out
}

// base are the rules for what every root has.
var base = [...]wire.PathRule{
	{Path: "/", List: true}, // people look around: "ls /", "ls /workspace"
	{Path: "/etc", Read: true},
	{Path: "/run", Read: true},
	{Path: "/proc", Read: true},
	{Path: "/tmp", Read: true, Write: true, Exec: true},
	{Path: "/dev", Read: true},
	{Path: "/dev/shm", Read: true, Write: true},
	{Path: "/dev/pts", Read: true, Write: true, Device: true},
	{Path: "/dev/tty", Read: true, Write: true, Device: true},
	{Path: "/dev/null", Read: true, Write: true, Device: true},
	{Path: "/dev/zero", Read: true, Write: true},
	{Path: "/dev/full", Read: true, Write: true},
	{Path: "/dev/random", Read: true, Write: true},
	{Path: "/dev/urandom", Read: true, Write: true},
}

// landlock makes the allow-list of paths from the grant. mounts only say which
// of its lines exist on this machine: a rule needs a path to stand on. Held parts
// of a folder have none: rules add up, and the folder's own holds for all in it.
// What is in an image is known inside alone, where rules without a path are left out.
func landlock(lines []grant.Mount, mounts []visible) []wire.PathRule {
	rules := slices.Clone(base[:])
	if slices.ContainsFunc(mounts, func(s visible) bool { return s.Target == confine.InitPath }) {
		rules = append(rules, wire.PathRule{Path: confine.InitPath, Read: true, Exec: true})
	}
	for _, m := range lines {
		there := m.Image || slices.ContainsFunc(mounts, func(s visible) bool { return s.Target == m.Target })
		if there && !m.Held {
			rules = append(rules, wire.PathRule{Path: m.Target, Read: true, Write: m.Write, Exec: m.Exec})
		}
	}
	return rules
}

// beneath says whether p is dir or lies in it.
func beneath(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}
