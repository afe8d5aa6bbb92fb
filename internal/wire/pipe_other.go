//go:build unix && !linux

package wire

import "os"

// growPipe does nothing: only Linux lets a program choose a pipe's size.
func growPipe(*os.File) {}
