package runner

import (
	"context"
	"fmt"
	"time"

	"nanoclaw/internal/audit"
)

// breachError is a session that was ended for what came over its wire.
type breachError struct{ cause error }

func (e *breachError) Error() string {
	return fmt.Sprintf("the session was ended, since what came out of it was not what our program inside says (%v): "+
		"something inside may have tried to pass for it, and got nothing by that; nanoclaw audit list --kind wire.failed has it", e.cause)
}

func (e *breachError) Unwrap() error { return e.cause }

// breach is why the session's wire was cut, nil if it was not.
func (s *session) breach() error {
	if s.box == nil {
		return nil
	}
	if err := s.box.Breach(); err != nil {
		return &breachError{err}
	}
	return nil
}

// breached writes down why a session's wire was cut, if it was.
func (r *Runner) breached(s *session) {
	if s.breach() == nil {
		return
	}
	err := r.Store.Record(context.Background(), audit.Entry{
		At: time.Now(), Kind: audit.WireFailed, Group: s.grant.Group, Run: s.caller().Run(), Session: s.id,
		Data: audit.WireFailedData{Reason: s.box.Breach().Error()},
	})
	if err != nil {
		r.log(s).Error("that a session's wire was cut could not be recorded", "err", err)
	}
}
