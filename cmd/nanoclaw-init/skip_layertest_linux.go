//go:build layertest

package main

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// always are steps that are left out without being asked, separated by commas.
// The linker sets it.
var always string

// skipped leaves out the steps named by further arguments. It exists only in
// the version that the tests of package boundary build, to prove that each
// layer is noticed when it is gone.
func skipped(step string) bool {
	skip := len(os.Args) > 2 && slices.Contains(os.Args[2:], step) || slices.Contains(strings.Split(always, ","), step)
	if skip && step == "privileges" {
		passOn()
	}
	return skip
}

// passOn lets programs that are started inherit our capabilities. Without it they
// would have none even where we keep ours, and nobody could tell whether the
// probe's attempt works.
func passOn() {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if unix.Capget(&header, &have[0]) != nil {
		return
	}
	for c := uintptr(0); c < 32; c++ { // those that entry keeps are below
		if have[0].Inheritable&(1<<c) != 0 {
			unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0)
		}
	}
}
