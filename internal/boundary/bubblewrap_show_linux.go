package boundary

import (
	"fmt"
	"slices"
	"strings"

	"nanoclaw/internal/wire"
)

// BubblewrapRendering is what the bubblewrap engine makes of a grant on this
// machine: the arguments of bwrap, and what the init then proves and adds. Where
// arguments name a descriptor, it stands here as what is in it.
type BubblewrapRendering struct {
	Engine    string          `json:"engine"`
	Program   string          `json:"program"`
	Version   string          `json:"version"`
	Arguments []string        `json:"arguments"`
	Init      NativeRendering `json:"init"`
}

// String gives a rendering for people, one line for each option of bwrap and
// one for each thing that the init proves or adds.
func (r BubblewrapRendering) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "engine %s\nprogram %s, version %s\n", r.Engine, r.Program, r.Version)
	for i := 0; i < len(r.Arguments); {
		end := i + 1
		for end < len(r.Arguments) && !strings.HasPrefix(r.Arguments[end], "--") {
			end++
		}
		fmt.Fprintf(&b, "bwrap %s\n", strings.Join(r.Arguments[i:end], " "))
		i = end
	}
	_, rest, _ := strings.Cut(r.Init.String(), "\n") // without its engine
	return b.String() + rest
}

// Render implements Engine. See Native.Render.
func (b *Bubblewrap) Render(spec Spec) (Rendering, error) {
	shown, err := b.native.Render(spec)
	if err != nil {
		return nil, err
	}
	r := shown.(NativeRendering)
	r.Engine = b.Name()
	w := wire.Spec{Hostname: r.Hostname, Links: r.Links, TmpBytes: r.TmpBytes}
	for _, f := range r.Files {
		w.Files = append(w.Files, wire.File{Path: f.Path})
	}
	for _, m := range r.Mounts {
		w.Mounts = append(w.Mounts, wire.Mount{Target: m.Target, Write: m.Write, File: m.File})
	}
	args := wrap(&w, b.setuid, nil,
		func(i int) string { return r.Mounts[i].Source },
		func(i int) string { return "(its text)" })
	return BubblewrapRendering{
		Engine: b.Name(), Program: b.path, Version: b.version, Arguments: slices.Clip(args), Init: r,
	}, nil
}
