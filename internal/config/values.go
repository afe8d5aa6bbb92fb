package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a span of time, written "90s", "30m", "2h" or "1h30m". It is
// never negative, and a number without a unit is refused: it could mean
// anything.
type Duration time.Duration

// Size is a number of bytes, written "512KB", "10MB", "2GB" (powers of 1024).
// It is never negative, and the unit is never left out.
type Size int64

// unit is one suffix of a text form and what it multiplies by.
type unit struct {
	name string
	n    int64
}

// durationUnits go from large to small, the only order that is accepted, so
// that one span has few spellings.
var durationUnits = []unit{
	{"d", int64(24 * time.Hour)},
	{"h", int64(time.Hour)},
	{"m", int64(time.Minute)},
	{"s", int64(time.Second)},
	{"ms", int64(time.Millisecond)},
}

var sizeUnits = []unit{
	{"TB", 1 << 40},
	{"GB", 1 << 30},
	{"MB", 1 << 20},
	{"KB", 1 << 10},
	{"B", 1},
}

// Words for errors and for the schema: what each type expects.
const (
	durationForm = `a duration such as "90s", "30m" or "2h"`
	sizeForm     = `a size such as "512KB", "10MB" or "2GB"`
)

// ParseDuration reads whole numbers with units d, h, m, s and ms, larger units
// first: "1h30m". It refuses signs, fractions, spaces and what does not fit.
func ParseDuration(s string) (Duration, error) {
	rest, total, next := s, int64(0), 0
	if rest == "" {
		return 0, fmt.Errorf("%q is not %s", s, durationForm)
	}
	for rest != "" {
		n, name, tail, err := cutNumber(rest)
		if err != nil {
			return 0, fmt.Errorf("%q is not %s: %w", s, durationForm, err)
		}
		i := next
		for i < len(durationUnits) && durationUnits[i].name != name {
			i++
		}
		if i == len(durationUnits) {
			return 0, fmt.Errorf("%q is not %s: %s", s, durationForm, badUnit(name, durationUnits[next:]))
		}
		u := durationUnits[i].n
		if n > math.MaxInt64/u || n*u > math.MaxInt64-total {
			return 0, fmt.Errorf("%q is too long: the longest duration is %d years", s, int64(math.MaxInt64)/durationUnits[0].n/365)
		}
		total += n * u
		rest, next = tail, i+1
	}
	return Duration(total), nil
}

// ParseSize reads one whole number with a unit B, KB, MB, GB or TB. It refuses
// signs, fractions, spaces and what does not fit in 63 bits.
func ParseSize(s string) (Size, error) {
	n, name, tail, err := cutNumber(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not %s: %w", s, sizeForm, err)
	}
	for _, u := range sizeUnits {
		if u.name != name || tail != "" {
			continue
		}
		if n > math.MaxInt64/u.n {
			return 0, fmt.Errorf("%q is too large: the largest size is 8388607TB", s)
		}
		return Size(n * u.n), nil
	}
	return 0, fmt.Errorf("%q is not %s: %s", s, sizeForm, badUnit(name+tail, sizeUnits))
}

// cutNumber splits "30m12s" into 30, "m" and "12s".
func cutNumber(s string) (n int64, name, tail string, err error) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if digits == 0 {
		return 0, "", "", fmt.Errorf("write a whole number, then a unit")
	}
	n, err = strconv.ParseInt(s[:digits], 10, 64)
	if err != nil {
		return 0, "", "", fmt.Errorf("the number is too large")
	}
	tail = strings.TrimLeft(s[digits:], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	return n, s[digits : len(s)-len(tail)], tail, nil
}

// badUnit says which units would do.
func badUnit(name string, units []unit) string {
	names := make([]string, len(units))
	for i, u := range units {
		names[i] = u.name
	}
	switch known := strings.Join(names, ", "); {
	case len(units) == 0:
		return "nothing can follow the smallest unit"
	case name == "":
		return "the unit is missing: " + known
	default:
		return fmt.Sprintf("unknown unit %q: use %s", clip(name), known)
	}
}

// String gives the shortest form that ParseDuration reads: "1h30m", "0s".
func (d Duration) String() string {
	if d < 0 || d%Duration(time.Millisecond) != 0 {
		return time.Duration(d).String()
	}
	var b strings.Builder
	for _, u := range durationUnits {
		if n := int64(d) / u.n; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= Duration(n * u.n)
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// String gives the form with the largest unit that divides it: "2GB", "1500B".
func (s Size) String() string {
	if s == 0 {
		return "0B"
	}
	for _, u := range sizeUnits {
		if int64(s)%u.n == 0 {
			return strconv.FormatInt(int64(s)/u.n, 10) + u.name
		}
	}
	return "" // not reached: everything is a multiple of one byte
}

// MarshalText writes what UnmarshalText reads. Spans that cannot be written in
// the file (negative, or finer than a millisecond) are errors.
func (d Duration) MarshalText() ([]byte, error) {
	if d < 0 || d%Duration(time.Millisecond) != 0 {
		return nil, fmt.Errorf("duration %s has no text form in the configuration", d)
	}
	return []byte(d.String()), nil
}

// UnmarshalText is ParseDuration.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}

// MarshalText writes what UnmarshalText reads; a negative size is an error.
func (s Size) MarshalText() ([]byte, error) {
	if s < 0 {
		return nil, fmt.Errorf("size %d is negative", int64(s))
	}
	return []byte(s.String()), nil
}

// UnmarshalText is ParseSize.
func (s *Size) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSize(string(b))
	return err
}
