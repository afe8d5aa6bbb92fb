package webserve

import (
	"sync"
	"time"
)

// maxBuckets is how many names are counted at once; beyond it those that are full again
// are forgotten.
const maxBuckets = 1024

// Rate lets each name do so much and no more: Burst at once, and one again every Every.
// The zero value lets nothing. It counts in memory: what must hold over a restart is
// counted in the store (rates).
type Rate struct {
	Burst int
	Every time.Duration

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// Take says whether a name may do it now, or else for how long it has to wait.
func (r *Rate) Take(name string, now time.Time) (ok bool, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buckets == nil {
		r.buckets = map[string]bucket{}
	}
	b, known := r.buckets[name]
	if !known {
		if r.forget(now); len(r.buckets) >= maxBuckets {
			return false, r.Every
		}
		b = bucket{float64(r.Burst), now}
	}
	b = bucket{r.filled(b, now), now}
	if b.left < 1 {
		r.buckets[name] = b
		return false, time.Duration((1 - b.left) * float64(r.Every))
	}
	b.left--
	r.buckets[name] = b
	return true, 0
}

func (r *Rate) filled(b bucket, now time.Time) float64 {
	return min(float64(r.Burst), b.left+max(0, now.Sub(b.at).Seconds())/r.Every.Seconds())
}

// forget drops what says nothing any more, once there are many.
func (r *Rate) forget(now time.Time) {
	if len(r.buckets) < maxBuckets {
		return
	}
	for name, b := range r.buckets {
		if r.filled(b, now) >= float64(r.Burst) {
			delete(r.buckets, name)
		}
	}
}
