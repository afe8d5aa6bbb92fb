package boundary

import (
	"context"
	"fmt"
)

// Engine builds boundaries in one way. Whichever it is, a session is rendered
// from the same grant, keeps the same promises, and is spoken to in the same way;
// where an engine falls short of one, Start says so in what is Missing. Its
// methods may be called at the same time.
type Engine interface {
	// Name is one of the names below.
	Name() string
	// Start starts a session and returns when its boundary stands. Every error is
	// a *StartError, except that of a ctx that ended.
	Start(ctx context.Context, spec Spec) (*Session, error)
	// Render shows what Start would make of a spec, and starts nothing.
	Render(spec Spec) (Rendering, error)
}

// Dependent is an engine that runs programs of the machine. One that changed is
// tried anew, and without them the engine is off.
type Dependent interface {
	// Programs are their paths.
	Programs() []string
}

// Preparer is an engine that can keep boundaries ready ahead of time: cloned,
// and set up but for what belongs to one session. A start that finds one of its
// kind is several times faster, and is confined as any other. Each is used once,
// by a session of equal rights but for its own folders.
type Preparer interface {
	// Keep keeps up to most ready, for the kinds of session that are started from
	// now on. They are made in the background, some time after a start. It is
	// called once.
	Keep(most int)
	// Expect makes ready for sessions like spec before the first one.
	Expect(spec Spec) error
	// Spares is how many stand ready.
	Spares() int
	// Close ends those that stand ready, and makes no more. Sessions live on, and
	// Start still works.
	Close()
}

// The names of engines, as the owner writes them.
const (
	NativeEngine     = "native"     // Linux itself, see Native
	BubblewrapEngine = "bubblewrap" // the system's bwrap builds the root, our init does the rest
	SRTEngine        = "srt"        // Anthropic's sandbox-runtime; weaker, never chosen by itself
	SeatbeltEngine   = "seatbelt"   // macOS

	PodmanEngine = "podman"
	DockerEngine = "docker"
	AppleEngine  = "apple-container" // Apple's "container", on macOS
)

// InContainers says whether an engine starts containers: those are for the groups
// in container mode, and no other engine is.
func InContainers(engine string) bool {
	return engine == PodmanEngine || engine == DockerEngine || engine == AppleEngine
}

// Weaker says that an engine falls short of the others in what it stops, so that
// it is used only by its name.
func Weaker(engine string) bool { return engine == SRTEngine }

// Rendering is an engine's own form of a spec: String is for people, and its
// JSON for programs.
type Rendering = fmt.Stringer
