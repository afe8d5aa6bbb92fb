package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nanoclaw/internal/chat"
)

// crowd is a store in memory whose jobs are single messages, as those of unequal
// rights are: a group with many keeps its oldest place in what Waiting gives.
type crowd struct {
	mu      sync.Mutex
	waiting []arrival
	serial  int
}

type arrival struct {
	group  chat.Group
	at     time.Time
	serial int
}

func (s *crowd) add(g chat.Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	s.waiting = append(s.waiting, arrival{group: g, at: time.Now(), serial: s.serial})
}

func (s *crowd) groups() (out []chat.Group) {
	for _, a := range s.waiting {
		if !slices.Contains(out, a.group) {
			out = append(out, a.group)
		}
	}
	return out
}

func (s *crowd) Waiting(context.Context) ([]chat.Group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups(), nil
}

func (s *crowd) Claim(_ context.Context, g chat.Group, run chat.RunID, at time.Time) (*Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.waiting, func(a arrival) bool { return a.group == g })
	if i < 0 {
		return nil, nil
	}
	a := s.waiting[i]
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return &Job{Run: run, Group: g, Claimed: a.at, Messages: []Message{{Row: int64(a.serial), Trigger: true}}}, nil
}

func (s *crowd) Opens(context.Context) (time.Time, error) { return time.Time{}, nil }

// However much one group has to do, no other waits longer than it takes to serve
// each group once, and within a group the order holds. Tasks and messages are both
// rows of the store, so there is nothing to tell apart.
func TestNobodyStarves(t *testing.T) {
	const groups, ceiling, run = 200, 4, time.Minute
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				store, served := &crowd{}, map[chat.Group]int{}
				var mu sync.Mutex
				var worst time.Duration
				last := map[chat.Group]int64{}
				q := New(store, ceiling, func(_ context.Context, j Job) {
					mu.Lock()
					if wait := time.Since(j.Claimed); j.Group != "flood" {
						worst = max(worst, wait)
					}
					if row := j.Last().Row; row < last[j.Group] {
						t.Errorf("group %s: message %d after %d", j.Group, row, last[j.Group])
					}
					last[j.Group] = j.Last().Row
					served[j.Group]++
					mu.Unlock()
					time.Sleep(run)
				}, quiet())
				for range 5000 {
					store.add("flood")
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { q.Run(ctx); close(done) }()
				synctest.Wait()
				const rounds = 3
				for range rounds {
					for _, n := range random.Perm(groups - 1) {
						store.add(chat.Group(fmt.Sprint("g", n)))
						q.Wake()
						time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
					}
					time.Sleep(groups / ceiling * run) // else a group has two waiting
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				mu.Lock()
				flood, quiet := served["flood"], len(served)-1
				mu.Unlock()
				// A place is free after a run at the latest, and each group goes once.
				if most := (groups/ceiling + 1) * run; worst > most || quiet != groups-1 {
					t.Errorf("%d of %d groups were served, the slowest after %v, more than %v", quiet, groups-1, worst, most)
				}
				if flood == 0 {
					t.Error("the group with much to do got nothing")
				}
				cancel()
				<-done
			})
		})
	}
}
