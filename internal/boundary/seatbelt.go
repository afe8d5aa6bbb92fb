package boundary

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/seatbelt"
)

// SeatbeltRendering is what the engine seatbelt makes of a grant. What it shows
// of ports and of the session's own folders is only decided at a start.
type SeatbeltRendering struct {
	Engine  string      `json:"engine"`
	Profile string      `json:"profile"`
	Seen    grant.Grant `json:"seen"` // as the agent meets it
}

// String is the profile.
func (r SeatbeltRendering) String() string { return r.Profile }

// PreviewSeatbelt shows the profile for a grant, on any system. Paths are as they
// stand in the grant: on a Mac, Render looks them up. protected is that of Options.
func PreviewSeatbelt(spec Spec, protected []string) (Rendering, error) {
	p, err := previewParams(spec.Grant)
	if err != nil {
		return nil, err
	}
	p.Protected = protected
	text, err := seatbelt.Profile(spec.Grant, p)
	if err != nil {
		return nil, err
	}
	return SeatbeltRendering{SeatbeltEngine, text, seatbelt.Localize(spec.Grant, p, "").Seen(spec.Grant)}, nil
}

// previewParams stand for what a start decides: the ports are those of Linux.
func previewParams(g grant.Grant) (seatbelt.Params, error) {
	const dir = "/private/var/folders/nanoclaw-SESSION"
	p := seatbelt.Params{Init: "/nanoclaw/nanoclaw-init", Tmp: dir + "/tmp", Views: map[string]string{}, Ports: map[string]int{}}
	for _, e := range g.Endpoints {
		p.Ports[e.Name] = e.Port
	}
	views, err := seatbelt.Views(g)
	for i, v := range views {
		p.Views[v.Target] = dir + "/view-" + strconv.Itoa(i)
	}
	return p, err
}

// fill makes the folder of a view. What it links to is judged by the profile.
func fill(dir string, v seatbelt.View) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(v.Source)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, inner := v.Links[e.Name()]; !inner {
			err = errors.Join(err, os.Symlink(filepath.Join(v.Source, e.Name()), filepath.Join(dir, e.Name())))
		}
	}
	for name, source := range v.Links {
		err = errors.Join(err, os.Symlink(source, filepath.Join(dir, name)))
	}
	return err
}
