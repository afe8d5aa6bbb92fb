package boundary

import (
	"fmt"
	"time"
)

// Resource is what a limit is about.
type Resource int

// The resources whose use ends a session.
const (
	// Memory of all processes together. Most is in bytes.
	Memory Resource = iota
	// CPUTime of all processes together. Most is in nanoseconds.
	CPUTime
	// Disk that the group's workspace and home hold. Most is in bytes.
	Disk
	// DiskReserve is what must stay free on the disk that holds them. Most is in
	// bytes.
	DiskReserve
	// DiskDepth is how deep folders may be nested in them.
	DiskDepth
)

// LimitError is the end of a session that used more than it may.
type LimitError struct {
	Resource Resource
	// Most is the limit, in the resource's unit.
	Most int64
}

func (e *LimitError) Error() string {
	switch e.Resource {
	case CPUTime:
		return "stopped: the session used more than " + time.Duration(e.Most).String() + " of processor time"
	case Disk:
		return "stopped: the group's workspace and home hold more than " + inWords(e.Most)
	case DiskReserve:
		return "stopped: the disk of the group's workspace has less than " + inWords(e.Most) + " left"
	case DiskDepth:
		return fmt.Sprintf("stopped: folders in the group's workspace or home are nested more than %d deep, where nobody can count what they hold", e.Most)
	}
	return "stopped: the session used more than " + inWords(e.Most) + " of memory"
}

// Hint says to the owner what to do.
func (e *LimitError) Hint() string {
	const remove = "nanoclaw exec can still remove files"
	switch e.Resource {
	case CPUTime:
		return "limits.cpuTime in the configuration sets it"
	case Disk:
		return "limits.disk in the configuration sets it; " + remove
	case DiskReserve:
		return "make room on that disk; " + remove
	case DiskDepth:
		return remove
	}
	return "limits.memory in the configuration sets it"
}

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
	// reached says, in words, which limits refused something to the session
	// without ending it. It may be called at any time, and gives what it last saw
	// after free.
	reached() []string
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

// Reached says, in words, which limits refused something inside without ending
// the session, so that people and agents understand what failed there.
func (s *Session) Reached() []string { return s.bounds.reached() }
