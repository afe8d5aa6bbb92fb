//go:build !linux && !darwin

package attack

import (
	"context"
	"errors"
)

// lines are none: there is no boundary on this system either.
func lines() []Line { return nil }

// Run has no attacks for this system yet that run inside.
func Run(context.Context, Options) (Report, error) {
	return Report{}, errors.New("there are no attacks for this system: they are for Linux and macOS")
}
