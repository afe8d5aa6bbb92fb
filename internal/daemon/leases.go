package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
)

// ownerName names this process as the holder of what it claims: by its host, for
// people, and by a word that no other process has.
func ownerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	return host + "-" + rand.Text()[:16]
}

// heart is what says that this process lives, and finds what it lost.
type heart struct {
	beat func(context.Context) ([]chat.RunID, error)
	// live are the runs that go on here, and lose ends one.
	live func() []chat.RunID
	lose func(chat.RunID)
	// shared says that others may take over what is silent for too long.
	shared bool
	last   time.Time // when beat succeeded, by the clock that is never set
}

// once beats once. A run that was live before the beat and that the store does not
// know as ours has ended or was taken over; ending it once more does nothing. If
// nothing could be heard of us for as long as a lease lasts, others may have taken
// over what we hold, and we act as if they had.
func (h *heart) once(ctx context.Context) error {
	runs := h.live()
	held, err := h.beat(ctx)
	if err == nil {
		h.last = steps.Now()
	} else if !h.shared || time.Since(h.last) < store.LeaseTime {
		return err
	}
	for _, run := range runs {
		if !slices.Contains(held, run) {
			h.lose(run)
		}
	}
	return err
}

// keepBeating beats until stop is called, also while the daemon ends its runs, and
// takes back what a silent holder had.
func (d *Daemon) keepBeating(ctx context.Context) (stop func()) {
	h := &heart{live: d.runner.Live, lose: d.runner.Lost, shared: d.store.Shared(), last: steps.Now(),
		beat: func(ctx context.Context) ([]chat.RunID, error) { return d.store.Beat(ctx, d.store.Owner()) }}
	stopping := ctx
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		said := ""
		for waited(ctx, d.every()) {
			err := h.once(ctx)
			if err == nil && stopping.Err() == nil {
				err = errors.Join(d.takeOver(ctx), d.lookElsewhere(ctx))
			}
			if err == nil {
				said = ""
			} else if ctx.Err() == nil && err.Error() != said {
				said = err.Error()
				d.log.Error("what this process holds could not be kept", "err", err)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// waited waits, and says that ctx goes on.
func waited(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// takeOver takes back what a silent holder had, and has it done again.
func (d *Daemon) takeOver(ctx context.Context) error {
	back, err := d.takeBack(ctx)
	if len(back.Runs) > 0 {
		d.log.Warn("runs of a process that is not heard of any more are taken over", "runs", back.Runs)
		d.queue.Wake()
	}
	if len(back.Runs)+back.Sent+len(back.Lost) > 0 {
		d.replied()
	}
	return err
}

// takeBack makes what no living process holds wait again. The chats whose messages
// were given up are told so in the same transaction.
func (d *Daemon) takeBack(ctx context.Context) (queue.TakenBack, error) {
	steps.Before(steps.Recover)
	back, err := d.store.Recover(ctx, queue.MaxAttempts, steps.Now())
	steps.After(steps.Recover)
	return back, err
}

// lostNotice tells the chat of a message that it was given up.
func lostNotice(l queue.Lost) chat.Outbound {
	return chat.Outbound{
		To: l.To, Kind: chat.Notice, Group: l.Group, Failed: true, Key: fmt.Sprintf("lost:%d:%s", l.Row, l.Run),
		Text: fmt.Sprintf("A message was tried %d times and given up, because nanoclaw ended each time while it was answered: %.80q\nTo try it once more: nanoclaw dead retry %d", queue.MaxAttempts, l.Text, l.Row),
	}
}

// while does a part for as long as this process holds the lease of that name, until
// ctx ends; if another has it, it waits for it. The part gets a context that ends
// when the lease is lost. The lease is kept after ctx ended: what comes after the
// parts still needs it, and gives it back.
func (d *Daemon) while(ctx context.Context, name string, part func(context.Context)) {
	for {
		held, err := d.acquire(ctx, name)
		if err != nil && ctx.Err() == nil {
			d.log.Error("a lease could not be taken", "lease", name, "err", err)
		}
		if held {
			d.during(ctx, name, part)
		}
		if !waited(ctx, d.every()) {
			return
		}
	}
}

func (d *Daemon) acquire(ctx context.Context, name string) (bool, error) {
	_, held, err := d.store.Acquire(ctx, name, d.store.Owner(), store.LeaseTime)
	return held, err
}

// during does a part and renews its lease meanwhile. In a store of our own nobody
// can take it.
func (d *Daemon) during(ctx context.Context, name string, part func(context.Context)) {
	doing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		part(doing)
	}()
	defer func() {
		stop()
		<-done
	}()
	if !d.store.Shared() {
		<-done
		return
	}
	for last := steps.Now(); time.Since(last) < store.LeaseTime; {
		if !waited(ctx, d.every()) {
			return
		}
		held, err := d.acquire(ctx, name)
		if err == nil && !held {
			d.log.Warn("a lease was lost to another process", "lease", name)
			return
		}
		if err == nil {
			last = steps.Now()
		}
	}
}

// lastSequence seals the end of the record, unless another process does it, and
// gives the lease for it back.
func (d *Daemon) lastSequence(ctx context.Context) error {
	_, err := d.sequencer.Sequence(ctx)
	if errors.Is(err, queue.ErrLost) {
		return nil
	}
	return errors.Join(err, d.store.ReleaseLease(ctx, store.Sequencer, d.store.Owner()))
}
