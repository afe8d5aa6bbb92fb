package boundary

import (
	"fmt"

	"nanoclaw/internal/grant"
)

// Engines are the names of the engines of this system, the preferred first.
func Engines() []string { return []string{SeatbeltEngine} }

// ContainerEngines are the names of the container engines of this system, the
// preferred first.
func ContainerEngines() []string { return []string{PodmanEngine, DockerEngine, AppleEngine} }

// New makes an engine by its name.
func New(name string, opts Options) (Engine, error) {
	switch name {
	case SeatbeltEngine:
		return NewSeatbelt(opts)
	case PodmanEngine, DockerEngine, AppleEngine:
		return NewContainer(name, opts)
	}
	return nil, fmt.Errorf("there is no engine %q on this system", name)
}

// ExplainCall knows no filter of system calls on this system.
func ExplainCall(q grant.Question) grant.Answer {
	return grant.Answer{Question: q.String(), Why: "macOS has no filter of system calls; what they do is judged, by the profile that policy show --render seatbelt prints"}
}

// LowerPrivileges has nothing to give up on this system, which has no
// capabilities.
func LowerPrivileges(bool) ([]string, error) { return nil, nil }
