package store

import "testing"

// again is the store as the next process has it, after the one before died.
func again(s *Store) *Store {
	s.owner = newOwner()
	return s
}

// beside is a store that another machine has open at the same time, as owner.
func beside(t testing.TB, s *Store, owner string) *Store {
	t.Helper()
	s.alone = false
	return &Store{Reader: s.Reader, now: s.now, owner: owner, db: s.db, w: s.w}
}
