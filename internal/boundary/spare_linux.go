package boundary

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// A spare is an init that was cloned ahead of time. Everything of its boundary
// is in place but what belongs to one session: the mounts that it can write or
// that are the owner's, the token, the command. It has a root that is not yet
// entered, and is not confined; nothing of an agent is in it. With the rest of
// the spec it does what every init does, and becomes a session: once.

// shape is all that is set up ahead. A spare serves only a session whose own
// shape is equal.
type shape struct {
	id identity
	// spec is without the token, descriptors, and what is in rest.
	spec wire.Spec
	// inodes are the mounts' sources, in their order: a folder that was replaced
	// is another one.
	inodes []inode
	// limits bound the session's cgroup, among others.
	limits grant.Limits
}

type inode struct{ dev, ino uint64 }

// division is a plan, divided in what can be set up ahead and the rest.
type division struct {
	shape
	ahead, later []source
	rest         wire.Rest
}

// divide divides a plan. Later come the mounts that the session can write, the
// owner's, and what lies beneath one of these.
func (p *plan) divide(spec Spec) division {
	d := division{shape: shape{id: p.id, spec: p.spec, limits: spec.Grant.Limits}}
	late := func(target string) bool {
		return slices.ContainsFunc(d.later, func(l source) bool { return beneath(target, l.Target) })
	}
	for _, m := range p.kept {
		if m.Write || m.Foreign || m.Held || late(m.Target) {
			d.later = append(d.later, m)
			continue
		}
		d.ahead = append(d.ahead, m)
		d.spec.Mounts = append(d.spec.Mounts, wire.Mount{Target: m.Target, Source: m.canonical, Exec: m.Exec, File: m.File})
		d.inodes = append(d.inodes, inode{m.stat.Dev, m.stat.Ino})
	}
	d.rest.Token, d.spec.Token = p.spec.Token, ""
	d.spec.Landlock = nil
	for _, r := range p.spec.Landlock {
		if late(r.Path) {
			d.rest.Landlock = append(d.rest.Landlock, r)
		} else {
			d.spec.Landlock = append(d.spec.Landlock, r)
		}
	}
	return d
}

// maxLater is the most mounts that come later: what fits into one message on a
// socket (SCM_MAX_FD is 253).
const maxLater = 200

// spare is an init that stands by.
type spare struct {
	shape   shape
	child   *child
	limits  *limits
	mux     *wire.Mux
	control *wire.Stream
	socket  *os.File // for the descriptors of the rest
}

// close ends a spare that was not used.
func (s *spare) close() {
	s.socket.Close()
	s.child.Kill()
	<-s.child.Done()
	if s.mux != nil {
		s.mux.Close()
	}
	s.limits.free()
}

// standBy makes a spare for sessions like spec.
func (n *Native) standBy(ctx context.Context, spec Spec) (*spare, error) {
	id, err := n.identify(spec.UID)
	if err != nil {
		return nil, err
	}
	p, err := n.plan(spec, id)
	if err != nil {
		return nil, err
	}
	defer p.close()
	d := p.divide(spec)
	s := &spare{shape: d.shape}
	sent := d.spec
	if sent.Mounts, p.files, err = n.give(d.ahead, id, firstFD); err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s.socket = os.NewFile(uintptr(pair[0]), "spare")
	sent.RestFD = firstFD + len(p.files)
	p.files = append(p.files, os.NewFile(uintptr(pair[1]), "spare")) // closed with p
	ahead := d.limits
	ahead.Disk = 0 // whose is not yet known
	if s.child, s.limits, err = n.raise(Spec{Grant: grant.Grant{Limits: ahead}, Log: n.opts.Log}, p); err != nil {
		s.socket.Close()
		return nil, err
	}
	if s.mux, err = wire.Host(s.child.wire); err != nil {
		s.close()
		return nil, err
	}
	if err := within(ctx, s.mux, func() error { return s.wait(&sent) }); err != nil {
		s.close()
		return nil, n.explain(err, s.child)
	}
	return s, nil
}

// wait takes the init to where it stands by.
func (s *spare) wait(spec *wire.Spec) (err error) {
	if s.control, err = open(s.mux, spec); err != nil {
		return err
	}
	m, err := wire.Receive(s.control)
	switch {
	case err != nil:
		return err
	case m.Failed != nil:
		return &initError{*m.Failed}
	case m.Standing == nil:
		return errors.New("the init does not stand by")
	}
	<-s.limits.entered
	return nil
}

// use makes a session of a spare. Whatever happens, the spare is used up.
func (n *Native) use(ctx context.Context, spec Spec, d division, sp *spare) (*Session, error) {
	defer sp.socket.Close()
	mounts, files, err := n.give(d.later, d.id, 0)
	defer closeAll(files)
	if err == nil {
		err = sp.send(files)
	}
	if err != nil {
		sp.close()
		return nil, err
	}
	d.rest.Mounts = mounts
	sp.child.log.Store(spec.Log)
	sp.limits.take(n.disks, spec)
	s := newSession(n.Name(), sp.child, sp.limits, sp.mux, spec)
	s.prepared = true
	err = within(ctx, sp.mux, func() error {
		sp.mux.SetToken(d.rest.Token)
		if err := wire.Send(sp.control, wire.Message{Rest: &d.rest}); err != nil {
			return s.why(err)
		}
		return s.confirm(sp.control)
	})
	if err != nil {
		s.Close()
		return nil, n.explain(err, sp.child)
	}
	return s, nil
}

// send sends descriptors. The socket takes them at once: it is empty.
func (s *spare) send(files []*os.File) error {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	err := unix.Sendmsg(int(s.socket.Fd()), []byte{0}, unix.UnixRights(fds...), nil, 0)
	if err != nil {
		return fmt.Errorf("hand mounts to a spare: %w", err)
	}
	return nil
}
