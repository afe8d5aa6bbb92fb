package attack

import (
	"nanoclaw/internal/attack/inside"
)

// Line is one line of the catalogue.
type Line struct {
	// ID is its name: a letter for its chapter (F files, G what the host runs
	// later, N network, K kernel and other processes, R resources, M macOS) and a
	// number.
	ID string
	// Tries says what the attack tries, Want what is expected of it inside.
	Tries, Want string
	// After is what the host looks at when it is over.
	After []check
	// Audit are hosts whose refusal has to be in the audit.
	Audit []string
	// Open says why no boundary stops it, "" if it has to be stopped: then every
	// attempt succeeds. OpenBy says why a single engine does not stop all of it, by
	// its name or one of those that kinds gives.
	Open   string
	OpenBy map[string]string
	// Shown are tests that hold the line, or a part of it, in code of the host:
	// PACKAGE · TEST.
	Shown []string

	session session
}

// session is which of the sessions of a run a line is tried in.
type session int

const (
	ordinary session = iota // all that does not disturb the others
	noHosts                 // a grant without any host
	rough                   // what may end the session, within small limits
	fatal                   // what ends it where process 1 is not protected
	hungry                  // what has to end it, by its memory
	filling                 // and by its disk
)

// ends says whether the last attempt of a session is to end it.
func (s session) ends() bool { return s == hungry || s == filling }

// check is something that the host looks at afterwards.
type check string

// What is looked at.
const (
	files     check = "the host's files"
	process   check = "the host's process"
	sockets   check = "the host's sockets"
	memory    check = "the host's shared memory"
	keys      check = "the host's keys"
	settings  check = "the machine's settings"
	mounts    check = "the machine's mounts"
	leftovers check = "files that no attack made"
	survivors check = "processes that live on"
	identity  check = "processes inside that are root on the machine"
	limit     check = "the limit"
	recorded  check = "the audit"
)

// tried says whether the line is attacked in a session.
func (l Line) tried() bool { return len(inside.Attempts()[l.ID]) > 0 }

// Catalogue gives all lines that are about this system, in order.
func Catalogue() []Line { return lines() }
