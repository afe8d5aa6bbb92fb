//go:build !linux

package daemon

// releaseProgram is for Linux alone.
func releaseProgram() int { return 0 }
