package supervise

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nanoclaw/internal/channel"
)

func TestPausesGrowAndBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var begun []time.Time
		err := Run(ctx, Options{First: time.Second, Most: 8 * time.Second, Steady: time.Minute, Silence: time.Hour}, func(ctx context.Context, l *Line) error {
			begun = append(begun, time.Now())
			switch len(begun) {
			case 6: // lasts
				l.Up()
				time.Sleep(2 * time.Minute)
			case 8:
				cancel()
			}
			return errors.New("no")
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 8} {
			got := begun[i+1].Sub(begun[i])
			if got < want*time.Second/2 || got > want*time.Second {
				t.Errorf("pause %d was %v, want at most %ds and at least half of it", i, got, want)
			}
		}
		if got := begun[6].Sub(begun[5]) - 2*time.Minute; got > time.Second {
			t.Errorf("after a connection that lasted the pause was %v", got)
		}
	})
}

func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n, live := 0, 0
		var statuses []channel.Status
		start := time.Now()
		Run(ctx, Options{Silence: 10 * time.Second, Status: func(s channel.Status) { statuses = append(statuses, s) }}, func(ctx context.Context, l *Line) error {
			n++
			if live++; live > 1 {
				t.Error("two connections at once")
			}
			defer func() { live-- }()
			if n == 2 {
				l.Alive()
				time.Sleep(time.Second)
				l.Up()
				synctest.Wait()
				cancel()
				<-ctx.Done()
				return nil
			}
			l.Up()
			for range 5 {
				time.Sleep(8 * time.Second)
				l.Alive()
			}
			<-ctx.Done() // hangs
			if !errors.Is(context.Cause(ctx), ErrSilent) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return nil
		})
		if lasted := statuses[2].Since.Sub(start); lasted != 50*time.Second {
			t.Errorf("the silent connection ended after %v", lasted)
		}
		if last := statuses[len(statuses)-1]; last.State != channel.Connected || last.Lost.Sub(start) != 40*time.Second {
			t.Errorf("the last sign of the connection before was told as %v after the start: %+v", last.Lost.Sub(start), last)
		}
		if statuses[2].State != channel.Waiting || statuses[2].Cause == "" {
			t.Errorf("status %+v", statuses[2])
		}
	})
}

func TestPermanentEnds(t *testing.T) {
	want := channel.Permanent(errors.New("the token was revoked"))
	var last channel.Status
	err := Run(t.Context(), Options{Status: func(s channel.Status) { last = s }}, func(context.Context, *Line) error { return want })
	if !errors.Is(err, want) || last.State != channel.Ended {
		t.Errorf("got %v, %+v", err, last)
	}
}

func TestTheNetworkSaysWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var begun []time.Time
		Run(ctx, Options{}, func(ctx context.Context, l *Line) error {
			if begun = append(begun, time.Now()); len(begun) == 3 {
				cancel()
			}
			if len(begun) == 1 {
				return &After{Wait: 90 * time.Second, Err: errors.New("slow down")}
			}
			panic("a stranger's bytes")
		})
		if got := begun[1].Sub(begun[0]); got < 90*time.Second {
			t.Errorf("came again after %v", got)
		}
	})
}

// Nothing is left of a thousand connections.
func TestThousandConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var n atomic.Int64
		var first, last int
		Run(ctx, Options{First: time.Millisecond, Most: time.Millisecond}, func(ctx context.Context, l *Line) error {
			l.Up()
			switch n.Add(1) {
			case 10:
				synctest.Wait() // what is ending has ended
				first = runtime.NumGoroutine()
			case 1000:
				synctest.Wait()
				last = runtime.NumGoroutine()
				cancel()
			}
			return errors.New("reset")
		})
		if last > first {
			t.Errorf("%d goroutines after 1000 connections, %d after 10", last, first)
		}
	})
}
