//go:build linux && (amd64 || arm64)

package confine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

func TestRightsFor(t *testing.T) {
	for _, tt := range []struct {
		abi            int
		rights, scopes uint64
	}{
		// From the kernel's documentation, userspace-api/landlock.
		{0, 0, 0},
		{1, 1<<13 - 1, 0},
		{2, 1<<14 - 1, 0},
		{3, 1<<15 - 1, 0},
		{4, 1<<15 - 1, 0},
		{5, 1<<16 - 1, 0},
		{6, 1<<16 - 1, 3},
		{7, 1<<16 - 1, 3},
		{8, 1<<16 - 1, 3},
		{9, 1<<17 - 1, 3},
		{50, 1<<17 - 1, 3},
	} {
		if got := rightsFor(tt.abi); got != tt.rights {
			t.Errorf("ABI %d: rights %#x, want %#x", tt.abi, got, tt.rights)
		}
		if got := scopesFor(tt.abi); got != tt.scopes {
			t.Errorf("ABI %d: scopes %#x, want %#x", tt.abi, got, tt.scopes)
		}
	}
}

func TestRuleRights(t *testing.T) {
	const all = ^uint64(0)
	for _, tt := range []struct {
		name    string
		rule    wire.PathRule
		dir     bool
		handled uint64
		want    uint64
	}{
		{"nothing", wire.PathRule{}, true, all, 0},
		{"read a tree", wire.PathRule{Read: true}, true, all, landRead},
		{"read a file", wire.PathRule{Read: true}, false, all, unix.LANDLOCK_ACCESS_FS_READ_FILE},
		{"run from a tree", wire.PathRule{Read: true, Exec: true}, true, all, landRead | landExec},
		{"write a file", wire.PathRule{Write: true}, false, all, unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE},
		{"write a tree", wire.PathRule{Write: true}, true, all, landWrite},
		{"write a tree, ABI 1", wire.PathRule{Write: true}, true, rightsFor(1), landWrite &^ (unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE)},
		{"terminal", wire.PathRule{Read: true, Write: true, Device: true}, false, all, unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
		{"names alone", wire.PathRule{List: true}, true, all, unix.LANDLOCK_ACCESS_FS_READ_DIR},
		{"names alone, of a file", wire.PathRule{List: true}, false, all, 0},
		{"terminal, ABI 4", wire.PathRule{Device: true}, false, rightsFor(4), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ruleRights(tt.rule, tt.dir, tt.handled); got != tt.want {
				t.Errorf("%#x, want %#x", got, tt.want)
			}
		})
	}
	everything := ruleRights(wire.PathRule{Read: true, Write: true, Exec: true, Device: true}, true, all)
	for name, right := range map[string]uint64{
		"block devices":           unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK,
		"character devices":       unix.LANDLOCK_ACCESS_FS_MAKE_CHAR,
		"sockets of other worlds": unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX,
	} {
		if everything&right != 0 {
			t.Errorf("a rule allows %s", name)
		}
	}
}

func TestBelowFloor(t *testing.T) {
	type answer struct{ Layer, Missing, Err string }
	for _, tt := range []struct {
		name       string
		abi, floor int
		want       answer
	}{
		{"none wanted, none there", 0, 0, answer{Missing: "landlock: reason"}},
		{"wanted, none there", 0, 1, answer{Err: "landlock is required (ABI 1) and missing: reason; enable it, or lower the required ABI to 0 in the config"}},
		{"too old", 2, 6, answer{Err: "landlock ABI 6 is required and this kernel has 2; use Linux 6.12 or later, or lower the required ABI in the config"}},
		{"newer than we know", 7, 99, answer{Err: "landlock ABI 99 is required and this kernel has 7; use Linux newer than 6.15 or later, or lower the required ABI in the config"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			missing, err := belowFloor(tt.abi, "reason", tt.floor)
			got := answer{Missing: missing}
			if err != nil {
				got.Err = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLacking(t *testing.T) {
	for abi, want := range map[int]int{1: 4, 2: 3, 3: 2, 4: 2, 5: 1, 6: 0, 7: 0} {
		text := lacking(abi)
		got := strings.Count(text, ",")
		if text != "" {
			got++
		}
		if got != want {
			t.Errorf("ABI %d: %q names %d gaps, want %d", abi, text, got, want)
		}
	}
}
