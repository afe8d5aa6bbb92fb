package boundary

import (
	"fmt"
	"os"
	"sync"
	"syscall"
)

// sweeper is a process that waits until we are gone, and then takes away the
// cgroups that we could not: see nanoclaw-init. It makes an end by kill -9
// complete. Whoever kills it as well leaves them to the next start.
type sweeper struct {
	once sync.Once
	pipe *os.File // its end is what the process waits for
	err  error
}

// start starts the process, if it was not. It is waited for: from then on there
// is no moment at which a cgroup could be left.
func (s *sweeper) start(program *os.File, c *cgroups) error {
	s.once.Do(func() { s.pipe, s.err = startSweeper(program, c) })
	return s.err
}

func startSweeper(program *os.File, c *cgroups) (*os.File, error) {
	stdin, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	argv := append([]string{"nanoclaw-init", "sweep", c.prefix}, c.bases()...)
	p, err := os.StartProcess("/proc/self/fd/3", argv, &os.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=1"}, Files: []*os.File{stdin, null, null, program},
		Sys: &syscall.SysProcAttr{Setsid: true}, // a terminal's ^C is not for it
	})
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("start what removes cgroups after us: %w", err)
	}
	go p.Wait()
	return ours, nil
}
