package boundary

import "slices"

// relative is one process of this machine, as the kernel lists it.
type relative struct {
	pid, ppid, pgid, sid int
	start                int64 // when it started; with pid it names a process for good
}

// kin knows the processes of a session where the kernel does not hold them
// together. It is told the table of processes again and again, and remembers who
// descends from the session's first: so it also knows the children of those that
// have ended since.
//
// It misses a process whose parents came and went between two looks, if it made a
// session of its own and dropped the session's variables.
type kin struct {
	born map[int]int64 // every process that was found, by number, and its start
	// strangers were looked at for the mark and had none. They never get it: only
	// members can give it to what they start.
	strangers map[int]int64
}

func newKin(first relative) *kin {
	return &kin{born: map[int]int64{first.pid: first.start}, strangers: make(map[int]int64)}
}

// look takes in a table and gives the members that are in it. marked says whether
// a process that no other sign shows to be one carries the session's mark; it is
// asked only of processes as young as the session.
func (k *kin) look(table []relative, since int64, marked func(pid int) bool) []int {
	here := make(map[int]relative, len(table))
	for _, r := range table {
		here[r.pid] = r
		if start, known := k.born[r.pid]; known && start != r.start {
			delete(k.born, r.pid) // the number has passed to another
		}
	}
	for found := true; found; {
		found = false
		for _, r := range table {
			if _, known := k.born[r.pid]; !known && k.related(r, here) {
				k.born[r.pid], found = r.start, true
			}
		}
		if found {
			continue
		}
		for _, r := range table {
			if _, known := k.born[r.pid]; known || r.start < since || k.strangers[r.pid] == r.start {
				continue
			}
			if marked(r.pid) {
				k.born[r.pid], found = r.start, true
			} else {
				k.strangers[r.pid] = r.start
			}
		}
	}
	var members []int
	for _, r := range table {
		if _, known := k.born[r.pid]; known {
			members = append(members, r.pid)
		}
	}
	slices.Sort(members)
	return members
}

// related says whether r is a child of a member, or in a group or session that a
// member made. A number stays taken while a group or session has it, so a leader
// that has ended was the member.
func (k *kin) related(r relative, here map[int]relative) bool {
	for _, of := range []int{r.ppid, r.pgid, r.sid} {
		start, known := k.born[of]
		if !known || of <= 1 {
			continue
		}
		// A parent or leader that is there must be that member; a child cannot be
		// older than it.
		if leader, there := here[of]; (!there || leader.start == start) && r.start >= start {
			return true
		}
	}
	return false
}
