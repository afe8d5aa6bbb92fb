//go:build !cgo

package main

import "nanoclaw/internal/boundary"

func lowerPrivileges() (kept []string, err error) { return boundary.LowerPrivileges() }
