//go:build !linux && !darwin

package boundary

import (
	"context"
	"errors"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// errOther is the answer of systems whose boundary is not part of this package.
var errOther = errors.New("this version has boundaries for Linux and macOS only")

// required is empty: nothing is tried here.
func required() []string { return nil }

// Engines are the names of the engines of this system, the preferred first.
func Engines() []string { return []string{NativeEngine} }

// ContainerEngines are the names of the container engines of this system.
func ContainerEngines() []string { return nil }

// New always fails on this system.
func New(string, Options) (Engine, error) { return nil, errOther }

// Native is the boundary of the operating system's own means. This system has
// none that this version knows.
type Native struct{}

// NewNative always fails on this system.
func NewNative(Options) (*Native, error) { return nil, errOther }

// Name implements Engine.
func (*Native) Name() string { return NativeEngine }

// Start always fails on this system.
func (*Native) Start(context.Context, Spec) (*Session, error) {
	return nil, &StartError{Step: "system", Err: errOther}
}

// Probe always fails on this system.
func Probe(context.Context, Engine, Spec, wire.Probe) (wire.ProbeReport, error) {
	return wire.ProbeReport{}, &StartError{Step: "system", Err: errOther}
}

// Render always fails on this system.
func (*Native) Render(Spec) (Rendering, error) {
	return nil, &StartError{Step: "system", Err: errOther}
}

// ExplainCall knows no filter of system calls on this system.
func ExplainCall(q grant.Question) grant.Answer {
	return grant.Answer{Question: q.String(), Why: errOther.Error()}
}

// LowerPrivileges has nothing to give up on this system, which has no
// capabilities.
func LowerPrivileges(bool) ([]string, error) { return nil, nil }
