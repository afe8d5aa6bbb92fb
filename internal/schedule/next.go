package schedule

import "time"

// Next is the first time after another, in UTC and in whole seconds. It is zero if
// none comes any more.
func (s *Schedule) Next(after time.Time) time.Time {
	after = after.Truncate(time.Second)
	switch s.spec.Kind {
	case Interval:
		return s.nextInterval(after)
	case Once:
		if s.at.After(after) {
			return s.at
		}
		return time.Time{}
	}
	if s.hourly {
		return s.nextPassing(after)
	}
	return s.nextWall(after)
}

// nextInterval counts from the anchor, so that no delay adds up.
func (s *Schedule) nextInterval(after time.Time) time.Time {
	if after.Before(s.spec.Anchor) {
		return s.spec.Anchor
	}
	n := after.Sub(s.spec.Anchor) / s.every
	next := s.spec.Anchor.Add(n * s.every).Add(s.every)
	if next.After(after) {
		return next
	}
	return time.Time{} // beyond what a duration can count
}

// nextPassing is for "every hour" and what is finer: it follows the time that
// passes. So an hour that comes twice is not left out, and one that is left out is
// not made up for.
func (s *Schedule) nextPassing(after time.Time) time.Time {
	from := after // whose offset holds
	for range maxZones {
		_, offset := from.In(s.zone).Zone()
		shift := time.Duration(offset) * time.Second
		wall := s.times.Next(after.UTC().Add(shift))
		if wall.IsZero() {
			return time.Time{}
		}
		next := wall.Add(-shift)
		_, end := from.In(s.zone).ZoneBounds()
		if end.IsZero() || next.Before(end) {
			return next
		}
		after, from = end.Add(-time.Second), end
	}
	return time.Time{}
}

// maxZones bounds how many changes of the clock are looked past, of which a year has
// two and rarely four.
const maxZones = 4 * searchYears

// nextWall is for times of the day: each is run once a day. One that the clock jumps
// over comes as much later as the clock jumped, and of one that comes twice the first
// counts.
func (s *Schedule) nextWall(after time.Time) time.Time {
	wall := wallOf(after, s.zone).Add(-jumped(after, s.zone))
	var best time.Time
	for {
		if wall = s.times.Next(wall); wall.IsZero() {
			return best
		}
		if !best.IsZero() && wall.After(wallOf(best, s.zone)) {
			return best
		}
		at, exists := instant(wall, s.zone)
		if !at.After(after) {
			continue
		}
		if best.IsZero() || at.Before(best) {
			best = at
		}
		if exists {
			return best
		}
	}
}

// wallOf is what the clock shows, as if it were UTC.
func wallOf(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// around is more than any clock was ever set by: Samoa left out a whole day.
const around = 26 * time.Hour

// jumped is by how much the clock was set forward shortly before t.
func jumped(t time.Time, zone *time.Location) time.Duration {
	_, was := t.Add(-2 * around).In(zone).Zone()
	_, is := t.In(zone).Zone()
	return max(0, time.Duration(is-was)*time.Second)
}

// instant finds when a clock in the zone shows a time. If that is twice, it is the
// first; if it never is, exists is false and it is as much later as the clock jumps.
func instant(wall time.Time, zone *time.Location) (at time.Time, exists bool) {
	_, before := wall.Add(-around).In(zone).Zone()
	_, then := wall.Add(around).In(zone).Zone()
	first := wall.Add(-time.Duration(before) * time.Second)
	if wallOf(first, zone).Equal(wall) {
		return first, true
	}
	second := wall.Add(-time.Duration(then) * time.Second)
	if wallOf(second, zone).Equal(wall) {
		return second, true
	}
	return first, false
}
