//go:build !cgo

package main

import "nanoclaw/internal/boundary"

func lowerPrivileges(containers bool) (kept []string, err error) {
	return boundary.LowerPrivileges(containers)
}
