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
func initBinary() (io.ReadSeekCloser, error) { return initFor(runtime.GOOS) }

// containerInit gives the nanoclaw-init for containers, which run Linux: on Linux
// the same as for all else.
func containerInit(native func() (io.ReadSeekCloser, error)) func() (io.ReadSeekCloser, error) {
	if runtime.GOOS == "linux" {
		return native
	}
	return func() (io.ReadSeekCloser, error) { return initFor("linux") }
}

// initFor gives the one for a system, on this machine's architecture.
func initFor(system string) (io.ReadSeekCloser, error) {
	f, err := inside.Open("inside/nanoclaw-init-" + system + "-" + runtime.GOARCH)
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
