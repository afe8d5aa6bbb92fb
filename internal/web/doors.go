package web

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// How long a link and a session are good, and how many there may be: beyond, the
// oldest goes.
const (
	linkTime    = 5 * time.Minute
	sessionTime = 12 * time.Hour // since it was used last
	maxLinks    = 8
	maxSessions = 32
)

// doors knows who may come in: by a link, once, or by a session. It keeps hashes, so
// that looking one up takes no time that tells of it, and a core dump opens nothing.
type doors struct {
	now func() time.Time

	mu       sync.Mutex // guards both
	links    map[key]time.Time
	sessions map[key]time.Time // until when
}

type key [sha256.Size]byte

func keyOf(secret string) key { return sha256.Sum256([]byte(secret)) }

func newDoors(now func() time.Time) *doors {
	return &doors{now: now, links: map[key]time.Time{}, sessions: map[key]time.Time{}}
}

// link makes a secret that signs in once.
func (d *doors) link() (code string, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.make(d.links, linkTime, maxLinks)
}

// make adds a secret of 128 bits and more. Its caller holds mu.
func (d *doors) make(to map[key]time.Time, life time.Duration, most int) (string, time.Time) {
	d.tidy(to)
	for len(to) >= most {
		var oldest key
		first := true
		for k, until := range to {
			if first || until.Before(to[oldest]) {
				oldest, first = k, false
			}
		}
		delete(to, oldest)
	}
	secret, until := rand.Text(), d.now().Add(life)
	to[keyOf(secret)] = until
	return secret, until
}

func (d *doors) tidy(m map[key]time.Time) {
	for k, until := range m {
		if !d.now().Before(until) {
			delete(m, k)
		}
	}
}

// enter takes a link and gives a session; "" if the link is not good, or was used.
func (d *doors) enter(code string) (session string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tidy(d.links)
	k := keyOf(code)
	if _, ok := d.links[k]; !ok {
		return ""
	}
	delete(d.links, k)
	session, _ = d.make(d.sessions, sessionTime, maxSessions)
	return session
}

// knows says whether a session is good, and keeps it so. Only looking, as a page does
// that renews itself, does not.
func (d *doors) knows(session string, used bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := keyOf(session)
	until, ok := d.sessions[k]
	if !ok || !d.now().Before(until) {
		delete(d.sessions, k)
		return false
	}
	if used {
		d.sessions[k] = d.now().Add(sessionTime)
	}
	return true
}

// forget ends a session, or all of them.
func (d *doors) forget(session string, all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, keyOf(session))
	if all {
		clear(d.sessions)
		clear(d.links)
	}
}

// open says that somebody is in, or could come in.
func (d *doors) open() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tidy(d.links)
	d.tidy(d.sessions)
	return len(d.links)+len(d.sessions) > 0
}
