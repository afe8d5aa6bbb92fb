package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a machine without its own knows every zone, and all machines the same

	cron "github.com/netresearch/go-cron"
)

// Kind is how a schedule says when.
type Kind string

// The kinds.
const (
	Cron     Kind = "cron"     // five fields, or six with seconds first
	Interval Kind = "interval" // every so long, counted from an anchor
	Once     Kind = "once"     // at one time
)

// maxValue bounds the text of a schedule, in bytes.
const maxValue = 200

// searchYears is how far off the next time may lie: 29 February can be eight years
// away.
const searchYears = 9

// Spec is a schedule as it is kept. Parse makes it whole, and takes it again.
type Spec struct {
	Kind Kind `json:"kind"`
	// Value is the cron expression, the interval as a Go duration, or the time in
	// RFC 3339.
	Value string `json:"value"`
	// Zone is an IANA name, such as "Europe/Berlin". Cron is read in it, and so is a
	// time that names no zone of its own.
	Zone string `json:"zone"`
	// Anchor is from when an interval counts.
	Anchor time.Time `json:"anchor,omitzero"`
}

// Schedule gives the times of a Spec. It is immutable.
type Schedule struct {
	spec  Spec
	zone  *time.Location
	times cron.Schedule // cron, read as if the wall clock were UTC
	every time.Duration
	at    time.Time
	// hourly says that a cron expression names no hour, so that it follows the time
	// that passes and not what the wall clock says.
	hourly bool
}

// Parse reads a schedule. The error says in words what is wrong and what to write.
func Parse(s Spec) (*Schedule, error) {
	if len(s.Value) > maxValue {
		return nil, fmt.Errorf("the schedule is longer than %d bytes", maxValue)
	}
	zone, err := Zone(s.Zone)
	if err != nil {
		return nil, err
	}
	out := &Schedule{spec: s, zone: zone}
	switch s.Kind {
	case Cron:
		err = out.cron()
	case Interval:
		err = out.interval()
	case Once:
		err = out.once()
	default:
		err = fmt.Errorf("%q is no kind of schedule: use cron, interval or once", clip(string(s.Kind)))
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Zone finds a zone by its IANA name.
func Zone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("a schedule needs a zone by its name, such as Europe/Berlin or UTC")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("there is no time zone %q: use a name such as Europe/Berlin or UTC", clip(name))
	}
	return zone, nil
}

// Spec is what the schedule was made of, whole.
func (s *Schedule) Spec() Spec { return s.spec }

// Location is the schedule's zone.
func (s *Schedule) Location() *time.Location { return s.zone }

const cronHint = `write five fields, minute hour day month weekday, such as "0 9 * * 1-5", or six with the second first`

func (s *Schedule) cron() (err error) {
	fields := strings.Fields(s.spec.Value)
	value := strings.Join(fields, " ")
	switch {
	case strings.ContainsAny(value, "@="): // its own words and zones; the zone is a field of ours
		return fmt.Errorf("%q is no cron expression: %s; the zone is said beside it", clip(value), cronHint)
	case len(fields) != 5 && len(fields) != 6:
		return fmt.Errorf("%q has %d fields: %s", clip(value), len(fields), cronHint)
	}
	defer func() { // a fault of the parser's must not end the host
		if p := recover(); p != nil {
			err = fmt.Errorf("%q is no cron expression: %s", clip(value), cronHint)
		}
	}()
	options := cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow |
		cron.DowNth | cron.DowLast | cron.DomL | cron.DomW | cron.DowOrDom
	parser, err := cron.TryNewParser(options)
	if err != nil {
		return err
	}
	times, err := parser.WithMaxSearchYears(searchYears).Parse(value)
	if err != nil {
		return fmt.Errorf("%q is no cron expression (%s): %s", clip(value), clip(err.Error()), cronHint)
	}
	spec, ok := times.(*cron.SpecSchedule)
	if !ok {
		return fmt.Errorf("%q is no cron expression: %s", clip(value), cronHint)
	}
	spec.Location = time.UTC
	s.times, s.spec.Value, s.spec.Anchor = spec, value, time.Time{}
	s.hourly = spec.Hour&allHours == allHours
	if spec.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return fmt.Errorf("%q names a date that never comes, such as 30 February: choose another", clip(value))
	}
	return nil
}

// allHours has a bit for each hour.
const allHours = 1<<24 - 1

// interval reads a Go duration, or a number of milliseconds.
func (s *Schedule) interval() error {
	value := strings.TrimSpace(s.spec.Value)
	ms, err := strconv.ParseInt(value, 10, 64)
	if err == nil && ms > 0 && ms <= int64(maxEvery/time.Millisecond) {
		s.every = time.Duration(ms) * time.Millisecond
	} else if s.every, err = time.ParseDuration(value); err != nil {
		return fmt.Errorf("%q is no interval: write such as 90m or 24h, or a number of milliseconds", clip(value))
	}
	if s.every < time.Second || s.every > maxEvery {
		return fmt.Errorf("an interval of %v is not possible: it is at least a second and at most %v", s.every, maxEvery)
	}
	s.every = s.every.Truncate(time.Second)
	s.spec.Value = s.every.String()
	s.spec.Anchor = s.spec.Anchor.UTC().Truncate(time.Second)
	if s.spec.Anchor.IsZero() {
		return fmt.Errorf("an interval needs a time from which it counts")
	}
	return nil
}

// maxEvery bounds an interval.
const maxEvery = 10 * 366 * 24 * time.Hour

// layouts are how a time may be written without a zone of its own.
var layouts = []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04"}

// once reads a time: with a zone of its own, or on the wall clock of the zone.
func (s *Schedule) once() error {
	value := strings.TrimSpace(s.spec.Value)
	at, err := time.Parse(time.RFC3339, value)
	for _, layout := range layouts {
		if err == nil {
			break
		}
		var wall time.Time
		if wall, err = time.Parse(layout, value); err == nil {
			at, _ = instant(wall, s.zone)
		}
	}
	if err != nil {
		return fmt.Errorf("%q is no time: write such as 2026-02-01T15:30:00, which is read in the zone %s", clip(value), s.spec.Zone)
	}
	s.at = at.UTC().Truncate(time.Second)
	if y := s.at.Year(); y < 1970 || y > 9999 {
		return fmt.Errorf("%q is too far off", clip(value))
	}
	s.spec.Value, s.spec.Anchor = s.at.In(s.zone).Format(time.RFC3339), time.Time{}
	return nil
}

// String tells the schedule in words.
func (s *Schedule) String() string {
	switch s.spec.Kind {
	case Interval:
		return "every " + s.spec.Value
	case Once:
		return "once at " + s.spec.Value
	}
	return fmt.Sprintf("cron %q in %s", s.spec.Value, s.spec.Zone)
}

// clip shortens what somebody wrote, for an error.
func clip(s string) string {
	const n = 80
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
