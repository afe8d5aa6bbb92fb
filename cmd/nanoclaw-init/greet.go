//go:build linux || darwin

package main

import (
	"fmt"
	"io"
	"os"

	"nanoclaw/internal/wire"
)

// greet says hello and takes the spec.
func greet(control io.ReadWriter) (*wire.Spec, error) {
	hello := wire.Message{Hello: &wire.Hello{Version: wire.Version, PID: os.Getpid()}}
	if err := wire.Send(control, hello); err != nil {
		return nil, err
	}
	m, err := wire.Receive(control)
	if err != nil {
		return nil, err
	}
	if m.Spec == nil {
		return nil, fmt.Errorf("the host's first message is not a spec")
	}
	if m.Spec.Version != wire.Version {
		return nil, fmt.Errorf("the host speaks version %d of the wire, this program version %d", m.Spec.Version, wire.Version)
	}
	return m.Spec, nil
}

// giveUp reports why the boundary does not stand, and waits until the host has
// read it and hung up.
func giveUp(control *wire.Stream, failed *wire.Failed) error {
	if err := wire.Send(control, wire.Message{Failed: failed}); err != nil {
		return err
	}
	io.Copy(io.Discard, control)
	return fmt.Errorf("%s: %s", failed.Step, failed.Err)
}
