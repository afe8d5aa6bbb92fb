package main

import (
	"embed"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"nanoclaw/internal/control"
)

// inside holds nanoclaw-init, the program that is process 1 within a boundary,
// if the build put it there. So users have one file to install.
//
//go:embed inside
var inside embed.FS

// initBinary gives the nanoclaw-init for this machine: the embedded one, else
// one beside this program.
func initBinary() (io.ReadSeekCloser, error) {
	f, err := inside.Open("inside/nanoclaw-init-" + runtime.GOOS + "-" + runtime.GOARCH)
	if err == nil {
		return f.(io.ReadSeekCloser), nil // which files of an embed.FS are
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	beside, err := os.Open(filepath.Join(filepath.Dir(self), "nanoclaw-init"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &control.Error{
			Code:    control.CodeBoundary,
			Message: "this nanoclaw was built without its inside part, nanoclaw-init",
			Hint:    "run: make build",
		}
	}
	return beside, err
}
