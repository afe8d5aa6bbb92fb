//go:build !layertest

package main

// skipped says whether a step of the confinement is to be left out: never. The
// tests of package boundary build another version to prove that they notice.
func skipped(string) bool { return false }
