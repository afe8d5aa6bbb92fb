package main

import (
	"context"
	"os"

	"nanoclaw/internal/daemon"
)

// openDaemon opens the real host. This file is all that the commands know of
// it.
func openDaemon(ctx context.Context, o hostOptions) (host, error) {
	return daemon.Open(ctx, daemon.Options{
		Paths: o.paths, Init: initBinary, Version: versionName(),
		Getenv: o.getenv, Environ: os.Environ, Log: o.log, Say: o.say,
	})
}
