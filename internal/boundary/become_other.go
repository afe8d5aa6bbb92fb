//go:build !linux

package boundary

import "errors"

// Become is for systems on which a service of root's runs as another user.
func Become(uid, gid int) error { return errors.New("this system has no service of another user") }
