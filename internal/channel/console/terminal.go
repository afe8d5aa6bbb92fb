package console

import (
	"context"
	"io"
	"slices"

	"nanoclaw/internal/chat"
)

// Terminal is the receiving end of one attached terminal. Its fields are
// guarded by the hub's mutex; Next and Close may be called from different
// goroutines.
type Terminal struct {
	hub   *Hub
	group chat.Group

	queue    []item
	progress int           // how many of queue are progress
	taken    *delivery     // given out by Next, not yet confirmed
	wake     chan struct{} // holds one token when something changed
	closed   bool
}

// item is one thing to show: exactly one field is set.
type item struct {
	delivery *delivery
	progress *chat.Progress
}

// Attach connects a terminal to the chat of a group. Whether there is such a
// group is for the caller to know. On a hub that has ended, the terminal is
// detached from the beginning.
func (h *Hub) Attach(g chat.Group) *Terminal {
	t := &Terminal{hub: h, group: g, wake: make(chan struct{}, 1)}
	if !h.add(t) {
		return t
	}
	h.opt.OnAttach(Address(g))
	return t
}

func (h *Hub) add(t *Terminal) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		t.closed = true
		return false
	}
	if h.terms[t.group] == nil {
		h.terms[t.group] = make(map[*Terminal]struct{})
	}
	h.terms[t.group][t] = struct{}{}
	return true
}

// Attached counts the terminals of a group.
func (h *Hub) Attached(g chat.Group) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.terms[g])
}

// Next gives the next thing to show: a message or a piece of progress. Calling
// it again confirms that what it gave before was shown. It is io.EOF once the
// terminal is detached, by Close or by the hub.
func (t *Terminal) Next(ctx context.Context) (*chat.Outbound, *chat.Progress, error) {
	for {
		it, ok, closed := t.pop()
		switch {
		case closed:
			return nil, nil, io.EOF
		case ok && it.delivery != nil:
			m := it.delivery.m
			return &m, nil, nil
		case ok:
			return nil, it.progress, nil
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// pop confirms what was taken and takes the next.
func (t *Terminal) pop() (it item, ok, closed bool) {
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	if t.closed {
		return item{}, false, true
	}
	if t.taken != nil {
		t.taken.shownLocked()
		t.taken = nil
	}
	if len(t.queue) == 0 {
		return item{}, false, false
	}
	it = t.queue[0]
	t.queue[0] = item{}
	t.queue = t.queue[1:]
	if it.progress != nil {
		t.progress--
	}
	t.taken = it.delivery
	return it, true, false
}

// Close detaches the terminal. Closing twice is harmless.
func (t *Terminal) Close() error {
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	t.hub.detachLocked(t)
	return nil
}

func (h *Hub) detachLocked(t *Terminal) {
	if t.closed {
		return
	}
	t.closed = true
	delete(h.terms[t.group], t)
	if len(h.terms[t.group]) == 0 {
		delete(h.terms, t.group)
	}
	if t.taken != nil {
		t.taken.dropLocked()
	}
	for _, it := range t.queue {
		if it.delivery != nil {
			it.delivery.dropLocked()
		}
	}
	t.queue, t.taken = nil, nil
	t.wakeLocked()
}

func (t *Terminal) pushLocked(it item) {
	t.queue = append(t.queue, it)
	t.wakeLocked()
}

func (t *Terminal) withdrawLocked(d *delivery) {
	t.queue = slices.DeleteFunc(t.queue, func(it item) bool { return it.delivery == d })
}

func (t *Terminal) wakeLocked() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}
