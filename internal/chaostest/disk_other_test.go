//go:build !linux

package chaostest

import "testing"

// onSmallDisk needs a mount namespace.
func onSmallDisk(t *testing.T, _, _ string) { t.Log("the disk is full on Linux alone") }
