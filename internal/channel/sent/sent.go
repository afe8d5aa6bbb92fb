// Package sent remembers which parts of a message went out, for networks on which a
// message becomes several. An attempt after a failure goes on where that stood.
//
// It is kept in memory, for the latest messages: what went out just before a crash is
// not known after it.
package sent

import "sync"

// most is how many messages are remembered.
const most = 256

// Messages are those that went out, by key. The zero value is ready.
type Messages struct {
	mu   sync.Mutex
	by   map[string]*Parts
	keys []string // the oldest first
}

// Parts are those of one message that the network took, with its ids of them.
type Parts struct {
	mu sync.Mutex
	id map[int]string
}

// Of gives the parts of the message with a key. One without a key is remembered by
// nobody.
func (s *Messages) Of(key string) *Parts {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.by[key]; p != nil {
		return p
	}
	p := &Parts{id: map[int]string{}}
	if key == "" {
		return p
	}
	if s.by == nil {
		s.by = map[string]*Parts{}
	}
	if len(s.keys) >= most {
		delete(s.by, s.keys[0])
		s.keys = s.keys[1:]
	}
	s.by[key], s.keys = p, append(s.keys, key)
	return p
}

// Once has a part sent, unless it was.
func (p *Parts) Once(part int, send func() (string, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.id[part]; ok {
		return nil
	}
	id, err := send()
	if err == nil {
		p.id[part] = id
	}
	return err
}

// First is the network's id of the first part.
func (p *Parts) First() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id[0]
}
