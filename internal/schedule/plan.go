package schedule

import (
	"fmt"
	"time"
)

// Missed says what becomes of due times that passed while nobody was there to run
// them: the machine slept, or nanoclaw did not run.
type Missed string

// The policies for missed times.
const (
	MissedSkip Missed = "skip" // none of them is run
	MissedOnce Missed = "once" // the last of them is, for all; this is the default
	MissedAll  Missed = "all"  // each of the last MaxAll is
)

// Overlap says what becomes of a due time while an earlier one of the same task
// waits or runs.
type Overlap string

// The policies for overlap.
const (
	OverlapSkip  Overlap = "skip"  // it is left out; this is the default
	OverlapQueue Overlap = "queue" // it waits behind, at most MaxAll of them
)

// MaxAll is how many due times of a task may be run for what was missed, and wait
// behind one another.
const MaxAll = 10

// Late is how old a due time is when it counts as missed.
const Late = time.Minute

// ParseMissed reads a policy, "" for the default.
func ParseMissed(s string) (Missed, error) {
	switch m := Missed(s); m {
	case "":
		return MissedOnce, nil
	case MissedSkip, MissedOnce, MissedAll:
		return m, nil
	}
	return "", fmt.Errorf("%q says nothing of missed runs: use skip, once or all", clip(s))
}

// ParseOverlap reads a policy, "" for the default.
func ParseOverlap(s string) (Overlap, error) {
	switch o := Overlap(s); o {
	case "":
		return OverlapSkip, nil
	case OverlapSkip, OverlapQueue:
		return o, nil
	}
	return "", fmt.Errorf("%q says nothing of runs that overlap: use skip or queue", clip(s))
}

// Plan is what is to be done of a task at a moment.
type Plan struct {
	// Run are the due times to run, oldest first.
	Run []time.Time
	// Skipped is how many more passed and are left out.
	Skipped int
	// Next is the next due time, after all that passed; zero if there is none.
	Next time.Time
}

// maxPassed bounds how many due times are counted one by one. Of more the older half
// is left out uncounted, until the rest is counted.
const maxPassed = 20_000

// Plan says what to do of a task that is due next at a time. What is planned lies
// at next or after it, whatever now is, so that a clock that is set back makes no due
// time come twice.
func (s *Schedule) Plan(next, now time.Time, m Missed) Plan {
	p := Plan{Next: next}
	if next.IsZero() || next.After(now) {
		return p
	}
	var last []time.Time // of those that passed, the youngest
	passed := 0
	at := next
	for ; !at.IsZero() && !at.After(now); passed++ {
		if last = append(last, at); len(last) > MaxAll {
			last = last[1:]
		}
		if passed%maxPassed == maxPassed-1 {
			at = at.Add(now.Sub(at) / 2)
		}
		at = s.Next(at)
	}
	p.Next = at
	youngest := last[len(last)-1]
	switch {
	case m == MissedAll:
		p.Run = last
	case m == MissedOnce, now.Sub(youngest) <= Late:
		p.Run = []time.Time{youngest}
	}
	p.Skipped = passed - len(p.Run)
	return p
}

// After is the first due time for a task that begins or goes on now. What lies before
// is not made up for.
func (s *Schedule) After(now time.Time) (time.Time, error) {
	next := s.Next(now)
	if next.IsZero() {
		return next, fmt.Errorf("%s never comes any more: choose a time in the future", s)
	}
	return next, nil
}

// CheckEvery refuses a schedule whose times come closer to each other than least.
func (s *Schedule) CheckEvery(least time.Duration, now time.Time) error {
	const look = 200
	at := s.Next(now)
	for range look {
		next := s.Next(at)
		if next.IsZero() || at.IsZero() {
			return nil
		}
		if gap := next.Sub(at); gap < least {
			return fmt.Errorf("%s comes again after %v, and %v is the least (limits.taskInterval)", s, gap, least)
		}
		at = next
	}
	return nil
}
