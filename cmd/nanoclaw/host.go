package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/store"
	"nanoclaw/internal/web"
)

// host is a daemon that lives in this process.
type host interface {
	control.Host
	// Run serves until ctx ends or Shutdown is called. ready is called once
	// everything is up.
	Run(ctx context.Context, ready func()) error
	// Close gives the store back. Run has returned, or was never called.
	Close() error
}

// hostOptions are what a host is opened with.
type hostOptions struct {
	paths  config.Paths
	getenv func(string) string
	log    *slog.Logger
	say    func(string)

	containerProgram string            // see daemon.Options
	channels         []channel.Channel // see daemon.Options
}

// need says what a verb wants of a host.
type need int

const (
	existing need = iota // a running daemon or nothing
	reading              // answers to questions; a host of our own need not run
	running              // somebody who acts
)

// startTime is how long a command waits for a daemon that is just starting.
const startTime = 5 * time.Second

// session is the host that a verb talks to.
type session struct {
	*control.Client
	own *ownHost // nil: a daemon of another process
}

// connect finds the running daemon by its socket, or opens a host in this
// process. Two commands that start at once both find no socket; the store's
// lock lets one of them be the host, and the other finds its socket then.
func (a *app) connect(ctx context.Context, n need) (*session, error) {
	paths, err := a.paths()
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(startTime); ; {
		c, err := control.Dial(ctx, socket(paths))
		if err == nil {
			return &session{Client: c}, nil
		}
		if n == existing || !errors.Is(err, control.ErrNotRunning) {
			return nil, err
		}
		own, err := a.openOwn(ctx, paths, n)
		if err == nil {
			return &session{Client: control.NewClient(own.memory.Dial), own: own}, nil
		}
		if !taken(err) || time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// taken tells whether err says that another process is the host.
func taken(err error) bool {
	var locked *store.LockedError
	return errors.As(err, &locked) || errors.Is(err, control.ErrRunning)
}

// close leaves the host. One of our own ends, once nobody else uses it.
func (s *session) close() error {
	s.Client.Close()
	if s.own == nil {
		return nil
	}
	return s.own.close()
}

// ownHost is a host in this process, behind the same server as a daemon's.
type ownHost struct {
	app    *app
	host   host
	server *control.Server
	memory *control.Memory
	cancel context.CancelFunc
	ended  chan error // the outcome of Run; nil if it was never called
}

// openOwn opens a host and, if it is to act, runs it. Then it also answers at
// the socket, so that another terminal can join.
func (a *app) openOwn(ctx context.Context, paths config.Paths, n need) (*ownHost, error) {
	log := slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelError}))
	h, err := a.open(ctx, hostOptions{paths: paths, getenv: a.getenv, log: log, say: func(s string) { a.say("%s", s) }})
	if err != nil {
		return nil, err
	}
	o := &ownHost{app: a, host: h, server: control.NewServer(h, log), memory: control.NewMemory()}
	go o.server.Serve(o.memory)
	if n != running {
		return o, nil
	}
	l, err := control.Listen(socket(paths), log)
	if err != nil {
		return nil, errors.Join(err, o.server.Close(), h.Close())
	}
	// It does not end with ctx: what the verb does with the host comes first.
	if err := o.start(context.WithoutCancel(ctx)); err != nil {
		return nil, errors.Join(err, l.Close(), o.server.Close(), h.Close())
	}
	go o.server.Serve(l)
	return o, nil
}

// start runs the host and returns once it is ready.
func (o *ownHost) start(ctx context.Context) error {
	ctx, o.cancel = context.WithCancel(ctx)
	o.ended = make(chan error, 1)
	ready := make(chan struct{})
	go func() { o.ended <- o.host.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
		return nil
	case err := <-o.ended:
		o.ended = nil
		if err == nil {
			err = errors.New("the host ended before it was ready")
		}
		return err
	}
}

// close ends the host. If another terminal still uses it, it waits for that
// one, and says so.
func (o *ownHost) close() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if o.server.Drain(short) != nil && ctx.Err() == nil {
		o.app.say("another terminal uses this host; waiting for it (Ctrl-C ends it too)")
		o.server.Drain(ctx)
	}
	var err error
	if o.ended != nil {
		o.cancel()
		err = <-o.ended
	}
	return errors.Join(err, o.server.Close(), o.host.Close())
}

// with gives a verb its host, and leaves it afterwards.
func (a *app) with(ctx context.Context, n need, do func(*session) error) error {
	s, err := a.connect(ctx, n)
	if err != nil {
		return err
	}
	err = do(s)
	if closing := s.close(); closing != nil {
		a.say("the host did not end well: %v", closing)
		if err == nil {
			err = &exitError{code: exitFailed}
		}
	}
	return err
}

// serve is the daemon: it runs h behind its socket until ctx ends.
func (a *app) serve(ctx context.Context, h host, l net.Listener, log *slog.Logger, ready func()) error {
	server := control.NewServer(h, log)
	dashboard := web.New(web.Options{Host: h, Log: log})
	defer dashboard.Close()
	server.OnDashboard(dashboard.Link)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	err := h.Run(ctx, ready)
	closing := server.Close()
	if serving := <-served; !errors.Is(serving, net.ErrClosed) {
		err = errors.Join(err, serving)
	}
	if err = errors.Join(err, closing); err != nil {
		return fmt.Errorf("the daemon ended: %w", err)
	}
	return nil
}

// isTerminal tells whether f is a terminal; what is no file is none.
func isTerminal(f any) (*os.File, bool) {
	file, ok := f.(*os.File)
	return file, ok && terminal(file)
}
