//go:build !linux

package doctor

// LandlockABI is 0: Landlock is part of Linux.
func LandlockABI() int { return 0 }
