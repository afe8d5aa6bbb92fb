package seatbelt_test

import (
	"testing"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/sbpl"
	"nanoclaw/internal/seatbelt/seatbelttest"
)

// TestConformance asks what srt's own tests for macOS try, of our profile. Where
// ours answers otherwise, note says so.
func TestConformance(t *testing.T) {
	g, withTerminal, without := family(), params(), params()
	without.Terminal = ""
	_, p := profile(t, g, withTerminal)
	_, bare := profile(t, g, without)
	const secret, home = "/Users/owner/.ssh/id_ed25519", "/Users/owner"
	path := func(op grant.Op, at string) bool { return seatbelttest.Path(p, op, at) }
	ask := func(q sbpl.Query) bool { return p.Allows(q) }
	unix := func(op string) bool {
		return ask(sbpl.Query{Op: op, Addr: ws + "/s.sock"}) || ask(sbpl.Query{Op: "system-socket", Name: "AF_UNIX"})
	}
	for _, c := range []struct {
		name      string
		got, want bool
	}{
		{"a terminal that was asked for can be opened", ask(sbpl.Query{Op: "file-read-data", Path: "/dev/ttys012"}) && ask(sbpl.Query{Op: "file-ioctl", Path: "/dev/ttys012"}), true},
		{"without asking, none can", bare.Allows(sbpl.Query{Op: "file-read-data", Path: "/dev/ttys012"}) || bare.Allows(sbpl.Query{Op: "file-read-data", Path: "/dev/tty"}), false},

		{"a closed file is moved to a readable place", path(grant.OpRemove, secret), false},
		{"it is read where it is", path(grant.OpRead, secret), false},
		{"its folder is moved", path(grant.OpRemove, home+"/.ssh"), false},
		{"the folder around that is moved", path(grant.OpRemove, home), false},
		{"a closed file is reached by a link in the workspace", path(grant.OpRead, secret), false}, // real paths are judged

		{"a folder that leads to a read-only one is swapped", path(grant.OpRename, rw+"/vendor"), false},
		{"the read-only file is written", path(grant.OpWrite, rw+"/vendor/pinned/b"), false},
		{"the read-only folder is moved", path(grant.OpRename, rw+"/vendor/pinned"), false},
		{"the granted folder around it is moved", path(grant.OpRename, rw), false},
		{"a file with a protected ending is moved", path(grant.OpRename, rw+"/x/my.code-workspace"), false},
		{"it is written", path(grant.OpWrite, rw+"/x/my.code-workspace"), false},
		{"the folder around it is moved, where the name is protected as before", path(grant.OpRename, rw+"/x"), true},
		{"it is written at its new place", path(grant.OpWrite, rw+"/other name/my.code-workspace"), false},

		{"processes are enumerated: ours refuses", ask(sbpl.Query{Op: "sysctl-read", Name: "kern.proc.all"}), false},
		{"a protected folder that is absent is made", path(grant.OpCreate, rw+"/sub/.claude"), false},
		{"something is put in its place by a rename", path(grant.OpRemove, rw+"/decoy") && path(grant.OpCreate, rw+"/.claude"), false},
		{"an ordinary file is made beside it", path(grant.OpCreate, rw+"/sub/claude"), true},
		{"a Unix socket is bound", unix("network-bind"), false},
		{"a Unix socket is connected", unix("network-outbound"), false},

		{"a sibling of a granted folder is read", path(grant.OpRead, home+"/src/other/x"), false},
		{"a granted folder in a closed one is read", path(grant.OpRead, ro+"/x"), true},
		{"a granted folder in a closed one is written", path(grant.OpWrite, rw+"/x"), true},
		{"a read-only folder in a writable one is read", path(grant.OpRead, rw+"/vendor/pinned/b"), true},
		{"the root is listed, which programs need to start", path(grant.OpList, "/"), true},
		{"what is not granted is read, with the root closed", path(grant.OpRead, "/Applications/x"), false},
		{"a program of a folder without that right is run", path(grant.OpExec, "/Users/owner/nanoclaw/global/x"), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: %t", c.name, c.got)
		}
	}
}
