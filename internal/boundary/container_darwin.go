package boundary

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// On macOS a container engine runs a Linux machine of its own. Mounts are shared
// with that machine, files belong inside to whoever asks, limits are those of the
// container, and the host sees no process of it. The filter of system calls, which
// is compiled for Linux, is the init's alone, under the engine's usual one.

// localKernel says that containers here can share our kernel.
const localKernel = false

// apartFromUs puts a program into a session of its own. It outlives us on purpose:
// it is by its end of the wire that a container ends when we are killed.
func apartFromUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// containerHost is what container engines need of this system.
type containerHost struct {
	check func(grant.Mount, string) error
}

func newContainerHost(c *Container) (containerHost, error) {
	return containerHost{c.opts.Check}, nil
}

func (h *containerHost) seccomp() string { return "" }

func (h *containerHost) outside() ([]string, error) { return nil, nil }

func (h *containerHost) identify(int, *engineFacts) (containerID, error) {
	return containerID{insideUID, insideUID}, nil
}

// heldMount is a mount whose source was looked up.
type heldMount struct {
	visible
	dev, ino uint64
}

// lookUp follows links once, and judges where they lead. There is no descriptor that
// an engine could be given; what is replaced afterwards is mounted as it is then.
func (h *containerHost) lookUp(spec Spec, _ containerID) (held []heldMount, links []wire.Link, release func(), err error) {
	for _, m := range ofHost(spec.Grant.Mounts) {
		real, err := filepath.EvalSymlinks(m.Source)
		if errors.Is(err, os.ErrNotExist) && m.Optional {
			continue
		}
		if err == nil && h.check != nil {
			err = h.check(m, real)
		}
		var fi os.FileInfo
		if err == nil {
			fi, err = os.Lstat(real)
		}
		if err == nil && (m.File != fi.Mode().IsRegular() || !m.File && !fi.IsDir()) {
			err = fmt.Errorf("%s is neither a folder nor the file that was asked for", m.Source)
		}
		if err != nil {
			return nil, nil, nil, &StartError{Step: "mount " + m.Target, Err: err}
		}
		held = append(held, heldMount{visible: visible{m, real}})
	}
	return held, nil, nil, nil
}

// containerBounds are the engine's own, of which the host sees nothing.
type containerBounds struct{ l grant.Limits }

func (h *containerHost) bound(spec Spec, _ *contained) bounds {
	return containerBounds{spec.Grant.Limits}
}

func (b containerBounds) words() (layers, missing []string) {
	layers = append(layers, "memory "+inWords(b.l.Memory)+": the engine's machine")
	return layers, []string{"a limit on processor time and disk: they are another machine's"}
}

func (containerBounds) over() *LimitError { return nil }
func (containerBounds) reached() []string { return nil }
func (containerBounds) free()             {}

func (h *containerHost) calls(*NativeRendering) {}

// unmade takes those folders of the group out of a spec that the first start makes,
// and gives them.
func (h *containerHost) unmade(spec *Spec) []grant.Mount {
	var there, missing []grant.Mount
	for _, m := range spec.Grant.Mounts {
		_, err := os.Lstat(m.Source)
		if errors.Is(err, os.ErrNotExist) && !m.Image && !m.Optional && !m.Foreign && !m.File {
			missing = append(missing, m)
			continue
		}
		there = append(there, m)
	}
	spec.Grant.Mounts = there
	return missing
}

// reachable is a limit as it is: it is another machine's to refuse.
func reachable(_ int, value uint64) uint64 { return value }

// explain says why the container did not stand.
func (c *Container) explain(ctx context.Context, err error, t *contained, p *containerPlan) error {
	select {
	case <-t.done:
	case <-time.After(removeAfter):
	}
	if missing := c.missingImage(ctx, p.run.image); missing != nil {
		return missing
	}
	if words := t.lastWords(); words != "" {
		err = errors.New(words)
	}
	return &StartError{Step: c.name, Err: err}
}

// proveMounts is for engines of this machine alone, of which macOS has none.
func (h *containerHost) proveMounts(*contained, []wire.Mount) (layer string, err error) {
	return "", errors.New("the engine's mounts are on a machine of its own")
}
