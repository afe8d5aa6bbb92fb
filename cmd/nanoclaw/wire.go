package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"nanoclaw/internal/daemon"
)

// openDaemon opens the real host. This file is all that the commands know of
// it. A host of root first gives up every privilege that boundaries do not
// need (I13), and says what it keeps.
func openDaemon(ctx context.Context, o hostOptions) (host, error) {
	return openWith(ctx, o, initBinary)
}

func openWith(ctx context.Context, o hostOptions, init func() (io.ReadSeekCloser, error)) (host, error) {
	kept, err := lowerPrivileges(daemon.StartsContainers(o.paths, o.getenv))
	if err != nil {
		return nil, fmt.Errorf("giving up privileges that are not needed: %w", err)
	}
	if len(kept) > 0 {
		o.log.Info("root's other privileges are given up; these are kept", "kept", strings.Join(kept, "; "))
	}
	self, err := os.Executable()
	if err != nil {
		o.log.Info("no attacks can be tried", "why", err)
	}
	return daemon.Open(ctx, daemon.Options{
		Paths: o.paths, Init: init, ContainerInit: containerInit(init), Attacker: self, Version: versionName(),
		ContainerProgram: o.containerProgram, Channels: o.channels,
		Getenv: o.getenv, Environ: os.Environ, Log: o.log, Say: o.say,
	})
}
