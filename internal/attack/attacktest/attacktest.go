// Package attacktest is what the tests of the attacks need and owners must never
// have: the program that plays the attacker, and the control arm, in which the
// same attacks are made without a boundary.
//
// The control arm has namespaces of its own for users, mounts, processes,
// network, IPC and the machine's name, made for one run and gone with it. There it
// has folders in memory over /tmp, /run and /dev/shm, a network of one loopback
// with the addresses that stand for the internet, and secrets planted for it. It
// is never root of the machine: whoever starts it, it acts as an ordinary user.
// What it sees of the machine's own files it only reads.
package attacktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// EnvProgram names a variable with the path of a ready program, for test
// binaries that are run by another one as a user who cannot build.
const EnvProgram = "NANOCLAW_TEST_ATTACK"

// StageArg makes the program play the control arm. What it reads and writes is
// what the attacker reads and writes.
const StageArg = "stage"

// Program gives the program that plays the attacker, built once for each test
// binary. It is not the test binary itself, which with the race detector is not
// what anybody runs.
func Program(tb testing.TB) []byte {
	tb.Helper()
	program, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return program
}

var build = sync.OnceValues(func() ([]byte, error) {
	if path := os.Getenv(EnvProgram); path != "" {
		return os.ReadFile(path)
	}
	dir, err := os.MkdirTemp("", "nanoclaw-attack-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "attack")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "nanoclaw/internal/attack/attacktest/program")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
})
