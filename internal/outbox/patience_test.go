package outbox

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"nanoclaw/internal/chat"
)

// silent never answers the first attempts at a message.
type silent struct {
	*network
	left int
}

func (s *silent) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	if s.left--; s.left >= 0 {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return s.network.Deliver(ctx, m)
}

// A channel that never answers is asked again, and the chat goes on.
func TestSilentChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n := &rows{}, &silent{&network{err: func(string) error { return nil }}, 2}
		run(t, s, n, "a1", "a2")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if s.all[0].state != "sent" || s.all[1].state != "sent" || s.all[0].attempts != 2 {
			t.Errorf("%+v, %+v", s.all[0], s.all[1])
		}
	})
}

// fullDisk fails for a while to write what became of a message.
type fullDisk struct {
	*rows
	fails int
}

type full struct{ error }

func (full) Temporary() bool { return true }

func (s *fullDisk) Sent(ctx context.Context, id int64, network chat.MessageID, at time.Time) error {
	if s.fails--; s.fails >= 0 {
		return full{errors.New("no space")}
	}
	return s.rows.Sent(ctx, id, network, at)
}

// What was delivered while the disk was full is written down when there is room,
// and is not delivered again.
func TestDeliveredWhileTheDiskIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n := &fullDisk{&rows{}, 5}, &network{err: func(string) error { return nil }}
		run(t, s, n, "a1", "a2")
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.all[0].state != "sent" || s.all[1].state != "sent" || len(n.texts) != 2 {
			t.Errorf("%+v, %+v; the network got %v", s.all[0], s.all[1], n.texts)
		}
	})
}

// run puts messages and delivers until the test ends.
func run(t *testing.T, s Store, n Channel, texts ...string) {
	o := New(s, only(n), slog.New(slog.DiscardHandler))
	for _, text := range texts {
		if _, err := o.Put(t.Context(), chat.Outbound{To: chat.Address{Channel: "net", Chat: "a"}, Text: text, Key: text}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { o.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}
