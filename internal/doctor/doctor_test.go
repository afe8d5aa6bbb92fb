package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/hostproc"
	"nanoclaw/internal/wire"
)

// tried is the version of Claude Code that somebody tried.
const tried = "2.1.330"

// debian is a machine where everything is as it should be.
func debian() fstest.MapFS {
	return fstest.MapFS{
		"proc/sys/kernel/osrelease":             text("6.12.3-amd64\n"),
		"proc/self/ns/user":                     text(""),
		"proc/sys/user/max_user_namespaces":     text("96365\n"),
		"proc/sys/kernel/seccomp/actions_avail": text("kill_process kill_thread trap errno user_notif trace log allow\n"),
		"sys/fs/cgroup/cgroup.controllers":      text("cpu memory pids\n"),
		"sys/kernel/security/lsm":               text("lockdown,capability,landlock,yama"),
		"home/ada/.config/nanoclaw":             folder(0o700),
		"home/ada/.local/share/nanoclaw":        folder(0o700),
		"run/user/1000/nanoclaw":                folder(0o700),
		"usr/bin/git":                           program(),
		"proc/self/fd/7":                        link("socket:[4242]"),
		"proc/self/net/tcp":                     tcpTable("0100007F:1F90", "06", "4242"),
	}
}

// tcpTable is a table of the kernel's with one socket: proc_net(5).
func tcpTable(addr, state, inode string) *fstest.MapFile {
	return text("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: " + addr + " 00000000:0000 " + state + " 00000000:00000000 00:00000000 00000000  1000        0 " + inode + " 1 0000000000000000 100 0 0 10 0\n")
}

func text(s string) *fstest.MapFile        { return &fstest.MapFile{Data: []byte(s), Mode: 0o444} }
func folder(m os.FileMode) *fstest.MapFile { return &fstest.MapFile{Mode: os.ModeDir | m} }
func program() *fstest.MapFile             { return &fstest.MapFile{Mode: 0o755} }
func link(target string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(target), Mode: os.ModeSymlink | 0o777}
}
func attempt(name string, b bool) wire.Attempt {
	return wire.Attempt{Name: name, Broke: b, Detail: "permission denied"}
}

// ada is an ordinary user of that machine.
func ada() Input {
	return Input{
		System: "linux", Root: debian(), UID: 1000, Program: "/home/ada/bin/nanoclaw", LandlockABI: 6,
		Probe: &Probe{Report: wire.ProbeReport{Attempts: []wire.Attempt{attempt("read a canary", false)}}, Layers: []string{"landlock ABI 6", "memory 4 GB: watched every 250 ms (no right)"}},
		Paths: config.Paths{
			Config: "/home/ada/.config/nanoclaw/config.jsonc", ConfigDir: "/home/ada/.config/nanoclaw",
			DataDir: "/home/ada/.local/share/nanoclaw", RuntimeDir: "/run/user/1000/nanoclaw",
		},
		Config: &config.Config{
			ExecutionMode: "container", HostMode: config.HostMode{Enabled: true},
			Groups: map[string]config.Group{"main": {Mode: "host", HostModeAllowed: true}, "family": {}},
		},
		Grant:      &grant.Grant{Mounts: []grant.Mount{{Source: "/usr", Target: "/usr", Exec: true}}},
		SearchPath: "/usr/bin", Home: "/home/ada",
		TriedClaude: tried,
		Claude:      "/home/ada/.local/share/claude/versions/" + tried, Model: "Anthropic, with ANTHROPIC_API_KEY",
	}
}

// machine replaces or removes files of ada's machine.
func machine(in *Input, files map[string]*fstest.MapFile) {
	root := debian()
	for name, f := range files {
		if f == nil {
			delete(root, name)
			continue
		}
		root[name] = f
	}
	in.Root = root
}

// failed says that a check of the report fails.
func failed(r Report) bool {
	return slices.ContainsFunc(r.Checks, func(c Check) bool { return c.State == Fail })
}

func find(t *testing.T, r Report, name string) Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check is called %q", name)
	return Check{}
}

func TestAGoodMachineHasNothingToMend(t *testing.T) {
	r := Examine(t.Context(), ada())
	for _, c := range r.Checks {
		if c.State != OK && c.State != Note || c.Fix != "" {
			t.Errorf("%s is %s: %s; fix: %s", c.Name, c.State, c.Detail, c.Fix)
		}
	}
}

func TestExamine(t *testing.T) {
	unprobed := func(in *Input) { in.Probe = nil }
	tests := []struct {
		name   string
		change func(*Input)
		check  string
		state  State
		detail string // a part of it
		fix    string // a part of it
	}{
		{"another system", func(in *Input) { in.System = "plan9" }, "system", Fail, "no boundary", "Linux"},
		{"a Mac", func(in *Input) {
			in.System, in.Root = "darwin", fstest.MapFS{"usr/bin/sandbox-exec": text("")}
		}, "sandbox-exec", OK, "/usr/bin/sandbox-exec", ""},
		{"a Mac, of which is said", func(in *Input) { in.System = "darwin" }, "system", Note, "never run", ""},
		{"a Mac without sandbox-exec", func(in *Input) {
			unprobed(in)
			in.System, in.Root = "darwin", fstest.MapFS{}
		}, "sandbox-exec", Fail, "not there", "Linux"},
		{"a Mac that refuses the profile", func(in *Input) {
			in.System, in.Root = "darwin", fstest.MapFS{"usr/bin/sandbox-exec": text("")}
			in.Probe = &Probe{Err: errors.New("init: the init ended (sandbox-exec: unbound variable: file-read*)")}
		}, "profile", Fail, "unbound variable", "--render seatbelt"},
		{"what macOS does not have", func(in *Input) {
			in.System, in.Probe.Missing = "darwin", []string{"no filter of system calls"}
		}, "probe", Note, "not on macOS: no filter", ""},
		{"root on a Mac", func(in *Input) { in.System, in.UID = "darwin", 0 }, "user", Fail, "must not be root", "yourself"},
		{"an old kernel", func(in *Input) {
			unprobed(in)
			machine(in, map[string]*fstest.MapFile{"proc/sys/kernel/osrelease": text("5.10.0-28-amd64")})
		}, "kernel", Fail, "older than 5.12", "newer kernel"},
		{"an old kernel where the probe held", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{"proc/sys/kernel/osrelease": text("5.10.0-28-amd64")})
		}, "kernel", Note, "older than 5.12", ""},
		{"a kernel without a version", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{"proc/sys/kernel/osrelease": text("new")})
		}, "kernel", Warn, "cannot be read", ""},
		{"no user namespaces in the kernel", func(in *Input) {
			unprobed(in)
			machine(in, map[string]*fstest.MapFile{"proc/self/ns/user": nil})
		}, "user namespaces", Fail, "built without", "CONFIG_USER_NS"},
		{"user namespaces switched off", func(in *Input) {
			unprobed(in)
			machine(in, map[string]*fstest.MapFile{"proc/sys/user/max_user_namespaces": text("0\n")})
		}, "user namespaces", Fail, "max_user_namespaces is 0", "user.max_user_namespaces=15000"},
		{"Debian's switch", func(in *Input) {
			unprobed(in)
			machine(in, map[string]*fstest.MapFile{"proc/sys/kernel/unprivileged_userns_clone": text("0")})
		}, "user namespaces", Fail, "only root", "kernel.unprivileged_userns_clone=1"},
		{"Debian's switch, as root", func(in *Input) {
			unprobed(in)
			in.UID = 0
			machine(in, map[string]*fstest.MapFile{"proc/sys/kernel/unprivileged_userns_clone": text("0")})
		}, "user namespaces", OK, "open", ""},
		{"Ubuntu's restriction", func(in *Input) {
			unprobed(in)
			machine(in, map[string]*fstest.MapFile{"proc/sys/kernel/apparmor_restrict_unprivileged_userns": text("1")})
		}, "user namespaces", Fail, "AppArmor", `profile nanoclaw "/home/ada/bin/nanoclaw" flags=(unconfined)`},
		{"Ubuntu's restriction, and bubblewrap's way out", func(in *Input) {
			unprobed(in)
			machine(in, map[string]*fstest.MapFile{"proc/sys/kernel/apparmor_restrict_unprivileged_userns": text("1")})
		}, "user namespaces", Fail, "AppArmor", "apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict"},
		{"Ubuntu's restriction, where the probe held", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{"proc/sys/kernel/apparmor_restrict_unprivileged_userns": text("1")})
		}, "user namespaces", Note, "AppArmor", ""},
		{"an old Landlock", func(in *Input) { in.LandlockABI = 2 }, "landlock", OK, "does not cover truncation, TCP ports, device ioctls, signals and abstract sockets", ""},
		{"Landlock below the floor", func(in *Input) { in.LandlockABI, in.Config.Boundary.LandlockFloor = 3, 4 }, "landlock", Fail, "asks for 4", "newer kernel"},
		{"no Landlock, switched off at boot", func(in *Input) {
			in.LandlockABI = 0
			machine(in, map[string]*fstest.MapFile{"sys/kernel/security/lsm": text("capability,yama")})
		}, "landlock", Warn, "has none", "lsm=landlock,capability,yama"},
		{"no Landlock, where it is asked for", func(in *Input) {
			in.LandlockABI, in.Config.Boundary.LandlockFloor = 0, 1
			machine(in, map[string]*fstest.MapFile{"proc/sys/kernel/osrelease": text("5.10.0")})
		}, "landlock", Fail, "asks for 1", "5.13 or newer"},
		{"no seccomp", func(in *Input) {
			unprobed(in)
			machine(in, map[string]*fstest.MapFile{"proc/sys/kernel/seccomp/actions_avail": nil})
		}, "seccomp", Fail, "cannot filter", "CONFIG_SECCOMP_FILTER"},
		{"cgroups of version 1", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{"sys/fs/cgroup/cgroup.controllers": nil, "sys/fs/cgroup/memory": folder(0o755)})
		}, "cgroups", Note, "version 1; of a session: memory 4 GB: watched every 250 ms", ""},
		{"cgroups before the first boundary", unprobed, "cgroups", Note, "when a boundary stands", ""},
		{"nothing that bounds memory", func(in *Input) { in.Probe.Layers = []string{"landlock ABI 6"} }, "cgroups", Warn, "nothing bounds the memory", "Delegate=yes"},
		{"a container that forbids the boundary", func(in *Input) {
			in.Probe = &Probe{Err: errors.New("mount proc: operation not permitted")}
			machine(in, map[string]*fstest.MapFile{".dockerenv": text("")})
		}, "surroundings", Warn, "container", "--user 1000:1000 --cap-drop ALL"},
		{"WSL", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{"proc/sys/kernel/osrelease": text("5.15.153.1-microsoft-standard-WSL2")})
		}, "surroundings", Note, "/mnt", ""},

		{"the probe was not run", unprobed, "probe", Note, "not run now", ""},
		{"the probe could not run", func(in *Input) { in.Probe = &Probe{Err: errors.New("clone: no space left")} }, "probe", Fail, "clone: no space left", "checks above"},
		{"the probe tried nothing", func(in *Input) { in.Probe = &Probe{} }, "probe", Fail, "proves nothing", "report"},
		{"the probe broke out", func(in *Input) {
			in.Probe.Report.Attempts = append(in.Probe.Report.Attempts, wire.Attempt{Name: "connect to the host", Broke: true})
		}, "probe", Fail, "got out of the boundary, so host mode is off:\nconnect to the host", "do not run agents"},
		{"an engine that stops less", func(in *Input) {
			in.Probe.Report.Attempts = append(in.Probe.Report.Attempts, wire.Attempt{Name: "see more", Broke: true, Known: "it cannot be stopped"})
			in.Probe.Missing = []string{"srt: it can see more"}
		}, "probe", Warn, "stops less than others: srt: it can see more", `boundary.engine to "auto"`},
		{"a layer is missing", func(in *Input) { in.Probe.Missing = []string{"landlock"} }, "probe", Warn, "missing: landlock", "newer kernel"},

		{"an engine", func(in *Input) {
			in.Engines = func(context.Context) []hostproc.Found {
				return []hostproc.Found{{Program: hostproc.Podman, Path: "/usr/bin/podman", Version: "podman version 4.3.1"}}
			}
		}, "podman", Note, "podman version 4.3.1 (/usr/bin/podman)", ""},
		{"the engine in use", func(in *Input) {
			in.Tried = []Engine{{Name: "native", Used: true, Asked: true, Attempts: 62}}
		}, "engine native", OK, "in use; holds against 62 attempts to break out", ""},
		{"another engine that holds", func(in *Input) {
			in.Tried = []Engine{{Name: "bubblewrap", Asked: true, Attempts: 62, Missing: []string{"noexec on mounts"}}}
		}, "engine bubblewrap", Note, "holds against 62 attempts to break out; missing: noexec on mounts", ""},
		{"an engine that is not there", func(in *Input) {
			in.Tried = []Engine{{Name: "bubblewrap", Asked: true, Off: "it is not installed", Fix: "sudo apt-get install bubblewrap"}}
		}, "engine bubblewrap", Note, "does not hold: it is not installed", "apt-get install bubblewrap"},
		{"an engine that groups need", func(in *Input) {
			in.Tried = []Engine{{Name: "podman", Needed: true, Asked: true, Off: "podman has no image x", Fix: "nanoclaw image build"}}
		}, "engine podman", Fail, "groups in container mode need an engine; does not hold: podman has no image x", "nanoclaw image build"},
		{"an engine that was not tried", func(in *Input) { in.Tried = []Engine{{Name: "srt", Weaker: true}} },
			"engine srt", Note, "not tried now; stops less than the others, and is used only by its name", ""},
		{"an engine that is not root's", func(in *Input) {
			in.Engines = func(context.Context) []hostproc.Found {
				return []hostproc.Found{{Program: hostproc.Docker, Path: "/usr/bin/docker", Problem: "it is not started"}}
			}
		}, "docker", Note, "it is not started", ""},

		{"a mistake in the configuration", func(in *Input) { in.Config, in.ConfigError = nil, errors.New("config.jsonc:3:5: what is this") },
			"configuration", Fail, "config.jsonc:3:5", "nanoclaw config check"},
		{"no configuration yet", func(in *Input) { in.Config = nil }, "configuration", Note, "first start writes /home/ada/.config", ""},
		{"host mode off", func(in *Input) { in.Config.HostMode.Enabled = false }, "host mode", Note, "switched off", ""},
		{"nobody opted in", func(in *Input) { in.Config.Groups = map[string]config.Group{"main": {Mode: "host"}} }, "host mode", Note, "no group", "group set main --mode host"},
		{"opted in by the global mode", func(in *Input) {
			in.Config.ExecutionMode = "host"
			in.Config.Groups = map[string]config.Group{"b": {HostModeAllowed: true}, "a": {HostModeAllowed: true}, "c": {}, "d": {Mode: "container", HostModeAllowed: true}}
		}, "host mode", OK, "for a, b", ""},
		{"a data folder that others can read", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{"home/ada/.local/share/nanoclaw": folder(0o755)})
		}, "data folder", Fail, "mode 0755", "chmod 700 /home/ada/.local/share/nanoclaw"},
		{"a file where the data folder should be", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{"home/ada/.local/share/nanoclaw": text("")})
		}, "data folder", Fail, "not a folder", "move"},
		{"no port", func(*Input) {}, "network ports", OK, "none is open", ""},
		{"a port for this machine", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{"proc/self/net/tcp": tcpTable("0100007F:1F90", "0A", "4242")})
		}, "network ports", Note, "of this machine alone: 127.0.0.1:8080", ""},
		{"a port for everybody", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{"proc/self/net/tcp6": tcpTable("00000000000000000000000000000000:01BB", "0A", "4242")})
		}, "network ports", Warn, "can reach [::]:443", "127.0.0.1"},
		{"somebody else's port", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{"proc/self/net/tcp": tcpTable("00000000:0016", "0A", "7")})
		}, "network ports", OK, "none is open", ""},
		{"a file that others can read", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{
				"home/ada/.local/share/nanoclaw/audit.key": {Mode: 0o640}, "home/ada/.local/share/nanoclaw/audit.pub": {Mode: 0o644},
				"home/ada/.local/share/nanoclaw/nanoclaw-init": {Mode: 0o755},
			})
		}, "private files", Warn, "open to others: /home/ada/.local/share/nanoclaw/audit.key (mode 0640)", "chmod go= /home/ada/.local/share/nanoclaw/audit.key"},
		{"an init that others can change", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{"home/ada/.local/share/nanoclaw/nanoclaw-init": {Mode: 0o775}})
		}, "private files", Warn, "open to others: /home/ada/.local/share/nanoclaw/nanoclaw-init (mode 0775)", "chmod go= /home/ada/.local/share/nanoclaw/nanoclaw-init"},
		{"a key folder that others can read", func(in *Input) {
			in.Paths.KeyDir = "/home/ada/.local/state/nanoclaw"
			machine(in, map[string]*fstest.MapFile{"home/ada/.local/state/nanoclaw": folder(0o750)})
		}, "key folder", Fail, "mode 0750", "chmod 700"},
		{"no socket folder yet", func(in *Input) {
			machine(in, map[string]*fstest.MapFile{"run/user/1000/nanoclaw": nil})
		}, "socket folder", Note, "first start makes it", ""},

		{"no Claude Code", func(in *Input) { in.Claude = "" }, "Claude Code", Warn, "not found", "nanoclaw agent install claude"},
		{"an older Claude Code", func(in *Input) { in.Claude = "/opt/claude/1.9.9" }, "Claude Code", Warn, "version 1.9.9, is older than " + tried, "nanoclaw agent install claude"},
		{"another Claude Code", func(in *Input) { in.Claude = "/opt/claude/3.0.0" }, "Claude Code", Note, "version 3.0.0; tried with " + tried, ""},
		{"a Claude Code behind links", func(in *Input) {
			in.Claude = "/home/ada/.local/bin/claude"
			machine(in, map[string]*fstest.MapFile{"home/ada/.local/bin/claude": link("../share/claude/versions/2.9.9"), "home/ada/.local/share/claude/versions/2.9.9": program()})
		}, "Claude Code", Note, "version 2.9.9", ""},
		{"a Claude Code of npm", func(in *Input) {
			in.Claude = "/usr/lib/claude/bin/claude"
			machine(in, map[string]*fstest.MapFile{"usr/lib/claude/package.json": text(`{"name":"@anthropic-ai/claude-code","version":"2.0.1"}`)})
		}, "Claude Code", Warn, "version 2.0.1", "nanoclaw agent install claude"},
		{"a claude of somebody else", func(in *Input) {
			in.Claude = "/usr/lib/claude/bin/claude"
			machine(in, map[string]*fstest.MapFile{"usr/lib/claude/package.json": text(`{"name":"claude","version":"2.0.1"}`)})
		}, "Claude Code", Note, "cannot be told", ""},
		{"links without an end", func(in *Input) {
			in.Claude = "/a"
			machine(in, map[string]*fstest.MapFile{"a": link("b"), "b": link("c"), "c": link("a")})
		}, "Claude Code", Note, "cannot be told", ""},
		{"no model", func(in *Input) { in.Model = "" }, "model", Warn, "no credential", "nanoclaw login claude"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := ada()
			tt.change(&in)
			r := Examine(t.Context(), in)
			c := find(t, r, tt.check)
			if c.State != tt.state || !strings.Contains(c.Detail, tt.detail) || !strings.Contains(c.Fix, tt.fix) {
				t.Errorf("got  %+v\nwant %s, a detail with %q, a fix with %q", c, tt.state, tt.detail, tt.fix)
			}
			if want := tt.state == Fail || in.Probe != nil && in.Probe.Err != nil; failed(r) != want {
				t.Errorf("failed = %v", failed(r))
			}
		})
	}
}

// Programs are told apart on a real tree, with links that lead where those of
// package managers lead.
func TestPrograms(t *testing.T) {
	root := t.TempDir()
	write := func(p string, mode os.FileMode) {
		t.Helper()
		p = filepath.Join(root, p)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	symlink := func(target, p string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, p)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(root, p)); err != nil {
			t.Fatal(err)
		}
	}
	write("usr/bin/git", 0o755)
	symlink("usr/bin", "bin")
	write("opt/go/bin/go", 0o755)
	write("opt/go/bin/README", 0o644)
	write("home/ada/node/lib/npm.js", 0o755)
	write("home/ada/node/bin/node", 0o755)
	symlink("../lib/npm.js", "home/ada/node/bin/npm")
	symlink("nowhere", "home/ada/node/bin/broken")
	write("home/ada/.local/bin/nanoclaw", 0o755)
	write("home/ada/.local/share/tool/run", 0o755)
	symlink("../share/tool/run", "home/ada/.local/bin/tool")
	write("home/ada/.local/share/nanoclaw/groups/main/home/evil", 0o755)
	for _, n := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		write("opt/many/"+n, 0o755)
	}

	in := ada()
	in.Root = os.DirFS(root)
	in.Config.Tools = []string{"/opt/rust/bin"}
	in.Program = "/home/ada/.local/bin/nanoclaw"
	in.SearchPath = strings.Join([]string{"/usr/bin", "/bin", "/opt/go/bin", "/opt/go/bin/", ".", "", "/home/ada/node/bin", "/home/ada/.local/bin",
		"/home/ada/.local/share/nanoclaw/groups/main/home", "/opt/many", "/not/there"}, ":")
	want := []Check{
		{"PATH", Note, "/opt/go/bin has 1 program that agents do not have: go", `"tools": ["/opt/rust/bin","/opt/go/bin"]   in the configuration`},
		{"PATH", Note, "/home/ada/node/bin has 2 programs that agents do not have: node, npm", `"tools": ["/opt/rust/bin","~/node/bin","~/node"]   in the configuration`},
		// ~/.local holds our own data, so it is not offered for what tool needs.
		{"PATH", Note, "/home/ada/.local/bin has 1 program that agents do not have: tool", `"tools": ["/opt/rust/bin","~/.local/bin"]   in the configuration`},
		{"PATH", Note, "/opt/many has 8 programs that agents do not have: a, b, c, d, e, f and 2 more", `"tools": ["/opt/rust/bin","/opt/many"]   in the configuration`},
	}
	if d := cmp.Diff(want, in.programs()); d != "" {
		t.Errorf("programs (-want +got):\n%s", d)
	}
}

// On the machine of this test the kernel's answer and its version must agree.
func TestLandlockABIAgreesWithTheKernel(t *testing.T) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	v, ok := parseRelease(string(release))
	if !ok {
		t.Fatalf("%q is not a version", release)
	}
	if abi := LandlockABI(); abi > 0 && before(v, withLandlock) {
		t.Errorf("Landlock %d on Linux %d.%d", abi, v[0], v[1])
	}
}
