package audit

import (
	"context"
	"testing"
	"time"
)

// meeting is a store whose head is read by two passes before either goes on, or by one
// if no other comes for a while.
type meeting struct {
	*memory
	came chan struct{}
}

func (m *meeting) Head(ctx context.Context) (Head, error) {
	h, err := m.memory.Head(ctx)
	select {
	case m.came <- struct{}{}:
	case <-m.came:
	case <-time.After(50 * time.Millisecond):
	}
	return h, err
}

// Who exports asks for a pass while Run makes one. They do not append over each other,
// which the store would refuse, and the owner would be told of another sequencer.
func TestPassesWaitForEachOther(t *testing.T) {
	m, key := filled(t, 3)
	s := NewSequencer(&meeting{m, make(chan struct{})}, key, nil)
	m.add(t, 2)
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := s.Sequence(t.Context())
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if m.head.Size != 5 {
		t.Errorf("%d leaves, want 5", m.head.Size)
	}
}
