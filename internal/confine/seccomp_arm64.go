//go:build linux

package confine

import "golang.org/x/sys/unix"

func nativePlatform() (platform, error) {
	return platform{arch: unix.AUDIT_ARCH_AARCH64, newest: reviewedUpTo}, nil
}

// archRules are rules for calls that only this processor has.
func archRules() []Rule { return nil }
