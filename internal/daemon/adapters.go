package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/external"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/wire"
)

// openAdapters makes the channels that have an adapter of their own. One that lacks a
// secret is said to, and the others go on.
func (d *Daemon) openAdapters() {
	for _, name := range slices.Sorted(maps.Keys(d.config.Channels.External)) {
		id := chat.ChannelID(name)
		secrets, err := d.adapterSecrets(name)
		if d.channels[id] != nil {
			err = errors.New("there is another channel of this name")
		}
		if err != nil {
			d.log.Error("a channel is not connected", "channel", id, "err", err)
			d.networks.states[id] = channel.Status{State: channel.Ended, Since: time.Now(), Cause: err.Error()}
			continue
		}
		for _, secret := range secrets {
			d.mask.Learn(secret)
		}
		d.addChannel(external.New(external.Options{
			ID: id, Secrets: secrets, Log: d.log.With("channel", id),
			Assistant: func() string { return d.router.Rules().Name },
			Start:     func(ctx context.Context) (external.Program, error) { return d.startAdapter(ctx, name) },
		}))
	}
}

// adapterSecrets are those that the configuration names.
func (d *Daemon) adapterSecrets(name string) (map[string]string, error) {
	want := d.config.Channels.External[name].Secrets
	if len(want) == 0 {
		return nil, nil
	}
	tokens, err := credential.New(d.opt.Paths, d.opt.Getenv).LoadTokens(name)
	if err != nil {
		return nil, err
	}
	secrets := map[string]string{}
	for _, s := range want {
		if secrets[s] = tokens[s]; secrets[s] == "" {
			return nil, fmt.Errorf("it lacks its secret %q: nanoclaw channel login %s, then restart nanoclaw", s, name)
		}
	}
	return secrets, nil
}

// startAdapter starts the program of an external channel in a boundary of its own. The
// context bounds the start alone.
func (d *Daemon) startAdapter(ctx context.Context, name string) (*adapterProcess, error) {
	if err := d.checkConfig(ctx); err != nil {
		return nil, err
	}
	program := grant.ExpandHome(d.config.Channels.External[name].Program, d.machine.OwnerHome)
	paths := []string{program}
	for _, g := range d.config.Groups {
		paths = append(paths, lentPaths(g, grant.Trigger{})...)
	}
	m := d.machineNow()
	m.Real = d.real(paths)
	g, err := grant.AdapterGrant(grant.Request{Config: d.config, Machine: m}, name)
	if err != nil {
		return nil, err
	}
	if err := checkProgram(program); err != nil {
		return nil, channel.Permanent(err)
	}
	uid, err := d.uid(ctx, g.Group)
	if err != nil {
		return nil, err
	}
	p := &adapterProcess{name: name, boxed: boxed{d: d, group: g.Group, id: chat.NewSessionID()}}
	p.way = d.gateway(g, runner.Caller{Group: g.Group, Session: p.id, Run: func() chat.RunID { return "" }})
	p.box, err = starter{d}.start(ctx, "", boundary.Spec{
		Grant: g, Session: p.id, UID: uid, LandlockFloor: d.config.Boundary.LandlockFloor, Log: d.log.With("session", p.id, "channel", name),
		Files: p.way.Files(), Serve: func(kind wire.Kind, conn net.Conn) {
			if kind == wire.Proxy { // it has no other endpoint
				p.way.Serve(kind, conn)
			}
		},
	}, func() error { return d.prepareAdapter(name, uid) })
	if err == nil {
		argv := append([]string{path.Join(grant.AdapterDir, name)}, d.config.Channels.External[name].Args...)
		err = p.begin(ctx, audit.SessionStartedData{Adapter: name}, wire.Exec{Argv: argv, Dir: grant.Home, Env: environment(g, nil)})
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// prepareAdapter makes the folder that an adapter keeps. The folder above is ours, so
// that what lies in it cannot be replaced from inside.
func (d *Daemon) prepareAdapter(name string, uid int) error {
	dir := d.machine.StateDir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return own(filepath.Join(dir, "home"), uid)
}

// checkProgram refuses an adapter that everybody could change.
func checkProgram(file string) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return fmt.Errorf("the adapter cannot be found: %w", err)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is no program", file)
	case info.Mode()&0o022 != 0:
		return fmt.Errorf("others than its owner can change %s: chmod go-w %s", file, file)
	}
	return nil
}

// adapterProcess is the program of an external channel and the boundary around it.
type adapterProcess struct {
	boxed
	name string
}

// LastWords is the end of what it wrote to its standard error.
func (p *adapterProcess) LastWords() string { return p.lastWords() }

// Close ends the program and everything in its boundary.
func (p *adapterProcess) Close() error {
	p.end("the adapter of " + p.name + " ended")
	return nil
}

// ChannelLogin asks a channel to log in, and tells how it stands and what somebody has
// to do now.
func (d *Daemon) ChannelLogin(ctx context.Context, r control.ChannelRequest) (control.ChannelInfo, error) {
	c, _ := d.channels[r.Channel].(channel.Pairing)
	if c == nil {
		return control.ChannelInfo{}, &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("the channel %q has no login by steps here", channel.OneLine(string(r.Channel), 40)),
			Hint: "nanoclaw channel list"}
	}
	step, err := c.Login(ctx)
	if err != nil {
		return control.ChannelInfo{}, err
	}
	info := control.ChannelInfo{Channel: r.Channel}
	for _, s := range d.channelStates() {
		if s.Channel == r.Channel {
			info = s
		}
	}
	if step != nil {
		info.Step = &control.ChannelStep{Text: step.Text, Copy: step.Copy, QR: step.QR}
	}
	return info, nil
}
