//go:build chaos

package steps

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// killVariable names where the process ends itself: STEP:before:N or STEP:after:N,
// at the Nth time.
const killVariable = "NANOCLAW_CHAOS_KILL"

// victim is what the environment asked for when the process began.
var victim = read(os.Getenv(killVariable))

type kill struct {
	at   string // STEP:before or STEP:after
	left atomic.Int64
}

func read(text string) *kill {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return nil
	}
	n, err := strconv.ParseInt(text[i+1:], 10, 64)
	if err != nil || n < 1 {
		panic(killVariable + " is to be STEP:before:N or STEP:after:N, and is " + text)
	}
	k := &kill{at: text[:i]}
	k.left.Store(n)
	return k
}

// Before kills the process if that was asked for.
func Before(s Step) { reached(s, ":before") }

// After kills the process if that was asked for.
func After(s Step) { reached(s, ":after") }

// reached sends the kill that nobody can catch, so that nothing is tidied up, and
// never returns then.
func reached(s Step, side string) {
	if victim == nil || victim.at != string(s)+side || victim.left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
