package telegram

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
)

// notesKey is under which the moves are kept.
const notesKey = "telegram.moved"

// maxMoves bounds what is remembered.
const maxMoves = 1000

// moves are the groups that became supergroups, by their old number: Telegram gives
// such a chat a new one. They come from Telegram alone, in messages that nobody can
// write and in answers to requests.
type moves struct {
	notes Notes

	mu     sync.Mutex // guards all below
	to     map[int64]int64
	loaded bool
}

// load takes up what was noted before.
func (m *moves) load(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loaded || m.notes == nil {
		return nil
	}
	text, err := m.notes.Meta(ctx, notesKey)
	if err != nil {
		return err
	}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &m.to); err != nil {
			return fmt.Errorf("the note %s: %w", notesKey, err)
		}
	}
	m.loaded = true
	return nil
}

// put notes a move. It is false if it was known.
func (m *moves) put(ctx context.Context, from, to int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if from == to || from == 0 || to == 0 || m.to[from] == to || len(m.to) >= maxMoves {
		return false, nil
	}
	next := maps.Clone(m.to)
	if next == nil {
		next = map[int64]int64{}
	}
	next[from] = to
	if m.notes != nil {
		text, err := json.Marshal(next)
		if err == nil {
			err = m.notes.SetMeta(ctx, notesKey, string(text))
		}
		if err != nil {
			return false, fmt.Errorf("that a chat has moved could not be noted: %w", err)
		}
	}
	m.to = next
	return true, nil
}

// now is the number that a chat has today.
func (m *moves) now(id int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if to, ok := m.to[id]; ok {
		return to
	}
	return id
}

// before is the number that a chat had, 0 if it is its first.
func (m *moves) before(id int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for from, to := range m.to {
		if to == id {
			return from
		}
	}
	return 0
}

// learn notes of an update that a chat has moved. Both the old chat and the new one
// get a message about it.
func (c *Channel) learn(ctx context.Context, u update) error {
	m := u.Message
	if m == nil {
		return nil
	}
	switch {
	case m.MovedTo != 0:
		return c.moved(ctx, m.Chat.ID, m.MovedTo)
	case m.MovedFrom != 0:
		return c.moved(ctx, m.MovedFrom, m.Chat.ID)
	}
	return nil
}

func (c *Channel) moved(ctx context.Context, from, to int64) error {
	fresh, err := c.moves.put(ctx, from, to)
	if fresh {
		c.opt.Log.Warn("a chat has another number now", "was", from, "is", to)
		c.opt.Moved(address(from, 0), address(to, 0))
	}
	return err
}

// known gives the address under which a chat has a group: its own, or the one that it
// had before it moved, if that alone is registered.
func (c *Channel) known(id int64, topic int) (int64, int) {
	if was := c.moves.before(id); was != 0 && !c.opt.Registered(address(id, 0)) && c.opt.Registered(address(was, 0)) {
		return was, topic
	}
	return id, topic
}
