package config

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		back string // what it is written as again; "" is the same text
		err  string
	}{
		{"0s", 0, "", ""},
		{"90s", 90 * time.Second, "1m30s", ""},
		{"30m", 30 * time.Minute, "", ""},
		{"2h", 2 * time.Hour, "", ""},
		{"1d2h3m4s5ms", 26*time.Hour + 3*time.Minute + 4*time.Second + 5*time.Millisecond, "", ""},
		{"007m", 7 * time.Minute, "7m", ""},
		{"106751d", 106751 * 24 * time.Hour, "", ""},
		{"106752d", 0, "", "the longest duration is 292 years"},
		{"106751d23h59m", 0, "", "the longest duration"},
		{"99999999999999999999s", 0, "", "the number is too large"},
		{"", 0, "", "is not a duration"},
		{"30", 0, "", "the unit is missing: d, h, m, s, ms"},
		{"1h30", 0, "", "the unit is missing: m, s, ms"},
		{"30min", 0, "", `unknown unit "min"`},
		{"1m1h", 0, "", `unknown unit "h": use s, ms`},
		{"1s1s", 0, "", `unknown unit "s"`},
		{"1ms2", 0, "", "nothing can follow"},
		{"-5m", 0, "", "whole number"},
		{"1.5h", 0, "", "the unit is missing"},
		{" 5m", 0, "", "whole number"},
		{"5 m", 0, "", "the unit is missing"},
		{"５m", 0, "", "whole number"},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			got, err := ParseDuration(test.text)
			wantError(t, err, test.err)
			if time.Duration(got) != test.want {
				t.Errorf("got %v", time.Duration(got))
			}
			if back := got.String(); err == nil && back != test.text && back != test.back {
				t.Errorf("written again as %q", back)
			}
		})
	}
}

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		want int64
		back string
		err  string
	}{
		{"0B", 0, "", ""},
		{"512KB", 512 << 10, "", ""},
		{"10MB", 10 << 20, "", ""},
		{"2GB", 2 << 30, "", ""},
		{"3TB", 3 << 40, "", ""},
		{"1024KB", 1 << 20, "1MB", ""},
		{"1500B", 1500, "", ""},
		{"9223372036854775807B", math.MaxInt64, "", ""},
		{"8388607TB", 8388607 << 40, "", ""},
		{"8388608TB", 0, "", "the largest size is 8388607TB"},
		{"9223372036854775808B", 0, "", "the number is too large"},
		{"", 0, "", "whole number"},
		{"10", 0, "", "the unit is missing: TB, GB, MB, KB, B"},
		{"10mb", 0, "", `unknown unit "mb"`},
		{"10MiB", 0, "", `unknown unit "MiB"`},
		{"1GB5MB", 0, "", "unknown unit"},
		{"-1MB", 0, "", "whole number"},
		{"1.5GB", 0, "", "unknown unit"},
		{"1 GB", 0, "", "unknown unit"},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			got, err := ParseSize(test.text)
			wantError(t, err, test.err)
			if int64(got) != test.want {
				t.Errorf("got %d", got)
			}
			if back := got.String(); err == nil && back != test.text && back != test.back {
				t.Errorf("written again as %q", back)
			}
		})
	}
}

// wantError wants an error that contains the words, or none for "".
func wantError(t *testing.T, err error, words string) {
	t.Helper()
	switch {
	case words == "" && err != nil:
		t.Errorf("error %v", err)
	case words != "" && err == nil:
		t.Errorf("no error, want one with %q", words)
	case words != "" && !strings.Contains(err.Error(), words):
		t.Errorf("error %v, want one with %q", err, words)
	}
}

func TestValuesAsJSON(t *testing.T) {
	type values struct {
		D Duration
		S Size
	}
	want := values{Duration(90 * time.Minute), 10 << 20}
	text, err := json.Marshal(want)
	if err != nil || string(text) != `{"D":"1h30m","S":"10MB"}` {
		t.Fatalf("%s, %v", text, err)
	}
	var got values
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []any{Duration(-1), Duration(1), Size(-1)} {
		if text, err := json.Marshal(bad); err == nil {
			t.Errorf("%#v was written as %s", bad, text)
		}
	}
}

// FuzzValues: what can be read can be written and is read as the same again.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"90s", "1h30m", "2GB", "1500B", "-1s", "1.5h", "9223372036854775807B", "106751d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil {
			if again, err := ParseDuration(d.String()); err != nil || again != d || d < 0 {
				t.Errorf("%q is %d, then %q is %d, %v", s, d, d.String(), again, err)
			}
		}
		if n, err := ParseSize(s); err == nil {
			if again, err := ParseSize(n.String()); err != nil || again != n || n < 0 {
				t.Errorf("%q is %d, then %q is %d, %v", s, n, n.String(), again, err)
			}
		}
	})
}
