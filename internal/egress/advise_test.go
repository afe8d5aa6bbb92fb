package egress

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAt(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	const unified = "Anthropic-Ratelimit-Unified-"
	for _, tt := range []struct {
		name string
		give http.Header
		want time.Duration // from now; 0 is not said
	}{
		{"nothing", header(), 0},
		{"seconds", header("Retry-After", "90"), 90 * time.Second},
		{"a date", header("Retry-After", "Sun, 01 Mar 2026 12:10:00 GMT"), 10 * time.Minute},
		{"a subscription's limit", header(unified+"Status", "rejected", unified+"Reset", "1772377200"), 3 * time.Hour},
		{"the later of both", header("Retry-After", "5", unified+"Status", "rejected", unified+"Reset", "1772377200"), 3 * time.Hour},
		{"a limit that is not reached", header(unified+"Status", "allowed", unified+"Reset", "1772377200"), 0},
		{"in the past", header("Retry-After", "Sun, 01 Mar 2026 11:00:00 GMT"), 0},
		{"negative", header("Retry-After", "-5"), 0},
		{"longer than any limit", header("Retry-After", "99999999"), 0},
		{"no number", header("Retry-After", "soon"), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := retryAt(tt.give, now)
			if tt.want == 0 && !got.IsZero() || tt.want != 0 && got.Sub(now) != tt.want {
				t.Errorf("got %v, want %v after %v", got, tt.want, now)
			}
		})
	}
}
