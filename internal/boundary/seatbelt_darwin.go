package boundary

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/seatbelt"
	"nanoclaw/internal/wire"
)

// startTimeout bounds a start.
const startTimeout = 30 * time.Second

// sandboxExec applies a profile and becomes another program (sandbox-exec(1)).
// Apple calls it deprecated, and there is no other way without a private
// interface of libsandbox.
const sandboxExec = "/usr/bin/sandbox-exec"

// Seatbelt is the boundary of macOS: one generated profile. Its methods may be
// called at the same time.
//
// No line of it was ever run: docs/threat-model.md says what that means.
type Seatbelt struct {
	opts Options
	path string // of the init, real
}

var _ Engine = (*Seatbelt)(nil)

// NewSeatbelt prepares a boundary. Nothing is started yet, and whether it stands
// is seen by Start or Probe.
func NewSeatbelt(opts Options) (*Seatbelt, error) {
	if opts.Init == nil {
		return nil, errors.New("nanoclaw-init is missing: this nanoclaw was built without it; build with make")
	}
	if _, err := os.Stat(sandboxExec); err != nil {
		return nil, fmt.Errorf("this macOS has no %s, and without it there is no boundary: %w", sandboxExec, err)
	}
	path := filepath.Join(opts.Dir, "nanoclaw-init")
	if err := replace(path, opts.Init); err != nil {
		return nil, fmt.Errorf("prepare nanoclaw-init: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if path, err = realPath(f); err != nil {
		return nil, err
	}
	opts.Init = nil
	return &Seatbelt{opts: opts, path: path}, nil
}

// Name implements Engine.
func (*Seatbelt) Name() string { return SeatbeltEngine }

// Programs implements Dependent.
func (*Seatbelt) Programs() []string { return []string{sandboxExec} }

// Start starts a session and returns when its boundary stands. Every error is a
// *StartError, except that of a ctx that ended.
func (b *Seatbelt) Start(ctx context.Context, spec Spec) (*Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the boundary did not stand in time"))
	defer cancel()
	if uid := os.Geteuid(); uid == 0 || spec.UID != 0 && spec.UID != uid {
		return nil, &StartError{Step: "identity", Err: errors.New("on macOS an agent runs as the user who runs nanoclaw, who must not be root"),
			Hint: "Run nanoclaw as yourself."}
	}
	g, err := b.resolve(spec.Grant, false)
	if err != nil {
		return nil, err
	}
	p, err := b.prepare(g, spec.Terminal)
	if err != nil {
		return nil, &StartError{Step: "prepare", Err: err}
	}
	defer p.closeFiles()
	text, err := seatbelt.Profile(g, p.params)
	if err != nil {
		p.remove()
		return nil, &StartError{Step: "profile", Err: err}
	}
	return b.launch(ctx, spec, g, p, text)
}

// launch starts what was prepared.
func (b *Seatbelt) launch(ctx context.Context, spec Spec, g grant.Grant, p *prepared, text string) (*Session, error) {
	profile, err := b.write(text)
	if err != nil {
		p.remove()
		return nil, &StartError{Step: "profile", Err: err}
	}
	defer os.Remove(profile) // it was read before the init says a word
	secret := rand.Text()
	c, err := b.spawn(profile, secret, p.files, spec.Log)
	if err != nil {
		p.remove()
		return nil, &StartError{Step: "process", Err: err}
	}
	if spec.Serve != nil {
		spec.Serve = seatbelt.Door(secret, spec.Serve)
	}
	local := seatbelt.Localize(g, p.params, secret)
	limits := &watched{Limits: spec.Grant.Limits, child: c, clear: p.remove}
	s, err := establish(ctx, SeatbeltEngine, c, c.wire, limits, spec, p.spec(spec.Grant))
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, b.explain(err, c)
	}
	s.local = local
	s.ready.Missing = append(s.ready.Missing, seatbeltMissing...)
	return s, nil
}

// seatbeltMissing is what this engine does not have and others do.
var seatbeltMissing = []string{
	"seatbelt: the init is not process 1; a process of the session can end it, which ends the session",
	"seatbelt: no namespaces; processes are found by descent when the session ends",
	"seatbelt: no filter of system calls",
}

// explain makes a *StartError of a handshake that failed.
func (b *Seatbelt) explain(err error, c *macChild) error {
	e := &StartError{Step: "init", Err: err}
	if inside, ok := errors.AsType[*initError](err); ok {
		e.Step = plain(inside.Step)
	}
	if last := c.lastWords(); last != "" {
		e.Err = fmt.Errorf("%w (%s)", err, last)
		e.Hint = "sandbox-exec refuses a profile as a whole if this macOS does not know a word of it. Keep this line, and the output of: nanoclaw policy show --render seatbelt"
	}
	return e
}

// write puts a profile into a file that only we can read, in a folder that no
// grant may show.
func (b *Seatbelt) write(text string) (string, error) {
	f, err := os.CreateTemp(b.opts.Dir, "session-*.sb") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = io.WriteString(f, text)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// Render shows the profile that Start would make, and starts nothing.
func (b *Seatbelt) Render(spec Spec) (Rendering, error) {
	g, err := b.resolve(spec.Grant, true)
	if err != nil {
		return nil, err
	}
	spec.Grant = g
	return PreviewSeatbelt(spec, b.opts.Protected)
}

// resolve gives the grant with the real paths of its mounts, without those that
// are not there and need not be. unmade accepts folders of the group's own that
// no session has made yet.
func (b *Seatbelt) resolve(g grant.Grant, unmade bool) (grant.Grant, error) {
	mounts := make([]grant.Mount, 0, len(g.Mounts))
	for _, m := range g.Mounts {
		if m.Held {
			// A part of a folder: named in the profile and not opened, since no agent
			// may choose by a link what that would be.
			if i := slices.IndexFunc(mounts, func(o grant.Mount) bool { return strings.HasPrefix(m.Target, o.Target+"/") && o.Foreign && !o.Held }); i >= 0 {
				m.Source = mounts[i].Source + strings.TrimPrefix(m.Target, mounts[i].Target)
				mounts = append(mounts, m)
				continue
			}
			return g, &StartError{Step: "mount " + m.Target, Err: errors.New("it is held, and no folder of the grant holds it; this is a mistake of ours")}
		}
		real, err := b.look(m)
		switch {
		case errors.Is(err, os.ErrNotExist) && m.Optional:
			continue
		case errors.Is(err, os.ErrNotExist) && unmade && !m.Foreign && !m.File:
			real = m.Source
		case err != nil:
			return g, &StartError{Step: "mount " + m.Target, Err: err}
		}
		m.Source = real
		mounts = append(mounts, m)
	}
	g.Mounts = mounts
	return g, nil
}

// look opens the source of a mount, once, and gives where it really is.
func (b *Seatbelt) look(m grant.Mount) (string, error) {
	f, err := os.OpenFile(m.Source, openPath, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	real, err := realPath(f)
	if err != nil {
		return "", err
	}
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); m.Ino != 0 && (!ok || st.Ino != m.Ino || uint64(st.Dev) != m.Dev) {
		return "", fmt.Errorf("%s changed while starting", m.Source)
	}
	if m.File != fi.Mode().IsRegular() || m.File == fi.IsDir() {
		return "", fmt.Errorf("%s is neither the folder nor the file that it should be", m.Source)
	}
	if b.opts.Check != nil {
		err = b.opts.Check(m, real)
	}
	return real, err
}

// prepared is what a session needs before its start, and what its init inherits.
type prepared struct {
	params   seatbelt.Params
	dir      string     // the session's own, gone after it
	files    []*os.File // from descriptor 3 on: listeners, then the terminal's two ends
	terminal bool
}

func (p *prepared) closeFiles() { closeAll(p.files) }

func (p *prepared) remove() { os.RemoveAll(p.dir) }

// firstFD is the number of the first inherited descriptor in the init.
const firstFD = 3

// prepare makes the session's folders, listeners and terminal. On an error
// nothing of it is left.
func (b *Seatbelt) prepare(g grant.Grant, terminal bool) (p *prepared, err error) {
	p = &prepared{params: seatbelt.Params{
		Init: b.path, Views: map[string]string{}, Ports: map[string]int{},
		Protected: b.opts.Protected,
	}}
	defer func() {
		if err != nil {
			p.closeFiles()
			p.remove()
			p = nil
		}
	}()
	if err = p.folders(g); err != nil {
		return p, err
	}
	for _, e := range g.Endpoints {
		if err = p.listen(e); err != nil {
			return p, err
		}
	}
	if !terminal {
		return p, nil
	}
	master, slave, name, err := openTerminal()
	if err != nil {
		return p, fmt.Errorf("make a terminal: %w", err)
	}
	p.terminal, p.params.Terminal = true, name
	p.files = append(p.files, master, slave)
	return p, nil
}

// folders makes the session's own: one for temporary files, and the views.
func (p *prepared) folders(g grant.Grant) error {
	dir, err := os.MkdirTemp("", "nanoclaw-")
	if err != nil {
		return err
	}
	p.dir = dir
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	real, err := realPath(f)
	if err != nil {
		return err
	}
	p.params.Tmp = filepath.Join(real, "tmp")
	if err := os.Mkdir(p.params.Tmp, 0o700); err != nil {
		return err
	}
	views, err := seatbelt.Views(g)
	if err != nil {
		return err
	}
	for i, v := range views {
		p.params.Views[v.Target] = filepath.Join(real, fmt.Sprintf("view-%d", i))
		if err := fill(p.params.Views[v.Target], v); err != nil {
			return err
		}
	}
	return nil
}

// listen makes the listener of an endpoint, at a port of the kernel's choice.
func (p *prepared) listen(e grant.Endpoint) error {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		return err
	}
	p.params.Ports[e.Name] = l.Addr().(*net.TCPAddr).Port
	p.files = append(p.files, f)
	return nil
}

// spec is what the init is told.
func (p *prepared) spec(g grant.Grant) *wire.Spec {
	w := &wire.Spec{Version: wire.Version, Token: rand.Text(), Hostname: hostname, Rlimits: macLimits(g.Limits)}
	for i, e := range g.Endpoints {
		w.Endpoints = append(w.Endpoints, wire.Endpoint{Port: p.params.Ports[e.Name], Kind: wire.Kind(e.Name), FD: firstFD + i})
	}
	if n := firstFD + len(g.Endpoints); p.terminal {
		w.Terminal = &wire.Terminal{Master: n, Slave: n + 1}
	}
	return w
}
