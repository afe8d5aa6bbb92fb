package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

type fullDisk struct{ error }

func (fullDisk) Temporary() bool { return true }

// The end of a run is stored when there is room again, and what can never be
// stored is not tried for ever.
func TestPersist(t *testing.T) {
	full, broken := fullDisk{errors.New("no space")}, errors.New("it is over already")
	for _, tt := range []struct {
		name  string
		fails int
		err   error
		stop  time.Duration // when we stop; 0 for never
		tries int
		want  error
	}{
		{"at once", 0, nil, 0, 1, nil},
		{"when there is room again", 20, full, 0, 21, nil},
		{"never what is refused", 20, broken, 0, 1, broken},
		{"not for ever when we stop", 1000, full, time.Second, 11, full},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.stop > 0 {
					time.AfterFunc(tt.stop, cancel)
				}
				tries := 0
				err := persist(ctx, slog.New(slog.DiscardHandler), func() error {
					if tries++; tries <= tt.fails {
						return fmt.Errorf("finish run: %w", tt.err)
					}
					return nil
				})
				if !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) || tries != tt.tries {
					t.Errorf("%v after %d tries, want %v after %d", err, tries, tt.want, tt.tries)
				}
			})
		})
	}
}
