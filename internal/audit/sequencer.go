package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"nanoclaw/internal/steps"
)

const (
	// gather is how long the sequencer waits after the first word of a new row,
	// so that a burst is signed once. With the pass itself it stays well within
	// the 200 ms that the design promises.
	gather = 50 * time.Millisecond
	// again is the wait after a failed pass.
	again = 200 * time.Millisecond
	// batchRows bounds the memory of one pass.
	batchRows = 1024
	// lastPass bounds the pass that is made after the daemon was told to stop.
	lastPass = 5 * time.Second
)

// ErrTampered is returned by the sequencer if what is stored is not what it
// signed. It then signs nothing more.
var ErrTampered = errors.New("the stored audit log is not the one that was signed")

// Sequencer appends committed rows to the log and signs checkpoints. There is
// one for a store; Append's comparison of the head keeps a second from harm.
type Sequencer struct {
	storage Storage
	key     *Key
	log     *slog.Logger
	kick    chan struct{}
	passing sync.Mutex // held during a pass: who exports asks for one beside Run's
}

// NewSequencer makes a sequencer; Run drives it.
func NewSequencer(s Storage, key *Key, log *slog.Logger) *Sequencer {
	return &Sequencer{storage: s, key: key, log: log, kick: make(chan struct{}, 1)}
}

// Kick says that a row was committed. It never blocks.
func (s *Sequencer) Kick() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Run sequences what is committed until ctx ends, and once more then. It does
// nothing while nothing is committed: each commit kicks it.
func (s *Sequencer) Run(ctx context.Context) {
	s.Kick() // rows that an earlier process left
	said := ""
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPass)
			defer cancel()
			if _, err := s.Sequence(last); err != nil {
				s.log.Error("audit: the last entries are not sequenced; the next start does it", "err", err)
			}
			return
		case <-s.kick:
		}
		sleep(ctx, gather)
		if ctx.Err() != nil {
			continue
		}
		_, err := s.Sequence(ctx)
		if err == nil {
			said = ""
			continue
		}
		if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			s.log.Error("audit: entries are stored but cannot be sequenced and signed; run nanoclaw audit verify", "err", err)
		}
		sleep(ctx, again)
		s.Kick()
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Sequence makes one pass: it appends every committed row and signs. It gives
// the number of rows appended. In one process passes wait for each other.
//
// Ids of rolled-back transactions leave holes; they mean nothing here, since a
// place in the log is counted by committed rows. A row cannot appear below the
// head later, because the store has one writer: who takes an id commits before
// the next one is taken. One that does appear was put there by other means, and
// Verify names it.
func (s *Sequencer) Sequence(ctx context.Context) (int, error) {
	s.passing.Lock()
	defer s.passing.Unlock()
	total := 0
	for {
		n, err := s.pass(ctx)
		total += n
		if err != nil || n < batchRows {
			return total, err
		}
	}
}

func (s *Sequencer) pass(ctx context.Context) (int, error) {
	head, err := s.storage.Head(ctx)
	if err != nil {
		return 0, err
	}
	var rows []Row
	for r, err := range s.storage.Rows(ctx, Filter{After: head.LastID, Limit: batchRows}) {
		if err != nil {
			return 0, err
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return 0, nil
	}
	// Never sign on top of something else than what was signed before.
	tree, err := s.openTree(ctx, head)
	if err != nil {
		return 0, err
	}
	b := Batch{Head: Head{Size: head.Size, LastID: head.LastID}}
	for _, r := range rows {
		b.IDs = append(b.IDs, r.ID)
		b.Hashes = append(b.Hashes, tree.append(r.leafHash())...)
		b.Head.Size, b.Head.LastID = b.Head.Size+1, r.ID
	}
	c := Checkpoint{Origin: s.key.Verifier.Name(), Size: b.Head.Size, Root: tree.root()}
	if b.Head.Checkpoint, err = c.sign(s.key.signer); err != nil {
		return 0, fmt.Errorf("sign the checkpoint: %w", err)
	}
	steps.Before(steps.Sequence)
	err = s.storage.Append(ctx, head, b)
	steps.After(steps.Sequence)
	if err != nil {
		return 0, err
	}
	return len(rows), nil
}

// openTree loads the right edge of the stored tree and checks it against the
// signed checkpoint.
func (s *Sequencer) openTree(ctx context.Context, head Head) (*tree, error) {
	t := newTree()
	if head.Size == 0 && len(head.Checkpoint) == 0 {
		return t, nil
	}
	c, err := OpenCheckpoint(head.Checkpoint, s.key.Verifier)
	if err != nil {
		return nil, fmt.Errorf("%w: %w: put the %s back that signed it", ErrTampered, err, KeyFile)
	}
	if err := t.load(head.Size, func(ix []int64) ([]tlog.Hash, error) { return s.storage.ReadHashes(ctx, ix) }); err != nil {
		return nil, err
	}
	if c.Size != head.Size || c.Root != t.root() {
		return nil, ErrTampered
	}
	return t, nil
}
