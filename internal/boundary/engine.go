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

// The names of engines, as the owner writes them.
const (
	NativeEngine     = "native"     // Linux itself, see Native
	BubblewrapEngine = "bubblewrap" // the system's bwrap builds the root, our init does the rest
	SRTEngine        = "srt"        // Anthropic's sandbox-runtime; weaker, never chosen by itself
	SeatbeltEngine   = "seatbelt"   // macOS
)

// Weaker says that an engine falls short of the others in what it stops, so that
// it is used only by its name.
func Weaker(engine string) bool { return engine == SRTEngine }

// Rendering is an engine's own form of a spec: String is for people, and its
// JSON for programs.
type Rendering = fmt.Stringer
