//go:build !linux

package attack

import (
	"context"
	"errors"
)

// Run has no attacks for this system yet that run inside.
func Run(context.Context, Options) (Report, error) {
	return Report{}, errors.New("there are no attacks for this system: they are for Linux")
}
