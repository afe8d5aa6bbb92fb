package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/schedule"
	"nanoclaw/internal/task"
)

// The calendar shows a week of each task, by the days and clocks of its own zone, and what
// is due all the time shortly.
func TestCalendar(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	now := at("2026-10-23T10:00:00Z") // a Friday; clocks in Berlin are set back on Sunday
	tasks := []task.Task{
		{ID: "daily", State: task.Active, Next: at("2026-10-24T07:00:00Z"), Spec: schedule.Spec{Kind: schedule.Cron, Value: "0 9 * * *", Zone: "Europe/Berlin"}},
		{ID: "often", State: task.Active, Next: at("2026-10-23T10:05:00Z"), Spec: schedule.Spec{Kind: schedule.Cron, Value: "*/5 * * * *", Zone: "UTC"}},
		{ID: "far", State: task.Active, Next: at("2027-01-01T00:00:00Z"), Spec: schedule.Spec{Kind: schedule.Once, Value: "2027-01-01T09:00:00", Zone: "Asia/Tokyo"}},
		{ID: "paused", State: task.Paused, Next: at("2026-10-24T07:00:00Z"), Spec: schedule.Spec{Kind: schedule.Cron, Value: "0 9 * * *", Zone: "UTC"}},
		{ID: "broken", State: task.Active, Next: at("2026-10-24T12:00:00Z"), Spec: schedule.Spec{Kind: schedule.Cron, Value: "never", Zone: "UTC"}},
	}
	var got strings.Builder
	for _, d := range calendar(tasks, now) {
		fmt.Fprintf(&got, "%s:", d.Day.Format("01-02"))
		for _, due := range d.Tasks {
			fmt.Fprintf(&got, " %s", due.ID)
			for _, at := range due.Times {
				fmt.Fprintf(&got, " %s", at.Format("15:04Z07"))
			}
			if due.More {
				got.WriteString(" …")
			}
		}
		got.WriteString("\n")
	}
	want := `10-23: often 10:05Z 10:10Z 10:15Z 10:20Z …
10-24: often 00:00Z 00:05Z 00:10Z 00:15Z … daily 09:00+02 broken 12:00Z
10-25: often 00:00Z 00:05Z 00:10Z 00:15Z … daily 09:00+01
10-26: often 00:00Z 00:05Z 00:10Z 00:15Z … daily 09:00+01
10-27: often 00:00Z 00:05Z 00:10Z 00:15Z … daily 09:00+01
10-28: often 00:00Z 00:05Z 00:10Z 00:15Z … daily 09:00+01
10-29: often 00:00Z 00:05Z 00:10Z 00:15Z … daily 09:00+01
10-30: often 00:00Z 00:05Z 00:10Z 00:15Z … daily 09:00+01
01-01: far 09:00+09
`
	if got.String() != want {
		t.Errorf("the calendar is\n%s\nand not\n%s", got.String(), want)
	}
}
