//go:build unix && !linux

package wire

import (
	"os"

	"golang.org/x/sys/unix"
)

// growPipe does nothing: only Linux lets a program choose a pipe's size.
func growPipe(*os.File) {}

// replace makes descriptor to a copy of from.
func replace(from, to int) error { return unix.Dup2(from, to) }
