//go:build linux

package confine

import (
	"strings"
	"testing"

	"nanoclaw/internal/wire"
)

const root = "91 45 0:43 /newroot / ro,nosuid,nodev,relatime - tmpfs tmpfs rw\n"

func TestParseMounts(t *testing.T) {
	mounts, err := parseMounts(root +
		`126 93 254:0 /usr /a\040b\134c rw,nosuid shared:7 master:1 - ext4 /dev/vda rw,discard` + "\n")
	if err != nil || len(mounts) != 2 {
		t.Fatal(mounts, err)
	}
	if m := mounts[0]; m.id != 91 || m.parent != 45 || m.point != "/" || m.fstype != "tmpfs" || !m.options["nodev"] || m.options["rw"] || m.gives() || m.receives() {
		t.Errorf("%+v", m)
	}
	if m := mounts[1]; m.point != `/a b\c` || m.fstype != "ext4" || !m.gives() || !m.receives() || len(m.lacks([]string{"rw", "nosuid", "nodev", "ro"})) != 2 {
		t.Errorf("%+v", m)
	}
	for _, bad := range []string{
		"\n", "91 45 0:43 / / ro\n", "x 45 0:43 / / ro - tmpfs tmpfs rw\n", "91 x 0:43 / / ro - tmpfs tmpfs rw\n",
		"91 45 0:43 / there ro - tmpfs tmpfs rw\n", `91 45 0:43 / /a\04 ro - tmpfs tmpfs rw` + "\n", `91 45 0:43 / /a\999 ro - tmpfs tmpfs rw` + "\n",
		"91 45 0:43 / / ro - tmpfs\n",
	} {
		if m, err := parseMounts(root + bad); err == nil {
			t.Errorf("%q is read as %+v", bad, m)
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add(root)
	f.Add(`126 93 254:0 /usr /a\040b rw,nosuid shared:7 - ext4 /dev/vda rw`)
	f.Fuzz(func(t *testing.T, text string) {
		mounts, err := parseMounts(text)
		if err != nil {
			return
		}
		lines := 0
		for range strings.Lines(text) {
			lines++
		}
		if len(mounts) != lines {
			t.Errorf("%d lines give %d mounts", lines, len(mounts))
		}
		for _, m := range mounts {
			if !strings.HasPrefix(m.point, "/") {
				t.Errorf("mount point %q", m.point)
			}
		}
	})
}

// Only what was asked for may be mounted, and what the host has mounted beneath
// a granted folder has that folder's attributes.
func TestStrangers(t *testing.T) {
	spec := wire.Spec{Built: &wire.Built{}, Mounts: []wire.Mount{
		{Target: "/usr", Exec: true}, {Target: "/workspace/group", Write: true, Exec: true}, {Target: "/workspace/group/docs"},
	}}
	line := func(point, options, optional string) string {
		return "92 91 254:0 / " + point + " " + options + optional + " - ext4 /dev/vda rw\n"
	}
	for _, c := range []struct {
		name, line string
		sealed     bool
		want       string
	}{
		{"nothing more", "", true, ""},
		{"beneath a folder", line("/usr/local", "ro,nosuid,nodev", ""), true, ""},
		{"beneath a writable one", line("/workspace/group/big", "rw,nosuid,nodev", ""), true, ""},
		{"elsewhere", line("/mnt", "ro,nosuid,nodev", ""), true, "/mnt is mounted"},
		{"a name that only begins like one", line("/usrlocal", "ro,nosuid,nodev", ""), true, "/usrlocal is mounted"},
		{"a writable one beneath", line("/usr/local", "rw,nosuid,nodev", ""), true, "not ro"},
		{"one beneath the inner mount", line("/workspace/group/docs/x", "rw,nosuid,nodev,noexec", ""), true, "not ro"},
		{"with set-uid bits", line("/usr/local", "ro,nodev", ""), true, "not nosuid"},
		{"with devices", line("/usr/local", "ro,nosuid", ""), true, "not nodev"},
		{"to run from", line("/workspace/group/docs/x", "ro,nosuid,nodev", ""), true, "not noexec"},
		{"to run from, where none can be forbidden", line("/workspace/group/docs/x", "ro,nosuid,nodev", ""), false, ""},
		{"that gives mounts away", line("/usr/local", "ro,nosuid,nodev", " shared:3"), true, "appear elsewhere"},
		{"on top of another", line("/usr/local", "ro,nosuid,nodev", "") + line("/usr/local", "ro,nosuid,nodev", ""), true, "two mounts"},
	} {
		mounts, err := parseMounts(root + c.line)
		if err != nil {
			t.Fatal(err)
		}
		spec.Built.Sealed = c.sealed
		err = (&prover{spec: spec, mounts: mounts}).strangers()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// What a builder of roots could not do is told, unless it could.
func TestLacks(t *testing.T) {
	mounts, err := parseMounts(root + "92 91 254:0 / /usr ro,nosuid,nodev master:3 - ext4 /dev/vda rw\n")
	if err != nil {
		t.Fatal(err)
	}
	p := &prover{spec: wire.Spec{Built: &wire.Built{By: "bubblewrap 0.8.0"}}, mounts: mounts}
	if got := p.lacks(); len(got) != 2 || !strings.HasPrefix(got[0], "noexec on mounts: bubblewrap 0.8.0") || !strings.HasPrefix(got[1], "private mounts") {
		t.Errorf("%q", got)
	}
	p.spec.Built.Sealed = true
	if got := p.lacks(); got != nil {
		t.Errorf("%q", got)
	}
}
