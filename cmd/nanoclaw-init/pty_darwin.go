package main

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// terminals holds the one terminal that the host made for the session. The
// profile lets nobody inside make another: who may open terminals by name may
// open the owner's.
type terminals struct {
	mu    sync.Mutex
	given *wire.Terminal // nil when taken
}

func newTerminals(spec *wire.Spec) *terminals { return &terminals{given: spec.Terminal} }

// open gives the two ends of the terminal, once.
func (t *terminals) open() (master, slave *os.File, err error) {
	t.mu.Lock()
	given := t.given
	t.given = nil
	t.mu.Unlock()
	if given == nil {
		return nil, nil, errors.New("this session was started without a terminal, or its one is taken")
	}
	if err := unix.SetNonblock(given.Master, true); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(given.Master), "terminal"), os.NewFile(uintptr(given.Slave), "agent terminal"), nil
}
