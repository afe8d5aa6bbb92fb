package chaostest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"nanoclaw/internal/config"
)

// Build builds the program as the Makefile does, with further tags, into dir.
// The inside of it has to be there already: make build.
func Build(ctx context.Context, root, dir string, tags ...string) (string, error) {
	out := filepath.Join(dir, "nanoclaw-"+strings.Join(tags, "-"))
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", strings.Join(tags, ","), "-o", out, "./cmd/nanoclaw")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program under test: %w\n%s", err, text)
	}
	return out, nil
}

// install is an installation of its own in a folder.
type install struct {
	dir     string
	program string
	env     []string // of every process
	paths   config.Paths
	log     *os.File // what every process said
}

// newInstall writes a configuration into dir, which has to have a short name: a
// socket lies in it.
func newInstall(dir, program, text string, env ...string) (*install, error) {
	i := &install{dir: dir, program: program}
	home := filepath.Join(dir, "owner")
	tmp := filepath.Join(dir, "tmp")
	vars := map[string]string{"TMPDIR": tmp, "PATH": "/usr/bin:/bin", "HOME": home, "NANOCLAW_HOME": filepath.Join(dir, "n"), "NO_COLOR": "1"}
	for k, v := range vars {
		i.env = append(i.env, k+"="+v)
	}
	i.env = append(i.env, env...)
	var err error
	if i.paths, err = config.Locate(config.Options{Getenv: func(k string) string { return vars[k] }, UID: os.Getuid()}); err != nil {
		return nil, err
	}
	if err := i.paths.EnsureDirs(); err != nil {
		return nil, err
	}
	for _, dir := range []string{home, tmp} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(i.paths.Config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	i.log, err = os.OpenFile(filepath.Join(dir, "host.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return i, err
}

// process is one daemon.
type process struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed once it is
	over  chan struct{} // closed when it ended
	err   error         // how, once over
}

// start starts the daemon with further environment.
func (i *install) start(env ...string) (*process, error) {
	return i.startAs(exec.Command(i.program, "run"), env...)
}

func (i *install) startAs(cmd *exec.Cmd, env ...string) (*process, error) {
	cmd.Env = append(append([]string{}, i.env...), env...)
	cmd.Stderr = i.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ready: make(chan struct{}), over: make(chan struct{})}
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		if strings.Contains(line, "ready") {
			close(p.ready)
		}
		_, _ = io.Copy(i.log, out)
		p.err = cmd.Wait()
		close(p.over)
	}()
	return p, nil
}

// errSlow says that something did not happen in time.
var errSlow = errors.New("it did not happen in time")

// awaitReady waits until the daemon is up.
func (p *process) awaitReady(within time.Duration) error {
	select {
	case <-p.ready:
		return nil
	case <-p.over:
		return fmt.Errorf("the daemon ended before it was ready: %w", p.err)
	case <-time.After(within):
		return fmt.Errorf("the daemon is not ready: %w", errSlow)
	}
}

// kill is kill -9 from outside.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.over
}

// stop asks it to end.
func (p *process) stop(within time.Duration) error {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.over:
		return p.err
	case <-time.After(within):
		p.kill()
		return fmt.Errorf("the daemon did not stop: %w", errSlow)
	}
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// killed says that it was ended by SIGKILL.
func (p *process) killed() bool { return killedBy(p.err) }

func killedBy(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	st, ok := exit.Sys().(syscall.WaitStatus)
	return ok && st.Signaled() && st.Signal() == syscall.SIGKILL
}

// command runs another command of the program.
func (i *install) command(ctx context.Context, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, i.program, args...)
	cmd.Env = append(append([]string{}, i.env...), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
