package daemon

import (
	"strings"
	"testing"

	"nanoclaw/internal/boundary"
)

// The doctor says each point in which an engine differs from the grant.
func TestDoctorTellsDifferences(t *testing.T) {
	for _, engine := range []string{boundary.NativeEngine, boundary.SRTEngine, boundary.SeatbeltEngine} {
		list := boundary.Differences(engine)
		checks := differences(engine)
		if len(list) == 0 || len(checks) != len(list) {
			t.Errorf("%s: %d differences, %d told", engine, len(list), len(checks))
		}
		for i, c := range checks {
			if !strings.Contains(c.Detail, list[i].Why) || !strings.Contains(c.Detail, strings.Join(list[i].About, ", ")) || c.State != "note" {
				t.Errorf("%+v", c)
			}
			if more := strings.HasPrefix(c.Detail, "it permits more"); more != list[i].More {
				t.Errorf("%+v", c)
			}
		}
	}
}
