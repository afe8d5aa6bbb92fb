package boundary

import (
	"errors"
	"os"

	"nanoclaw/internal/confine"
)

// Render implements Engine. It looks
// each mount's source up as Start would, to tell what is there and where it
// really is, opens it by O_PATH alone and lets go of it at once. Folders of the
// group that no session has made yet are shown as such.
func (n *Native) Render(spec Spec) (Rendering, error) {
	all, unmade, err := n.lookUp(spec)
	if err != nil {
		return nil, err
	}
	kept, links := arrange(all)
	w := render(spec, kept, links)
	r := NativeRendering{
		Engine: n.Name(), Hostname: w.Hostname, Links: w.Links, TmpBytes: w.TmpBytes,
		Endpoints: w.Endpoints, LandlockFloor: w.LandlockFloor, Landlock: w.Landlock,
	}
	for _, m := range kept {
		r.Mounts = append(r.Mounts, RenderedMount{
			Target: m.Target, Source: m.canonical, Write: m.Write, Exec: m.Exec, File: m.File, Unmade: unmade[m.Target], Held: m.Held,
		})
	}
	for _, f := range w.Files {
		r.Files = append(r.Files, RenderedFile{f.Path, string(f.Data)})
	}
	for _, l := range w.Rlimits {
		r.Rlimits = append(r.Rlimits, RenderedLimit{limitName(l), l.Value})
	}
	r.calls()
	return r, nil
}

// calls adds the filter of system calls.
func (r *NativeRendering) calls() {
	r.NewestCall = confine.NewestCall()
	for _, c := range confine.SeccompRules() {
		r.Calls = append(r.Calls, RenderedCall{c.Call, c.Conditions(), c.Action.String(), c.Reason})
	}
}

// lookUp resolves the mounts of a spec and closes them again. Of the group's
// own folders that do not exist yet it takes the path as it is written.
func (n *Native) lookUp(spec Spec) (all []source, unmade map[string]bool, err error) {
	unmade = map[string]bool{}
	there := spec.Grant.Mounts[:0:0]
	for _, m := range spec.Grant.Mounts {
		_, err := os.Lstat(m.Source)
		if errors.Is(err, os.ErrNotExist) && !m.Optional && !m.Foreign && !m.File {
			unmade[m.Target] = true
			all = append(all, source{Mount: m, canonical: m.Source})
			continue
		}
		there = append(there, m)
	}
	found, err := n.resolveAll(there)
	for _, m := range found {
		m.pin.Close()
	}
	return append(found, all...), unmade, err
}
