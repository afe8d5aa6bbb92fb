package daemon

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
)

// containerfile is what an image is built from where the owner has none yet.
//
//go:embed Containerfile
var containerfile string

// ContainerfileName is its name in the folder of the configuration.
const ContainerfileName = "Containerfile"

// Containerfile gives the owner's file, and writes the first one.
func Containerfile(paths config.Paths) (path string, written bool, err error) {
	path = filepath.Join(paths.ConfigDir, ContainerfileName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return path, false, nil
	}
	if err != nil {
		return "", false, err
	}
	_, err = f.WriteString(containerfile)
	return path, true, errors.Join(err, f.Close())
}

// Images gives the images of the container engine of a configuration; with "auto"
// those of the first engine that is installed.
func Images(c *config.Config, home string, getenv func(string) string) (*boundary.Images, error) {
	o := containerOptions(c, home, getenv)
	if c.Container.Engine != autoEngine {
		return boundary.NewImages(c.Container.Engine, o)
	}
	var first error
	for _, name := range boundary.ContainerEngines() {
		images, err := boundary.NewImages(name, o)
		if err == nil {
			return images, nil
		}
		first = cmp.Or(first, err)
	}
	return nil, fmt.Errorf("no container engine can be used here: %w", first)
}

// containerOptions are the engine's own, as the configuration has them.
func containerOptions(c *config.Config, home string, getenv func(string) string) boundary.ContainerOptions {
	o := boundary.ContainerOptions{Image: c.Container.Image, Env: containerEnv(getenv), Args: c.Container.Args, Runtime: c.Container.OCIRuntime}
	if c.Container.Program != "" {
		o.Program = grant.ExpandHome(c.Container.Program, home)
	}
	return o
}
