package schedule

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func parse(t testing.TB, kind Kind, value, zone string) *Schedule {
	t.Helper()
	s, err := Parse(Spec{Kind: kind, Value: value, Zone: zone, Anchor: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// times gives the next n, as a clock in the zone shows them.
func times(s *Schedule, after time.Time, n int) []string {
	var out []string
	for range n {
		after = s.Next(after)
		if after.IsZero() {
			return append(out, "never")
		}
		out = append(out, after.In(s.Location()).Format("01-02 15:04 -0700"))
	}
	return out
}

// TestDaylightSaving: seven zones, both directions. The first line of each is the
// last time before the change.
func TestDaylightSaving(t *testing.T) {
	tests := []struct {
		name, zone, cron, from string
		want                   []string
	}{
		{"New York, forward, within", "America/New_York", "30 2 * * *", "2026-03-07T00:00:00Z",
			[]string{"03-07 02:30 -0500", "03-08 03:30 -0400", "03-09 02:30 -0400"}},
		{"New York, forward, both at once", "America/New_York", "30 2,3 * * *", "2026-03-07T08:00:00Z",
			[]string{"03-07 03:30 -0500", "03-08 03:30 -0400", "03-09 02:30 -0400"}},
		{"New York, forward, in the order of time", "America/New_York", "0,30 2,3 * * *", "2026-03-08T06:00:00Z",
			[]string{"03-08 03:00 -0400", "03-08 03:30 -0400", "03-09 02:00 -0400"}},
		{"New York, back, within", "America/New_York", "30 1 * * *", "2026-10-31T00:00:00Z",
			[]string{"10-31 01:30 -0400", "11-01 01:30 -0400", "11-02 01:30 -0500"}},
		{"New York, back, every hour", "America/New_York", "0 * * * *", "2026-11-01T04:30:00Z",
			[]string{"11-01 01:00 -0400", "11-01 01:00 -0500", "11-01 02:00 -0500"}},
		{"New York, forward, every hour", "America/New_York", "0 * * * *", "2026-03-08T05:30:00Z",
			[]string{"03-08 01:00 -0500", "03-08 03:00 -0400", "03-08 04:00 -0400"}},
		{"New York, back, every 20 minutes", "America/New_York", "*/20 * * * *", "2026-11-01T05:20:00Z",
			[]string{"11-01 01:40 -0400", "11-01 01:00 -0500", "11-01 01:20 -0500"}},
		{"Berlin, forward", "Europe/Berlin", "15 2 * * *", "2026-03-28T00:00:00Z",
			[]string{"03-28 02:15 +0100", "03-29 03:15 +0200", "03-30 02:15 +0200"}},
		{"Berlin, back", "Europe/Berlin", "15 2 * * *", "2026-10-24T00:00:00Z",
			[]string{"10-24 02:15 +0200", "10-25 02:15 +0200", "10-26 02:15 +0100"}},
		{"Lord Howe, forward by half an hour", "Australia/Lord_Howe", "15 2 * * *", "2026-10-02T20:00:00Z",
			[]string{"10-04 02:45 +1100", "10-05 02:15 +1100"}},
		{"Lord Howe, back by half an hour", "Australia/Lord_Howe", "45 1 * * *", "2026-04-04T00:00:00Z",
			[]string{"04-05 01:45 +1100", "04-06 01:45 +1030"}},
		{"Lord Howe, back, every 15 minutes", "Australia/Lord_Howe", "*/15 * * * *", "2026-04-04T14:30:00Z",
			[]string{"04-05 01:45 +1100", "04-05 01:30 +1030", "04-05 01:45 +1030", "04-05 02:00 +1030"}},
		{"Santiago, southern, midnight left out", "America/Santiago", "0 0 * * *", "2026-09-05T00:00:00Z",
			[]string{"09-05 00:00 -0400", "09-06 01:00 -0300", "09-07 00:00 -0300"}},
		{"Santiago, southern, the hour before midnight twice", "America/Santiago", "30 23 * * *", "2026-04-03T12:00:00Z",
			[]string{"04-03 23:30 -0300", "04-04 23:30 -0300", "04-05 23:30 -0400"}},
		{"Cairo, midnight left out", "Africa/Cairo", "0 0 * * 5", "2026-04-18T00:00:00Z",
			[]string{"04-24 01:00 +0300", "05-01 00:00 +0300"}},
		{"Beirut, the first of the day", "Asia/Beirut", "0 0 * * *", "2026-03-27T12:00:00Z",
			[]string{"03-28 00:00 +0200", "03-29 01:00 +0300", "03-30 00:00 +0300"}},
		{"Sao Paulo, when it had summer time", "America/Sao_Paulo", "0 0 * * *", "2018-11-03T00:00:00Z",
			[]string{"11-03 00:00 -0300", "11-04 01:00 -0200", "11-05 00:00 -0200"}},
		{"Apia, a day left out", "Pacific/Apia", "0 9 * * *", "2011-12-29T00:00:00Z",
			[]string{"12-29 09:00 -1000", "12-31 09:00 +1400", "01-01 09:00 +1400"}},
		{"Kolkata, no summer time", "Asia/Kolkata", "30 2 * * *", "2026-03-07T00:00:00Z",
			[]string{"03-08 02:30 +0530", "03-09 02:30 +0530"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, err := time.Parse(time.RFC3339, tt.from)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, times(parse(t, Cron, tt.cron, tt.zone), from, len(tt.want))); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestOnceADay: whatever the zone does, a time of the day comes once on each day that
// the zone has, and times only go forward.
func TestOnceADay(t *testing.T) {
	for _, zone := range []string{"America/New_York", "Europe/London", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Asia/Beirut", "Africa/Casablanca", "Asia/Kathmandu"} {
		for _, value := range []string{"0 0 * * *", "30 0 * * *", "30 1 * * *", "15 2 * * *", "45 2 * * *", "30 23 * * *"} {
			s := parse(t, Cron, value, zone)
			at := time.Date(2025, 12, 31, 23, 45, 0, 0, s.Location())
			last := at.Format(time.DateOnly)
			for range 730 {
				next := s.Next(at)
				day := next.In(s.Location()).Format(time.DateOnly)
				tomorrow, err := time.Parse(time.DateOnly, last)
				if err != nil {
					t.Fatal(err)
				}
				if want := tomorrow.AddDate(0, 0, 1).Format(time.DateOnly); day != want || !next.After(at) {
					t.Fatalf("%s in %s: after %v comes %v, want one on %s", value, zone, at, next, want)
				}
				at, last = next, day
			}
		}
	}
}

func TestTimes(t *testing.T) {
	from := time.Date(2026, 1, 1, 10, 0, 0, 5, time.UTC)
	for _, tt := range []struct {
		name  string
		kind  Kind
		value string
		zone  string
		want  []string
	}{
		{"weekdays", Cron, "0 9 * * 1-5", "UTC", []string{"01-02 09:00 +0000", "01-05 09:00 +0000"}},
		{"the day of the month or of the week", Cron, "0 9 13 * 5", "UTC", []string{"01-02 09:00 +0000", "01-09 09:00 +0000", "01-13 09:00 +0000"}},
		{"seconds", Cron, "30 0 9 * * *", "UTC", []string{"01-02 09:00 +0000"}},
		{"the 31st", Cron, "0 0 31 * *", "UTC", []string{"01-31 00:00 +0000", "03-31 00:00 +0000"}},
		{"a leap day", Cron, "0 0 29 2 *", "UTC", []string{"02-29 00:00 +0000"}},
		{"the last day of the month", Cron, "0 0 L * *", "UTC", []string{"01-31 00:00 +0000", "02-28 00:00 +0000"}},
		{"an interval, from its anchor", Interval, "7h", "UTC", []string{"01-01 14:00 +0000", "01-01 21:00 +0000"}},
		{"an interval in milliseconds", Interval, "3600000", "UTC", []string{"01-01 11:00 +0000"}},
		{"once, on the wall clock", Once, "2026-02-01T15:30:00", "Europe/Berlin", []string{"02-01 15:30 +0100", "never"}},
		{"once, in a zone of its own", Once, "2026-02-01T15:30:00Z", "Europe/Berlin", []string{"02-01 16:30 +0100", "never"}},
		{"once, where the clock jumps", Once, "2026-03-29T02:30", "Europe/Berlin", []string{"03-29 03:30 +0200", "never"}},
		{"once, where the hour comes twice", Once, "2026-10-25 02:30", "Europe/Berlin", []string{"10-25 02:30 +0200", "never"}},
		{"once, over", Once, "2025-02-01T15:30:00", "UTC", []string{"never"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := parse(t, tt.kind, tt.value, tt.zone)
			if d := cmp.Diff(tt.want, times(s, from, len(tt.want))); d != "" {
				t.Error(d)
			}
			again, err := Parse(s.Spec())
			if err != nil || cmp.Diff(times(s, from, 3), times(again, from, 3)) != "" {
				t.Errorf("what is kept of %s gives other times: %v", s, err)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    Spec
		want string
	}{
		{"a date that never comes", Spec{Kind: Cron, Value: "0 0 30 2 *", Zone: "UTC"}, "never comes"},
		{"too few fields", Spec{Kind: Cron, Value: "0 9 * *", Zone: "UTC"}, "4 fields"},
		{"a zone within", Spec{Kind: Cron, Value: "TZ=UTC 0 9 * * *", Zone: "UTC"}, "no cron expression"},
		{"a word of a library's", Spec{Kind: Cron, Value: "@every 1s", Zone: "UTC"}, "no cron expression"},
		{"an hour that is none", Spec{Kind: Cron, Value: "0 25 * * *", Zone: "UTC"}, "no cron expression"},
		{"too long", Spec{Kind: Cron, Value: strings.Repeat("0,", 200) + " * * * *", Zone: "UTC"}, "longer"},
		{"no zone", Spec{Kind: Cron, Value: "0 9 * * *"}, "needs a zone"},
		{"the machine's zone", Spec{Kind: Cron, Value: "0 9 * * *", Zone: "Local"}, "needs a zone"},
		{"an unknown zone", Spec{Kind: Cron, Value: "0 9 * * *", Zone: "Europe/Atlantis"}, "no time zone"},
		{"a zone that is a path", Spec{Kind: Cron, Value: "0 9 * * *", Zone: "../../etc/passwd"}, "no time zone"},
		{"no interval", Spec{Kind: Interval, Value: "soon", Zone: "UTC"}, "no interval"},
		{"a negative interval", Spec{Kind: Interval, Value: "-5", Zone: "UTC"}, "no interval"},
		{"a long interval", Spec{Kind: Interval, Value: "9999999999999999", Zone: "UTC"}, "no interval"},
		{"an interval without an anchor", Spec{Kind: Interval, Value: "5m", Zone: "UTC"}, "from which it counts"},
		{"no time", Spec{Kind: Once, Value: "tomorrow", Zone: "UTC"}, "no time"},
		{"another kind", Spec{Kind: "weekly", Value: "x", Zone: "UTC"}, "no kind of schedule"},
	} {
		if _, err := Parse(tt.s); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want words about %q", tt.name, err, tt.want)
		}
	}
}

func TestPlan(t *testing.T) {
	hourly := parse(t, Cron, "0 * * * *", "UTC")
	at := func(hour, minute int) time.Time { return time.Date(2026, 1, 1, hour, minute, 0, 0, time.UTC) }
	for _, tt := range []struct {
		name      string
		next, now time.Time
		missed    Missed
		want      Plan
	}{
		{"not due", at(9, 0), at(8, 59), MissedOnce, Plan{Next: at(9, 0)}},
		{"due", at(9, 0), at(9, 0), MissedSkip, Plan{Run: []time.Time{at(9, 0)}, Next: at(10, 0)}},
		{"a little late is not missed", at(9, 0), at(9, 1), MissedSkip, Plan{Run: []time.Time{at(9, 0)}, Next: at(10, 0)}},
		{"missed, skip", at(9, 0), at(11, 30), MissedSkip, Plan{Skipped: 3, Next: at(12, 0)}},
		{"missed, skip, and one is due now", at(9, 0), at(11, 0), MissedSkip, Plan{Run: []time.Time{at(11, 0)}, Skipped: 2, Next: at(12, 0)}},
		{"missed, once", at(9, 0), at(11, 30), MissedOnce, Plan{Run: []time.Time{at(11, 0)}, Skipped: 2, Next: at(12, 0)}},
		{"missed, all", at(9, 0), at(11, 30), MissedAll, Plan{Run: []time.Time{at(9, 0), at(10, 0), at(11, 0)}, Next: at(12, 0)}},
		{"missed, more than all", at(0, 0), at(11, 0), MissedAll, Plan{Run: []time.Time{at(2, 0), at(3, 0), at(4, 0), at(5, 0), at(6, 0),
			at(7, 0), at(8, 0), at(9, 0), at(10, 0), at(11, 0)}, Skipped: 2, Next: at(12, 0)}},
		{"the clock was set back", at(9, 0), at(3, 0), MissedAll, Plan{Next: at(9, 0)}},
		{"never again", time.Time{}, at(9, 0), MissedAll, Plan{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, hourly.Plan(tt.next, tt.now, tt.missed)); d != "" {
				t.Error(d)
			}
		})
	}
	once := parse(t, Once, "2026-01-01T09:00:00", "UTC")
	if d := cmp.Diff(Plan{Run: []time.Time{at(9, 0)}}, once.Plan(at(9, 0), at(20, 0), MissedOnce)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(Plan{Skipped: 1}, once.Plan(at(9, 0), at(20, 0), MissedSkip)); d != "" {
		t.Error(d)
	}
	// Nothing takes long, however long nobody looked.
	p := parse(t, Cron, "* * * * *", "Europe/Berlin").Plan(at(9, 0), at(9, 0).AddDate(5, 0, 0), MissedAll)
	if len(p.Run) != MaxAll || !p.Run[MaxAll-1].Equal(at(9, 0).AddDate(5, 0, 0)) || p.Skipped == 0 {
		t.Errorf("after five years: %d to run, the last at %v", len(p.Run), p.Run[len(p.Run)-1])
	}
}

// TestClockGoesBothWays lets a clock jump: no due time is planned twice, and the next
// one lies behind all that were.
func TestClockGoesBothWays(t *testing.T) {
	for _, missed := range []Missed{MissedSkip, MissedOnce, MissedAll} {
		s := parse(t, Cron, "*/15 * * * *", "America/New_York")
		now := time.Date(2026, 10, 31, 12, 0, 0, 0, time.UTC)
		next, ran := s.Next(now), map[int64]bool{}
		for _, jump := range []time.Duration{time.Hour, -3 * time.Hour, 5 * time.Hour, -time.Minute, 20 * time.Hour, -19 * time.Hour, 19 * time.Hour, 40 * time.Hour} {
			for now = now.Add(jump); ; now = now.Add(7 * time.Minute) {
				p := s.Plan(next, now, missed)
				for _, due := range p.Run {
					if ran[due.Unix()] || due.Before(next) || due.After(now) {
						t.Fatalf("%s: %v is run again, or too early, at %v", missed, due, now)
					}
					ran[due.Unix()] = true
				}
				if p.Next.Before(next) {
					t.Fatalf("%s: the next time went back from %v to %v", missed, next, p.Next)
				}
				if next.Equal(p.Next) {
					break
				}
				next = p.Next
			}
		}
	}
}

func TestCheckEvery(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		kind  Kind
		value string
		ok    bool
	}{
		{Cron, "* * * * *", true}, {Cron, "*/30 * * * * *", false}, {Cron, "0,30 0 9 * * *", false},
		{Interval, "60s", true}, {Interval, "59s", false}, {Once, "2026-02-01T00:00:00", true},
	} {
		if err := parse(t, tt.kind, tt.value, "UTC").CheckEvery(time.Minute, now); (err == nil) != tt.ok {
			t.Errorf("%s %s: %v", tt.kind, tt.value, err)
		}
	}
}

// FuzzParse: whatever somebody writes is refused, or has times that only go forward
// and is the same when it is read again.
func FuzzParse(f *testing.F) {
	f.Add("cron", "0 9 * * 1-5", "Europe/Berlin", int64(0))
	f.Add("cron", "30 2 * * *", "America/New_York", int64(1772900000))
	f.Add("cron", "*/7 1-23/2 L 2 5#3", "Australia/Lord_Howe", int64(1775300000))
	f.Add("interval", "90m", "UTC", int64(1<<40))
	f.Add("once", "2026-03-29T02:30", "Europe/Berlin", int64(0))
	f.Fuzz(func(t *testing.T, kind, value, zone string, from int64) {
		s, err := Parse(Spec{Kind: Kind(kind), Value: value, Zone: zone, Anchor: time.Unix(1767225600, 0)})
		if err != nil {
			return
		}
		at := time.Unix(from%(1<<33), 0)
		for range 5 {
			next := s.Next(at)
			if next.IsZero() {
				break
			}
			if !next.After(at) || next.Location() != time.UTC {
				t.Fatalf("%s: after %v comes %v", s, at, next)
			}
			at = next
		}
		again, err := Parse(s.Spec())
		if err != nil || again.Spec() != s.Spec() || !again.Next(at).Equal(s.Next(at)) {
			t.Fatalf("%+v is read again as %+v: %v", s.Spec(), again, err)
		}
		s.Plan(s.Next(at), at.Add(time.Hour), MissedAll)
	})
}
