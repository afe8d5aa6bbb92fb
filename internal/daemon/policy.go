package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/control"
	"nanoclaw/internal/delayed"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/grant"
)

// Policy decides what a session of a group would be granted now, answers
// questions about it, and shows what an engine makes of it.
func (d *Daemon) Policy(ctx context.Context, q control.PolicyQuery) (control.Policy, error) {
	if err := d.known(q.Group); err != nil {
		return control.Policy{}, err
	}
	r, err := d.request(ctx, q.Group, grant.Trigger{Kind: "message", Owner: true, Terminal: true, Mounts: q.Mounts})
	if err != nil {
		return control.Policy{}, err
	}
	r.Mode = grant.Mode(q.Mode)
	d.fit(ctx, &r, "")
	g, err := d.granted(r)
	if err == nil {
		g, err = d.hold(g)
	}
	var no *grant.Refusal
	if errors.As(err, &no) {
		return control.Policy{Refusal: no.Text, Hint: no.Hint}, nil
	}
	if err != nil {
		return control.Policy{}, err
	}
	p := control.Policy{Text: g.String()}
	if p.Grant, err = json.Marshal(g); err != nil {
		return control.Policy{}, err
	}
	if p.Answers, err = d.explain(g, q.Explain); err != nil {
		return control.Policy{}, err
	}
	if q.Render != "" {
		return p, d.show(ctx, g, q.Render, &p)
	}
	return p, nil
}

// explain answers questions about a grant.
func (d *Daemon) explain(g grant.Grant, questions []string) ([]control.Explanation, error) {
	var out []control.Explanation
	for _, text := range questions {
		q, err := grant.ParseQuestion(text)
		if err != nil {
			return nil, &control.Error{Code: control.CodeUsage, Message: err.Error()}
		}
		a := grant.Explain(g, d.machine, q)
		switch {
		case q.Kind == grant.AboutCall:
			a = boundary.ExplainCall(q)
		case q.Kind == grant.AboutPath && a.Allow != "":
			a.Allow = d.allowFolder(g, q)
		case q.Kind == grant.AboutPath && a.Allowed:
			a.Why = cmp.Or(movedLater(g, q, a), a.Why)
		}
		out = append(out, control.Explanation(a))
	}
	return out, nil
}

// movedLater says of a file that the agent may make whether it would be moved
// away when the run ends. The grant does not know: it names what is there now.
func movedLater(g grant.Grant, q grant.Question, a grant.Answer) string {
	if q.Op != grant.OpCreate && q.Op != grant.OpWrite && q.Op != grant.OpRename && q.Op != grant.OpLink {
		return ""
	}
	p := cmp.Or(a.As, filepath.Clean(q.Name))
	for _, m := range g.Lent() {
		rest, ok := strings.CutPrefix(p, m.Target+"/")
		if !ok {
			continue
		}
		switch what, deed := delayed.Name(filepath.Join(m.Source, rest)); deed {
		case delayed.Hold:
			return what + ": runs code on this machine later, so it is moved away when the run ends, if it is new"
		case delayed.Tell:
			if what != "" {
				return what + ": you are told when it is new or changed"
			}
		}
	}
	return ""
}

// allowFolder is the command that allows what a question about a path asks.
// Only folders that exist can be mounted, so it names the nearest one.
func (d *Daemon) allowFolder(g grant.Grant, q grant.Question) string {
	for p := filepath.Clean(q.Name); ; p = filepath.Dir(p) {
		if fi, err := os.Stat(p); err == nil && fi.IsDir() {
			q.Name = p
			return grant.Explain(g, d.machine, q).Allow
		}
		if p == "/" {
			return ""
		}
	}
}

// show renders a grant for an engine, into p.
func (d *Daemon) show(ctx context.Context, g grant.Grant, engine string, p *control.Policy) error {
	if engine == boundary.SeatbeltEngine && !slices.Contains(boundary.Engines(), engine) {
		// The profile is made of the grant alone, so it can be read anywhere.
		r, err := boundary.PreviewSeatbelt(boundary.Spec{Grant: g}, delayed.Names())
		if err != nil {
			return &control.Error{Code: control.CodeBoundary, Message: err.Error()}
		}
		return shown(r, p)
	}
	m, err := d.engineFor(ctx, engine, g.Mode)
	if err != nil {
		return err
	}
	e, err := m.open()
	if err != nil {
		return err
	}
	uid, err := d.uid(ctx, g.Group)
	if err != nil {
		return err
	}
	r, err := e.Render(boundary.Spec{Grant: g, UID: uid, LandlockFloor: d.config.Boundary.LandlockFloor, Files: egress.PreviewFiles(g.Egress)})
	if err != nil {
		return &control.Error{Code: control.CodeBoundary, Message: err.Error()}
	}
	return shown(r, p)
}

// shown puts a rendering into p.
func shown(r boundary.Rendering, p *control.Policy) (err error) {
	p.RenderedText = r.String()
	p.Rendering, err = json.Marshal(r)
	return err
}
