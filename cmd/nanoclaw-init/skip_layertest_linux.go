//go:build layertest

package main

import (
	"os"
	"slices"
	"strings"
)

// always are steps that are left out without being asked, separated by commas.
// The linker sets it.
var always string

// skipped leaves out the steps named by further arguments. It exists only in
// the version that the tests of package boundary build, to prove that each
// layer is noticed when it is gone.
func skipped(step string) bool {
	return len(os.Args) > 2 && slices.Contains(os.Args[2:], step) || slices.Contains(strings.Split(always, ","), step)
}
