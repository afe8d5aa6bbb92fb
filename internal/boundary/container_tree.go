//go:build linux || darwin

package boundary

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/wire"
)

// A container ends with its standard input: the init reads the wire's end and
// exits, the engine sees process 1 end and, asked for that with --rm, removes the
// container. So it ends as well when we are killed. What does not end so is killed
// by the engine, and at last removed by name.
const (
	killAfter   = 2 * time.Second  // after the end of its input
	removeAfter = 10 * time.Second // after that
)

// contained is a session's tree in a container: the engine's tool, which is our
// child and carries the wire, and the container.
type contained struct {
	engine *Container
	plan   *containerPlan
	cmd    *exec.Cmd
	wire   io.ReadWriteCloser
	log    *slog.Logger

	killing sync.Once
	exited  chan struct{} // the tool has ended
	done    chan struct{}
	said    chan struct{} // closed at the end of its standard error
	tail    []string      // the last lines of that; read them after said

	look sync.Once
	pid  int // of the init on this machine, as the engine says; 0 if it is not known
}

var _ tree = (*contained)(nil)

// spawn starts the tool with a container.
func (c *Container) spawn(p *containerPlan, spec Spec) (*contained, error) {
	in, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, its, err := os.Pipe()
	if err != nil {
		in.Close()
		ours.Close()
		return nil, err
	}
	t := &contained{
		engine: c, plan: p, cmd: c.cli.command(context.Background(), p.run.arguments(c.name)...),
		log: spec.Log, exited: make(chan struct{}), done: make(chan struct{}), said: make(chan struct{}),
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.cmd.Stdin, t.cmd.Stdout = in, its
	words, err := t.cmd.StderrPipe()
	if err == nil {
		err = t.cmd.Start()
	}
	in.Close()
	its.Close()
	if err != nil {
		ours.Close()
		out.Close()
		return nil, err
	}
	t.wire = wire.Duplex(out, ours)
	go t.listen(words)
	go t.wait()
	return t, nil
}

// keep and forget say which containers have a session.
func (c *Container) keep(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live[name] = true
}

func (c *Container) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.live, name)
}

// listen reads what the tool and the init say.
func (t *contained) listen(r io.Reader) {
	defer close(t.said)
	lines := bufio.NewScanner(io.LimitReader(r, maxStderr))
	for lines.Scan() {
		text := plain(lines.Text())
		if strings.TrimSpace(text) == "" {
			continue
		}
		t.tail = append(t.tail, text)
		t.tail = t.tail[max(len(t.tail)-8, 0):]
		t.log.Warn(t.engine.name+" says", "text", text)
	}
	io.Copy(io.Discard, r)
}

// wait waits for the end of the tool and of the container.
func (t *contained) wait() {
	defer close(t.done)
	<-t.said
	err := t.cmd.Wait()
	close(t.exited)
	if t.cmd.ProcessState.Exited() {
		t.plan.remove()
		t.engine.forget(t.plan.run.name)
		return // it has removed the container, or never made one
	}
	t.log.Warn("the container engine's tool was killed", "err", err)
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	if err := t.engine.cli.remove(ctx, t.plan.run.name); err != nil {
		t.log.Warn("a container could not be removed; the next look for orphans does it", "container", t.plan.run.name, "err", err)
	}
	t.plan.remove()
	t.engine.forget(t.plan.run.name)
}

// remove removes a container, whatever it does.
func (t *tool) remove(ctx context.Context, names ...string) error {
	args := []string{"rm", "--force"}
	if t.engine == PodmanEngine {
		args = append(args, "--time", "0", "--ignore", "--volumes")
	}
	_, err := t.run(ctx, append(args, names...)...)
	return err
}

// PID implements tree: that of the init where the engine says it, else of the tool.
func (t *contained) PID() int {
	if t.pid != 0 {
		return t.pid
	}
	return t.cmd.Process.Pid
}

// Container is its name in the engine.
func (t *contained) Container() string { return t.plan.run.name }

// Done implements tree.
func (t *contained) Done() <-chan struct{} { return t.done }

// Kill implements tree.
func (t *contained) Kill() {
	t.killing.Do(func() { go t.end() })
}

// end ends the container, and asks for it with more and more weight.
func (t *contained) end() {
	t.wire.Close()
	select {
	case <-t.exited:
		return
	case <-time.After(killAfter):
	}
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	_, err := t.engine.cli.run(ctx, "kill", "--signal", "KILL", t.plan.run.name)
	if err != nil {
		t.log.Info("a container that did not end with its input", "container", t.plan.run.name, "err", err)
	}
	select {
	case <-t.exited:
		return
	case <-time.After(removeAfter):
	}
	t.cmd.Process.Kill() // wait removes the container
}

// lastWords are the last lines of the tool, which has ended.
func (t *contained) lastWords() string {
	<-t.said
	return strings.Join(t.tail, "\n")
}
