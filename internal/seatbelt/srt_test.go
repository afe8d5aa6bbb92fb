package seatbelt_test

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/sbpl"
)

// generator lets srt write its profile for a policy. What it gives is the line of
// a shell that starts sandbox-exec.
const generator = `
import {pathToFileURL} from 'node:url'
const at = pathToFileURL(process.argv[1] + '/@anthropic-ai/sandbox-runtime/dist/sandbox/macos-sandbox-utils.js')
const {wrapCommandWithSandboxMacOS} = await import(at)
process.stdout.write(wrapCommandWithSandboxMacOS(JSON.parse(process.argv[2])))
`

// srtProfile is the profile of srt for the same policy as family: it reads what
// family reads and nothing else, writes where family writes, and reaches the proxy.
func srtProfile(t *testing.T) *sbpl.Profile {
	t.Helper()
	modules, err := filepath.Abs(filepath.Join(cmp.Or(os.Getenv("NANOCLAW_TEST_SRT"), "../../tools/srt"), "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(modules + "/node-linux-*/bin/node")
	if err != nil || len(found) != 1 {
		t.Fatalf("srt is missing, which make test fetches: %v, %v", found, err)
	}
	written := []string{ws, "/Users/owner/nanoclaw/groups/family/home", "/Users/owner/nanoclaw/groups/family/claude/projects", rw, params().Tmp}
	policy, err := json.Marshal(map[string]any{
		"command": "true", "needsNetworkRestriction": true, "httpProxyPort": 50001, "allowPty": false,
		"readConfig": map[string]any{"denyOnly": []string{"/"}, "allowWithinDeny": append([]string{
			"/usr", "/bin", "/private/etc/ssl/certs", "/System/Library", "/Library/Apple", "/Users/owner/nanoclaw/global", "/Users/owner/nanoclaw/claude", ro,
		}, written...)},
		"writeConfig": map[string]any{"allowOnly": written, "denyWithinAllow": []string{rw + "/.git/hooks", rw + "/vendor/pinned"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(found[0], "--input-type=module", "-e", generator, "--", modules, string(policy))
	cmd.Dir = t.TempDir()
	line, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(line), "/usr/bin/sandbox-exec -p '")
	if end := strings.LastIndex(text, ")' "); ok && end > 0 {
		text = strings.ReplaceAll(text[:end+1], `'"'"'`, "'")
	}
	p, err := sbpl.Parse(text, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// TestAgainstSRT asks our profile and srt's, for the same policy, the same
// questions. Where they part, why says why ours is as it is.
func TestAgainstSRT(t *testing.T) {
	g, p := family(), params()
	p.Terminal = ""
	_, ours := profile(t, g, p)
	theirs := srtProfile(t)
	file := func(op, path string) sbpl.Query { return sbpl.Query{Op: "file-" + op, Path: path} }
	dir := func(op, path string) sbpl.Query {
		return sbpl.Query{Op: "file-" + op, Path: path, Vnode: "DIRECTORY"}
	}
	service := func(name string) sbpl.Query { return sbpl.Query{Op: "mach-lookup", Name: name} }
	agreed, parted := 0, 0
	for _, c := range []struct {
		q    sbpl.Query
		ours bool
		why  string // "": srt says the same
	}{
		{file("read-data", ws+"/a"), true, ""},
		{file("write-data", ws+"/a"), true, ""},
		{file("write-create", ws+"/a/b"), true, ""},
		{file("write-unlink", ws+"/a/b"), true, ""},
		{file("read-data", "/usr/bin/env"), true, ""},
		{file("write-data", "/usr/bin/env"), false, ""},
		{file("read-data", ro+"/x"), true, ""},
		{file("write-create", ro+"/x"), false, ""},
		{file("read-data", "/Users/owner/nanoclaw/global/x"), true, ""},
		{file("write-data", "/Users/owner/nanoclaw/global/x"), false, ""},
		{file("read-data", "/Users/owner/.ssh/id_ed25519"), false, ""},
		{file("write-create", "/Users/owner/.ssh/x"), false, ""},
		{file("write-create", "/Users/owner/Library/LaunchAgents/x.plist"), false, ""},
		{file("read-data", "/private/etc/master.passwd"), false, ""},
		{file("read-data", "/System/Volumes/Data/Users/owner/x"), false, ""},
		{file("read-data", "/dev/ttys000"), false, ""},
		{sbpl.Query{Op: "file-write-data", Path: "/dev/null", Vnode: "CHARACTER-DEVICE"}, true, ""},
		{file("read-data", "/"), true, ""},
		{file("write-create", rw+"/x"), true, ""},
		{file("write-data", rw+"/.git/hooks/x"), false, ""},
		{file("write-unlink", rw+"/.git/hooks"), false, ""},
		{file("write-unlink", rw+"/.git"), false, ""},
		{file("write-create", rw+"/.git"), false, ""},
		{file("write-unlink", rw+"/vendor"), false, ""},
		{file("write-data", rw+"/vendor/pinned/x"), false, ""},
		{file("write-unlink", rw), false, ""},
		{file("write-data", rw+"/sub/.git/hooks/x"), false, "srt protects these names below its working directory, which this is not; ours at any depth of a writable folder of the owner"},
		{file("write-data", rw+"/.GIT/Hooks/x"), false, "srt knows the names in lower case only; the file system takes them for the same"},
		{file("write-data", rw+"/.envrc"), false, "ours is asked to protect more names"},
		{file("write-unlink", ws), false, "srt lets the granted folder itself be removed or moved"},
		{file("write-setugid", ws+"/x"), false, "srt lets set-uid files be made, which are real outside"},
		{file("link", ws+"/x"), false, ""},
		{file("map-executable", "/Users/owner/Downloads/x.dylib"), false, "(deny default) leaves this open, and srt adds no rule"},
		{file("read-metadata", "/Users/owner/.ssh/id_ed25519"), false, ""},
		{dir("read-metadata", "/Users/owner/.ssh"), false, "srt tells of every folder that it is there"},
		{dir("read-metadata", "/Users/owner"), true, ""},
		{sbpl.Query{Op: "process-exec", Path: ws + "/x"}, true, ""},
		{sbpl.Query{Op: "process-exec", Path: "/Users/owner/nanoclaw/global/x"}, false, "srt lets every program run that can be read"},
		{sbpl.Query{Op: "process-fork"}, true, ""},
		{sbpl.Query{Op: "signal", Target: "same-sandbox"}, true, ""},
		{sbpl.Query{Op: "signal", Target: "others"}, false, ""},
		{sbpl.Query{Op: "process-info-pidinfo", Target: "same-sandbox"}, true, ""},
		{sbpl.Query{Op: "process-info-pidinfo", Target: "others"}, false, "(deny default) leaves this open, so that srt's rule for the same sandbox takes nothing away; it tells the environment of other processes"},
		{sbpl.Query{Op: "mach-priv-task-port", Target: "same-sandbox"}, false, "with a task port the agent would read the init's memory, where the wire's token is"},
		{sbpl.Query{Op: "network-outbound", Addr: "127.0.0.1:50001"}, true, ""},
		{sbpl.Query{Op: "network-outbound", Addr: "127.0.0.1:22"}, false, ""},
		{sbpl.Query{Op: "network-outbound", Addr: "192.0.2.1:443"}, false, ""},
		{sbpl.Query{Op: "network-outbound", Addr: "/private/var/run/mDNSResponder"}, false, ""},
		{sbpl.Query{Op: "network-outbound", Addr: "/private/var/run/docker.sock"}, false, ""},
		{sbpl.Query{Op: "network-inbound", Addr: "127.0.0.1:50001"}, true, ""},
		{sbpl.Query{Op: "network-bind", Addr: "127.0.0.1:50001"}, false, "the host made the listeners; srt's proxy is outside and needs no bind either"},
		{sbpl.Query{Op: "network-bind", Addr: "127.0.0.1:8080"}, false, ""},
		{service("com.apple.system.opendirectoryd.libinfo"), true, ""},
		{service("com.apple.SecurityServer"), false, "the keychain: credentials are added outside"},
		{service("com.apple.securityd.xpc"), false, "the keychain, once more"},
		{service("com.apple.coreservices.launchservicesd"), false, "LaunchServices starts programs outside of the sandbox"},
		{service("com.apple.lsd.mapdb"), false, "the same"},
		{service("com.apple.trustd.agent"), false, ""},
		{service("com.apple.pasteboard.1"), false, ""},
		{service("com.apple.dnssd.service"), false, ""},
		{service("com.apple.audio.systemsoundserver"), false, "nothing of an agent's needs sound"},
		{service("com.apple.bsd.dirhelper"), false, "TMPDIR is set, and the owner's folder is closed"},
		{sbpl.Query{Op: "user-preference-read"}, false, "the owner's settings tell about the owner"},
		{sbpl.Query{Op: "distributed-notification-post"}, false, "a way to other programs of the owner"},
		{sbpl.Query{Op: "appleevent-send"}, false, ""},
		{sbpl.Query{Op: "sysctl-read", Name: "hw.ncpu"}, true, ""},
		{sbpl.Query{Op: "sysctl-read", Name: "kern.procargs2"}, false, ""},
		{sbpl.Query{Op: "sysctl-read", Name: "kern.proc.all"}, false, "the names of all processes"},
		{sbpl.Query{Op: "sysctl-read", Name: "kern.bootargs"}, false, "nothing needs it"},
		{sbpl.Query{Op: "sysctl-write", Name: "kern.tcsm_enable"}, false, "a hint for the processor; nothing is written here"},
		{sbpl.Query{Op: "iokit-open", Name: "IOSurfaceRootUserClient"}, false, "a driver of the kernel that is reached for graphics"},
		{sbpl.Query{Op: "iokit-get-properties"}, false, "serial numbers"},
		{sbpl.Query{Op: "ipc-posix-shm-write-create", Name: "/x"}, false, "the names are the user's: by any of them two groups could meet"},
		{sbpl.Query{Op: "ipc-posix-sem-create", Name: "/mp-x"}, true, ""},
		{sbpl.Query{Op: "system-socket", Name: "AF_SYSTEM"}, false, ""},
		{sbpl.Query{Op: "pseudo-tty"}, false, ""},
		{sbpl.Query{Op: "nvram-get"}, false, "(deny default) leaves this open"},
	} {
		a, err := ours.Ask(c.q)
		b, errTheirs := theirs.Ask(c.q)
		if err != nil || errTheirs != nil {
			t.Fatalf("%+v: %v, %v", c.q, err, errTheirs)
		}
		if a.Allowed != c.ours {
			t.Errorf("%+v: ours says %t", c.q, a.Allowed)
		}
		switch same := a.Allowed == b.Allowed; {
		case same && c.why != "":
			t.Errorf("%+v: srt says %t too: this is no reason any more: %s", c.q, b.Allowed, c.why)
		case !same && c.why == "":
			t.Errorf("%+v: ours says %t, srt %t, and nothing says why", c.q, a.Allowed, b.Allowed)
		case same:
			agreed++
		default:
			parted++
		}
	}
	t.Logf("%d the same, %d not", agreed, parted)
}
