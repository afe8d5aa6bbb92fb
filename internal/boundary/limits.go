package boundary

import (
	"fmt"
	"time"
)

// LimitError is the end of a session whose processes together used more than
// its grant allows.
type LimitError struct {
	// Memory is the limit, in bytes.
	Memory int64
}

func (e *LimitError) Error() string {
	return "stopped: the session used more than " + inWords(e.Memory) + " of memory"
}

// Hint says where the limit comes from.
func (e *LimitError) Hint() string { return "limits.memory in the configuration sets it" }

// inWords writes a size as people do: "4 GB", "64 MB".
func inWords(bytes int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}} {
		if bytes >= u.size && bytes%u.size == 0 {
			return fmt.Sprintf("%d %s", bytes/u.size, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// bounds hold what all processes of one session may use together.
type bounds interface {
	// words say what holds, and what does not.
	words() (layers, missing []string)
	// over says whether the session used more than it may. It may be called at
	// any time, even after free.
	over() *LimitError
	// free takes away what the bounds are made of, when all processes are dead.
	free()
}

// How often a session's use is looked at. Where one look is dear, with very many
// processes, looks are rarer: they never take more than a tenth of one processor.
const (
	lookInterval = 250 * time.Millisecond
	lookShare    = 10
)

// police ends the session when it used more than it may.
func (s *Session) police() {
	for next := lookInterval; ; {
		select {
		case <-s.done:
			return
		case <-time.After(next):
		}
		began := time.Now()
		if s.Exceeded() != nil {
			return
		}
		next = max(lookInterval, lookShare*time.Since(began))
	}
}

// Exceeded is the limit that ended the session, or is ending it now; nil if none
// did. It looks for itself, so that who sees a process die without an answer can
// ask why before the session has ended.
func (s *Session) Exceeded() *LimitError {
	if err := s.bounds.over(); err != nil {
		s.fail(err)
	}
	limit, _ := s.Err().(*LimitError)
	return limit
}
