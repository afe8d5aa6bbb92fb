package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/wire"
)

// builder finishes the boundary around this process, in two stages. What the
// stages do is the same whether the whole spec is known at the start or its rest
// comes later: a boundary that stood ready is not another kind.
type builder struct {
	spec      *wire.Spec
	began     time.Time
	rooted    *confine.Root
	domain    *confine.Domain
	filter    *confine.Filter
	listeners []listener
	layers    []string
	missing   []string
	// alone says that we are process 1, which what we start cannot kill, and
	// have the capabilities to change the bounding set.
	alone bool
}

// step is one step of the confinement.
type step struct {
	name string
	do   func() error
}

// stand does everything that the rest of a spec does not change. Nothing is
// given up yet.
func (b *builder) stand() *wire.Failed {
	b.began = time.Now()
	var failed *wire.Failed
	if b.spec.Prepared {
		failed = b.run(
			step{"inotify", b.watches},
			step{"root", func() error { return unix.Chdir("/") }},
		)
	} else if containedIn(b.spec) {
		failed = b.run(
			step{"container", b.container},
			step{"inotify", b.watches},
			step{"loopback", b.loopback},
		)
	} else {
		b.layers = append(b.layers, "namespaces: user, mount, pid, network, ipc, uts, cgroup")
		failed = b.run(
			step{"namespaces", b.namespaces},
			step{"inotify", b.watches}, // while the machine's /proc is there
			step{"root", b.root},
			step{"loopback", b.loopback},
			step{"hostname", b.hostname},
		)
	}
	if failed != nil {
		return failed
	}
	return b.run(
		step{"keyring", b.keyring},
		step{"listeners", b.listen},
		step{"limits", b.limits},
		step{"landlock", b.prepareLandlock},
		step{"seccomp", b.prepareSeccomp},
	)
}

// confine gives up every right. Afterwards the process is as confined as what
// it starts.
//
// The order matters: the root needs capabilities and the host's /proc, Landlock
// forbids mounts, and seccomp forbids what all others use.
func (b *builder) confine() (*wire.Ready, *wire.Failed) {
	failed := b.run(
		step{"root", b.enter},
		step{"privileges", b.drop},
		step{"landlock", b.landlock},
		step{"seccomp", b.seccomp},
	)
	if failed != nil {
		return nil, failed
	}
	return &wire.Ready{Layers: b.layers, Missing: b.missing, Took: time.Since(b.began)}, nil
}

// run does steps. Either every one worked, or failed names the one that did not.
func (b *builder) run(steps ...step) *wire.Failed {
	for _, s := range steps {
		if skipped(s.name) {
			if words := s.name + " was left out by a test"; !slices.Contains(b.missing, words) {
				b.missing = append(b.missing, words)
			}
			continue
		}
		if err := s.do(); err != nil {
			return failure(s.name, err)
		}
	}
	return nil
}

func failure(step string, err error) *wire.Failed {
	failed := &wire.Failed{Step: step, Err: err.Error()}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		failed.Errno = int(errno)
	}
	return failed
}

// watches goes on without the bound: a machine whose /proc/sys cannot be written,
// such as a container, has nothing else to take its place.
func (b *builder) watches() error {
	bound := confine.Watches
	if b.spec.Built != nil || b.spec.Prepared { // the engine's user namespace is not ours to set
		bound = confine.ProveWatches
	}
	layer, err := bound()
	if err != nil {
		b.missing = append(b.missing, "a limit on inotify: "+err.Error())
		return nil
	}
	b.note(layer, "")
	return nil
}

// Where an engine has built the surroundings, the first steps prove them.

func (b *builder) namespaces() error {
	if b.spec.Built == nil {
		return nil // whoever cloned us made them
	}
	return confine.ProveNamespaces(*b.spec)
}

// container proves what an engine made of the grant and an image.
func (b *builder) container() error {
	layers, lacks, err := confine.ProveContainer(*b.spec)
	b.layers, b.missing = append(b.layers, layers...), append(b.missing, lacks...)
	return errors.Join(err, unix.Chdir("/"))
}

// keyring leaves the owner's keys behind. An engine has made a keyring for the
// container, and its filter, which is ours, lets nobody ask for another.
func (b *builder) keyring() error {
	if containedIn(b.spec) {
		return nil
	}
	return confine.JoinKeyring()
}

func (b *builder) root() (err error) {
	if b.spec.Built == nil {
		b.rooted, err = confine.NewRoot(*b.spec)
		return err
	}
	lacks, err := confine.ProveRoot(*b.spec)
	b.missing = append(b.missing, lacks...)
	return err
}

func (b *builder) loopback() error {
	if b.spec.Built == nil {
		return confine.LoopbackUp()
	}
	return confine.ProveLoopback()
}

func (b *builder) hostname() error {
	if b.spec.Built == nil {
		return unix.Sethostname([]byte(b.spec.Hostname))
	}
	return nil // proven with the namespaces
}

// complete takes the rest of the spec.
func (b *builder) complete(rest *wire.Rest) *wire.Failed {
	b.began = time.Now()
	b.spec.Token = rest.Token
	b.spec.Mounts = append(b.spec.Mounts, rest.Mounts...)
	return b.run(
		step{"root", func() error { return b.rooted.Mount(rest.Mounts) }},
		step{"landlock", func() error { return b.domain.Allow(rest.Landlock) }},
	)
}

func (b *builder) enter() error {
	if b.spec.Prepared || containedIn(b.spec) {
		return nil
	}
	root := "root: " + strconv.Itoa(len(b.spec.Mounts)) + " mounts of the grant on an empty read-only root"
	if b.spec.Built != nil {
		b.layers = append(b.layers, root+", built by "+b.spec.Built.By+" and proven")
		return nil
	}
	b.layers = append(b.layers, root)
	return b.rooted.Enter()
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
	if !b.alone {
		b.layers = append(b.layers, "privileges: no capabilities but in the bounding set, no_new_privs")
		return confine.DropHeld()
	}
	b.layers = append(b.layers, "privileges: no capabilities, no_new_privs")
	return confine.Drop()
}

func (b *builder) prepareLandlock() (err error) {
	newDomain := confine.NewDomain
	if !b.alone {
		newDomain = confine.NewParentDomain
	}
	if b.domain, err = newDomain(b.spec.LandlockFloor); err != nil {
		return err
	}
	if containedIn(b.spec) {
		b.spec.Landlock = slices.DeleteFunc(b.spec.Landlock, notInImage)
	}
	return b.domain.Allow(b.spec.Landlock)
}

func (b *builder) landlock() error {
	layer, missing, err := b.domain.Enter()
	b.note(layer, missing)
	return err
}

func (b *builder) prepareSeccomp() (err error) {
	b.filter, err = confine.NewFilter()
	return err
}

func (b *builder) seccomp() error {
	layer, err := b.filter.Install()
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
