package web

import (
	"cmp"
	"slices"
	"time"

	"nanoclaw/internal/schedule"
	"nanoclaw/internal/task"
)

// Bounds of the calendar: how many days it looks ahead, and how many times of a task it
// shows on one of them.
const (
	daysAhead = 7
	timesADay = 4
)

// dueDay is a day with the tasks that are due on it.
type dueDay struct {
	Day   time.Time
	Tasks []dueTask
}

// dueTask is a task on one day, with its due times in its own zone.
type dueTask struct {
	task.Task
	Times []time.Time
	More  bool // it is due more often than that
}

// calendar sorts the due times of the next days, each task in its own zone. The next one
// is there however far it is.
func calendar(all []task.Task, now time.Time) (days []dueDay) {
	for _, t := range all {
		if t.State != task.Active || t.Next.IsZero() {
			continue
		}
		for _, d := range ahead(t, now.AddDate(0, 0, daysAhead)) {
			i, found := slices.BinarySearchFunc(days, d.Times[0].Format(time.DateOnly), func(day dueDay, date string) int {
				return cmp.Compare(day.Day.Format(time.DateOnly), date)
			})
			if !found {
				days = slices.Insert(days, i, dueDay{Day: d.Times[0]})
			}
			days[i].Tasks = append(days[i].Tasks, d)
		}
	}
	for _, d := range days {
		slices.SortStableFunc(d.Tasks, func(a, b dueTask) int { return a.Times[0].Compare(b.Times[0]) })
	}
	return days
}

// ahead gives the days on which a task is due before a time, and its next in any case.
func ahead(t task.Task, until time.Time) (out []dueTask) {
	zone, err := time.LoadLocation(t.Spec.Zone)
	if err != nil {
		zone = time.Local
	}
	s, err := schedule.Parse(t.Spec)
	for at := t.Next.In(zone); ; {
		last := len(out) - 1
		switch {
		case last < 0 || out[last].Times[0].Format(time.DateOnly) != at.Format(time.DateOnly):
			out = append(out, dueTask{Task: t, Times: []time.Time{at}})
		case len(out[last].Times) < timesADay:
			out[last].Times = append(out[last].Times, at)
		default:
			out[last].More = true
			at = time.Date(at.Year(), at.Month(), at.Day()+1, 0, 0, -1, 0, zone) // the next day's first
		}
		if err != nil { // its next time is all that is known
			return out
		}
		next := s.Next(at)
		if next.IsZero() || !next.Before(until) {
			return out
		}
		at = next.In(zone)
	}
}
