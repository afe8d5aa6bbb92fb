package chaostest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/store"
)

// AllFaults names what a host is met with beside kills. One more, full, is only for a
// folder that is a small disk.
func AllFaults() []string { return []string{"locked", "frozen", "clock"} }

// everyFault does what was asked for to one host, and kills it then.
func (c *campaign) everyFault(ctx context.Context) error {
	if len(c.Faults) == 0 {
		return nil
	}
	p, err := c.begin()
	if err != nil {
		return err
	}
	if err := p.awaitReady(slow); err != nil {
		return err
	}
	for _, name := range c.Faults {
		do := map[string]func(context.Context, *process) error{"locked": c.locked, "frozen": c.frozen, "clock": c.clockJumps, "full": c.full}[name]
		if do == nil {
			return fmt.Errorf("there is no fault %q: there are %v", name, AllFaults())
		}
		if err := do(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c.say("the host met %s and went on", name)
	}
	p.kill()
	c.count("")
	return nil
}

// goesOn waits until somebody is answered who wrote from now on.
func (c *campaign) goesOn(p *process) error {
	c.judge.mu.Lock()
	mark := c.judge.next["a"]
	c.judge.mu.Unlock()
	for until := time.Now().Add(slow); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		c.judge.mu.Lock()
		last := c.judge.last["a"]
		c.judge.mu.Unlock()
		if last > mark {
			return nil
		}
		select {
		case <-p.over:
			return fmt.Errorf("the daemon ended: %w", p.err)
		default:
		}
	}
	return fmt.Errorf("nobody is answered any more: %w", errSlow)
}

// walWriteLock is the byte of the file beside the store that SQLite locks for
// writing (sqlite.org/walformat.html, 2.3.3).
const walWriteLock = 120

// locked holds the store for longer than a write waits for it, as another program
// that opened the file would.
func (c *campaign) locked(_ context.Context, p *process) error {
	f, err := os.OpenFile(filepath.Join(c.paths.DataDir, store.FileName+"-shm"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() // gives the lock back
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: walWriteLock, Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLKW, &lock); err != nil {
		return err
	}
	time.Sleep(7 * time.Second) // a write waits for 5
	lock.Type = unix.F_UNLCK
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock); err != nil {
		return err
	}
	return c.goesOn(p)
}

// frozen stops the process for a while and lets it go on with what it held.
func (c *campaign) frozen(_ context.Context, p *process) error {
	p.signal(syscall.SIGSTOP)
	time.Sleep(2 * time.Second)
	p.signal(syscall.SIGCONT)
	return c.goesOn(p)
}

// clockJumps has the clock go two hours ahead, three back, and right again, while
// people write and are answered.
func (c *campaign) clockJumps(_ context.Context, p *process) error {
	for _, ahead := range []time.Duration{2 * time.Hour, -time.Hour, 0} {
		if err := c.setClock(ahead); err != nil {
			return err
		}
		if err := c.goesOn(p); err != nil {
			return fmt.Errorf("with the clock %v ahead: %w", ahead, err)
		}
	}
	return nil
}

// setClock sets how far the clock of each host is ahead.
func (c *campaign) setClock(ahead time.Duration) error {
	next := c.clock + ".next"
	if err := os.WriteFile(next, fmt.Appendf(nil, "%d", int(ahead.Seconds())), 0o600); err != nil {
		return err
	}
	return os.Rename(next, c.clock)
}

// full leaves no byte free on the disk of the installation, store and groups, for a
// while, and frees it again. Meanwhile nothing can be promised; what was, is kept.
func (c *campaign) full(_ context.Context, p *process) error {
	file := filepath.Join(c.dir, "full")
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	began := c.net.taken()
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		for err = nil; err == nil; { // what others free is taken too
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	c.say("the disk was full; %d messages were taken meanwhile", c.net.taken()-began)
	if err := os.Remove(file); err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	return c.goesOn(p)
}
