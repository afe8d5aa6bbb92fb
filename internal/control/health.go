package control

import "time"

// Health says whether the host can do now what it is there for, in one check for each
// thing that it needs. Of their states "fail" alone means that it cannot.
type Health struct {
	Ready bool      `json:"ready"`
	At    time.Time `json:"at"`
	// Checks are those of the start, the store, the audit log, the boundaries, the
	// channels, the runs and the disk.
	Checks []Check `json:"checks"`
}

// HealthOf makes of checks whether the host is ready.
func HealthOf(at time.Time, checks []Check) Health {
	h := Health{Ready: true, At: at, Checks: checks}
	for _, c := range checks {
		h.Ready = h.Ready && c.State != "fail"
	}
	return h
}
