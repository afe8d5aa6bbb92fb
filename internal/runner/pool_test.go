package runner

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
)

// ended notes which sessions a pool ended, and why.
type ended struct {
	mu  sync.Mutex
	all []string
}

func (e *ended) end(s *session, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, string(s.grant.Group)+": "+why)
}

func (e *ended) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.all
	e.all = nil
	slices.Sort(out)
	return out
}

func of(g chat.Group) *session { return &session{grant: grant.Grant{Group: g}} }

// Every way out of the pool, and each session once.
func TestPool(t *testing.T) {
	const crowded = "its place was needed (limits.warmSessions)"
	const idle = "nobody wrote for 10m0s (limits.idleTime)"
	tests := []struct {
		name string
		most int
		do   func(p *pool)
		want []string // ended, in the order of their names
		left int
	}{
		{"a run takes its group's", 2, func(p *pool) {
			a := of("a")
			p.put(a, 10*time.Minute)
			if p.take("b") != nil || p.take("a") != a || p.take("a") != nil {
				t.Error("took another one")
			}
			time.Sleep(time.Hour) // its idle time is over with it
		}, nil, 0},
		{"idle time", 2, func(p *pool) {
			p.put(of("a"), 10*time.Minute)
			p.put(of("b"), 0)
			time.Sleep(time.Hour)
		}, []string{"a: " + idle}, 1},
		{"idle time begins anew", 2, func(p *pool) {
			a := of("a")
			p.put(a, 10*time.Minute)
			time.Sleep(9 * time.Minute)
			p.put(p.take("a"), 10*time.Minute)
			time.Sleep(9 * time.Minute)
		}, nil, 1},
		{"too many: who waited longest goes", 2, func(p *pool) {
			for _, g := range []chat.Group{"a", "b", "c"} {
				p.put(of(g), time.Hour)
				time.Sleep(time.Second)
			}
			p.put(p.take("b"), time.Hour) // not b: it waits anew
			p.put(of("d"), time.Hour)
		}, []string{"a: " + crowded, "c: " + crowded}, 2},
		{"none may wait", 0, func(p *pool) { p.put(of("a"), time.Hour) }, []string{"a: " + crowded}, 0},
		{"a group's own is spared", 2, func(p *pool) {
			p.put(of("a"), time.Hour)
			if p.evict("a", "x") {
				t.Error("evicted")
			}
			time.Sleep(time.Second)
			p.put(of("b"), time.Hour)
			if !p.evict("a", "x") || !p.evict("b", "y") || p.evict("", "z") {
				t.Error("not evicted")
			}
		}, []string{"a: y", "b: x"}, 0},
		{"a newer one of the group", 2, func(p *pool) {
			p.put(of("a"), time.Hour)
			p.put(of("a"), time.Hour)
		}, []string{"a: a newer session of the group took its place"}, 1},
		{"its own end", 2, func(p *pool) {
			a, b := of("a"), of("b")
			p.put(a, time.Hour)
			p.died(a)
			p.died(a)
			p.died(b)
		}, []string{"a: "}, 0},
		{"the owner stops a group", 2, func(p *pool) {
			p.put(of("a"), time.Hour)
			p.put(of("b"), time.Hour)
			p.drain(func(s *session) bool { return s.grant.Group == "a" }, "stop")
		}, []string{"a: stop"}, 1},
		{"closed", 2, func(p *pool) {
			p.put(of("a"), time.Hour)
			p.close()
			p.put(of("b"), time.Hour)
		}, []string{"a: ", "b: "}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var e ended
				p := newPool(tt.most, e.end)
				tt.do(p)
				synctest.Wait()
				if d := cmp.Diff(tt.want, e.take()); d != "" {
					t.Errorf("ended (-want +got):\n%s", d)
				}
				if n := p.count(every); n != tt.left {
					t.Errorf("%d are left, want %d", n, tt.left)
				}
				p.close()
			})
		})
	}
}

// What is prepared pushes nobody out, and a run waits for the one of its group
// or, if it may touch other things, calls it off.
func TestPoolMaking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ended
		p := newPool(2, e.end)
		g := grant.Grant{Group: "a"}
		ctx, cancel := context.WithCancel(t.Context())
		m := p.begin(g, cancel)
		if m == nil || p.begin(g, cancel) != nil || p.room("a") {
			t.Fatal("one is prepared for a group at a time")
		}
		p.put(of("b"), 0)
		if p.room("c") || p.begin(grant.Grant{Group: "c"}, cancel) != nil {
			t.Error("one is prepared without a place for it")
		}
		settled := make(chan *session)
		run := func(want grant.Grant) {
			p.settle(t.Context(), "a", want)
			settled <- p.take("a")
		}
		go run(g)
		synctest.Wait()
		ready := of("a")
		p.put(ready, 0)
		p.finish(m)
		if got := <-settled; got != ready || ctx.Err() != nil {
			t.Errorf("the run took %v; called off: %v", got, ctx.Err())
		}
		m = p.begin(g, cancel)
		go run(grant.Grant{Group: "a", Agent: "other"})
		<-ctx.Done()
		p.finish(m)
		if got := <-settled; got != nil {
			t.Errorf("the run took %v", got)
		}
		p.settle(t.Context(), "a", g) // none: returns at once
		p.close()
		if p.begin(g, cancel) != nil {
			t.Error("one is prepared after the end")
		}
	})
}

// What comes to nothing is tried again after a pause, which grows.
func TestReadiness(t *testing.T) {
	r, now := newReadiness(), time.Now()
	pauses := func(n int, f func()) (out []time.Duration) {
		for range n {
			from := now
			for f(); !r.due("a", now); now = now.Add(time.Second) {
			}
			out = append(out, now.Sub(from))
		}
		return out
	}
	if !r.due("a", now) {
		t.Error("the first is not tried at once")
	}
	const m = time.Minute
	if d := cmp.Diff([]time.Duration{m, 2 * m, 4 * m, 8 * m, 16 * m, 32 * m, 60 * m, 60 * m}, pauses(8, func() { r.pause("a", now) })); d != "" {
		t.Errorf("failures (-want +got):\n%s", d)
	}
	r.used("a")
	if !r.due("a", now) {
		t.Error("after one was used the next is not tried at once")
	}
	if d := cmp.Diff([]time.Duration{m, 2 * m}, pauses(2, func() { r.lost("a", time.Second, now) })); d != "" {
		t.Errorf("ended soon (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]time.Duration{m, m}, pauses(2, func() { r.lost("a", time.Hour, now) })); d != "" {
		t.Errorf("ended late (-want +got):\n%s", d)
	}
	r.never("a")
	if r.due("a", now.Add(100*time.Hour)) || !r.due("b", now) {
		t.Error("never is for one group and for good")
	}
}
