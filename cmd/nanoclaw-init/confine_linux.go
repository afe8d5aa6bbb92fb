package main

import (
	"context"
	"errors"
	"net"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/wire"
)

// builder collects what the steps of confineSelf make.
type builder struct {
	spec      *wire.Spec
	listeners []listener
	layers    []string
	missing   []string
}

// confineSelf finishes the boundary around this process. Either every step
// worked, or failed names the one that did not.
//
// The order matters: the root needs capabilities and the host's /proc, Landlock
// forbids mounts, and seccomp forbids what all others use.
func confineSelf(spec *wire.Spec) (*wire.Ready, []listener, *wire.Failed) {
	start := time.Now()
	b := &builder{spec: spec, layers: []string{
		"namespaces: user, mount, pid, network, ipc, uts, cgroup",
	}}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"root", b.root},
		{"loopback", confine.LoopbackUp},
		{"hostname", func() error { return unix.Sethostname([]byte(spec.Hostname)) }},
		{"keyring", confine.JoinKeyring},
		{"listeners", b.listen},
		{"limits", b.limits},
		{"privileges", b.drop},
		{"landlock", b.landlock},
		{"seccomp", b.seccomp},
	} {
		if skipped(step.name) {
			b.missing = append(b.missing, step.name+" was left out by a test")
			continue
		}
		if err := step.do(); err != nil {
			failed := &wire.Failed{Step: step.name, Err: err.Error()}
			if errno, ok := errors.AsType[syscall.Errno](err); ok {
				failed.Errno = int(errno)
			}
			return nil, nil, failed
		}
	}
	return &wire.Ready{Layers: b.layers, Missing: b.missing, Took: time.Since(start)}, b.listeners, nil
}

func (b *builder) root() error {
	b.layers = append(b.layers, "root: "+strconv.Itoa(len(b.spec.Mounts))+" mounts of the grant on an empty read-only root")
	return confine.BuildRoot(*b.spec)
}

func (b *builder) listen() error {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	for _, e := range b.spec.Endpoints {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(e.Port))
		l, err := lc.Listen(context.Background(), "tcp4", addr)
		if err != nil {
			return err
		}
		b.listeners = append(b.listeners, listener{l, e.Kind})
	}
	return nil
}

func (b *builder) limits() error {
	b.layers = append(b.layers, "rlimits: "+strconv.Itoa(len(b.spec.Rlimits)))
	return confine.Rlimits(b.spec.Rlimits)
}

func (b *builder) drop() error {
	b.layers = append(b.layers, "privileges: no capabilities, no_new_privs")
	return confine.Drop()
}

func (b *builder) landlock() error {
	layer, missing, err := confine.Landlock(b.spec.Landlock, b.spec.LandlockFloor)
	b.note(layer, missing)
	return err
}

func (b *builder) seccomp() error {
	layer, err := confine.Seccomp()
	b.note(layer, "")
	return err
}

func (b *builder) note(layer, missing string) {
	if layer != "" {
		b.layers = append(b.layers, layer)
	}
	if missing != "" {
		b.missing = append(b.missing, missing)
	}
}
