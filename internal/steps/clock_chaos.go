//go:build chaos

package steps

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// clockVariable names a file that holds how many seconds the clock is ahead.
const clockVariable = "NANOCLAW_CHAOS_CLOCK"

// jump is how far the clock is from the machine's, as the file said last.
var jump struct {
	sync.Mutex
	file    string
	read    time.Time
	seconds int64
}

func init() { jump.file = os.Getenv(clockVariable) }

// Now is the time of a clock that somebody sets: its wall time jumps, and what
// measures how long something took does not notice, as with a real one.
func Now() time.Time {
	now := time.Now()
	if jump.file == "" {
		return now
	}
	jump.Lock()
	defer jump.Unlock()
	if now.Sub(jump.read) > 20*time.Millisecond {
		jump.read = now
		if text, err := os.ReadFile(jump.file); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
				jump.seconds = n
			}
		}
	}
	return ahead(now, jump.seconds)
}

// ahead moves the wall time alone. A Time with a monotonic reading has the seconds of
// the wall in the 33 bits above the nanoseconds of its first word (package time).
func ahead(t time.Time, seconds int64) time.Time {
	moved := t
	*(*uint64)(unsafe.Pointer(&moved)) += uint64(seconds) << 30
	if moved.Sub(t) != 0 || moved.Unix()-t.Unix() != seconds {
		panic("a Time is made otherwise than this test build knows")
	}
	return moved
}
