//go:build linux || darwin

package main

import (
	"fmt"
	"io"

	"nanoclaw/internal/wire"
)

// connect makes standard input and output the wire, and opens the control stream.
// The program ends when the wire does.
func connect() (*wire.Mux, *wire.Stream, error) {
	conn, err := wire.StdioConn()
	if err != nil {
		return nil, nil, err
	}
	mux, err := wire.Inside(conn)
	if err != nil {
		return nil, nil, err
	}
	go func() {
		<-mux.Done()
		exit(0) // and with it everything inside
	}()
	control, err := mux.Open(wire.Header{Kind: wire.Control})
	return mux, control, err
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
