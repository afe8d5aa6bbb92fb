//go:build !linux

package delayed

// as runs f. Rights on files belong to the whole process here.
func as(_, _ int, f func() error) error { return f() }
