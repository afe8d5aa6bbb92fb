//go:build layertest

package main

import (
	"os"
	"slices"
)

// skipped leaves out the steps named by further arguments. It exists only in
// the version that the tests of package boundary build, to prove that each
// layer is noticed when it is gone.
func skipped(step string) bool {
	return len(os.Args) > 2 && slices.Contains(os.Args[2:], step)
}
