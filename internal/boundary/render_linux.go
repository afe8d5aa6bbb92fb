package boundary

import (
	"math"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/wire"
)

// render makes all of the spec but the mounts.
func render(spec Spec, mounts []source, links []wire.Link) wire.Spec {
	return renderVisible(spec, seen(mounts), links)
}

// seen are mounts without what holds them.
func seen(mounts []source) []visible {
	var out []visible
	for _, m := range mounts {
		out = append(out, visible{m.Mount, m.canonical})
	}
	return out
}

// reachable is a limit as far as we can set it: not above our own hard one.
func reachable(resource int, value uint64) uint64 {
	var own unix.Rlimit
	if err := unix.Getrlimit(resource, &own); err != nil {
		return value
	}
	limit := own.Max
	if resource == rlimitNProc && limit < math.MaxInt64 {
		limit -= min(limit/2, confine.Spare) // the init sets it higher for itself
	}
	return min(value, limit)
}
