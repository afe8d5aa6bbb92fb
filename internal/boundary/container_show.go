//go:build linux || darwin

package boundary

import (
	"context"
	"fmt"
	"strings"
)

// ContainerRendering is what a container engine makes of a grant: the arguments of
// its tool, and what the init then proves and adds. Paths of files that are made
// for one session alone are shown with "SESSION" in them.
type ContainerRendering struct {
	Engine    string          `json:"engine"`
	Program   string          `json:"program"`
	Version   string          `json:"version"`
	Arguments []string        `json:"arguments"`
	Init      NativeRendering `json:"init"`
}

// String gives a rendering for people, one line for each option of the tool and one
// for each thing that the init proves or adds.
func (r ContainerRendering) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "engine %s\nprogram %s, %s\n", r.Engine, r.Program, r.Version)
	for i := 0; i < len(r.Arguments); {
		end := i + 1
		for end < len(r.Arguments) && !strings.HasPrefix(r.Arguments[end], "--") {
			end++
		}
		fmt.Fprintf(&b, "%s %s\n", r.Engine, strings.Join(r.Arguments[i:end], " "))
		i = end
	}
	_, rest, _ := strings.Cut(r.Init.String(), "\n") // without its engine
	return b.String() + rest
}

// Render implements Engine. It asks the engine about itself, and makes nothing.
func (c *Container) Render(spec Spec) (Rendering, error) {
	facts, err := c.facts(context.Background())
	if err != nil {
		return nil, err
	}
	unmade := c.host.unmade(&spec)
	p, err := c.plan(spec, facts)
	if err != nil {
		return nil, err
	}
	defer p.close()
	init := NativeRendering{
		Engine: c.name, Hostname: p.spec.Hostname, Links: p.spec.Links, TmpBytes: p.spec.TmpBytes,
		Endpoints: p.spec.Endpoints, LandlockFloor: p.spec.LandlockFloor, Landlock: p.spec.Landlock,
	}
	for _, m := range p.spec.Mounts {
		init.Mounts = append(init.Mounts, RenderedMount{Target: m.Target, Source: m.Source, Write: m.Write, Exec: m.Exec, File: m.File})
	}
	for _, m := range unmade {
		init.Mounts = append(init.Mounts, RenderedMount{Target: m.Target, Source: m.Source, Write: m.Write, Exec: m.Exec, File: m.File, Unmade: true})
	}
	for _, f := range p.spec.Files {
		init.Files = append(init.Files, RenderedFile{f.Path, string(f.Data)})
	}
	for _, l := range p.spec.Rlimits {
		init.Rlimits = append(init.Rlimits, RenderedLimit{limitName(l), l.Value})
	}
	c.host.calls(&init)
	args := append(append([]string{}, c.cli.args...), p.run.arguments(c.name)...)
	for i := range args {
		args[i] = strings.ReplaceAll(strings.ReplaceAll(args[i], p.dir, c.dir+"/SESSION"), p.run.name, "SESSION")
	}
	return ContainerRendering{Engine: c.name, Program: c.cli.path, Version: facts.words, Arguments: args, Init: init}, nil
}
