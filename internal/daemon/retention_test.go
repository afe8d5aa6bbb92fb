package daemon

import (
	"testing"
	"time"

	"nanoclaw/internal/config"
	"nanoclaw/internal/store"
)

func TestRetention(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days) }
	if got, want := keepUntil(config.Default().Retention, now), (store.Keep{Messages: ago(90), Runs: ago(365), Costs: ago(400), Words: ago(365)}); got != want {
		t.Errorf("by default until %+v, want %+v", got, want)
	}
	if got := keepUntil(config.Retention{}, now); got != (store.Keep{}) {
		t.Errorf("0 is not for ever: %+v", got)
	}
	for d, want := range map[time.Duration]int{0: 36500, time.Second: 1, 24 * time.Hour: 1, 25 * time.Hour: 2, 90 * 24 * time.Hour: 90} {
		if got := keepSessions(d); got != want {
			t.Errorf("%v is %d days, want %d", d, got, want)
		}
	}
}
