package external

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/chat"
)

// example is the adapter in docs/adapters.md, as it stands there.
func example(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../../docs/adapters.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(doc), "```python\n")
	code, _, ok := strings.Cut(code, "```")
	if !ok {
		t.Fatal("docs/adapters.md has no example")
	}
	file := filepath.Join(t.TempDir(), "box")
	if err := os.WriteFile(file, []byte(code), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// process is an adapter that runs without a boundary, for tests.
type process struct {
	io.Reader
	io.Writer
	cmd   *exec.Cmd
	pipes [2]io.Closer
	once  sync.Once
	cried bytes.Buffer
}

func (p *process) Close() error {
	p.once.Do(func() {
		p.cmd.Process.Kill()
		for _, c := range p.pipes {
			c.Close()
		}
		p.cmd.Wait()
	})
	return nil
}

func (p *process) LastWords() string {
	p.Close()
	return p.cried.String()
}

func run(home string, argv ...string) (*process, error) {
	p := &process{cmd: exec.Command(argv[0], argv[1:]...)}
	p.cmd.Env, p.cmd.Dir = append(os.Environ(), "HOME="+home), home
	p.cmd.Stderr = &p.cried
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.Reader, p.Writer, p.pipes = out, in, [2]io.Closer{in, out}
	return p, p.cmd.Start()
}

// quick is supervision that loses no time.
var quick = supervise.Options{First: time.Millisecond, Most: 5 * time.Millisecond}

// The adapter of the documentation is a channel like any other.
func TestExample(t *testing.T) {
	program := example(t)
	channeltest.Run(t, func(t *testing.T) channeltest.Network {
		home := t.TempDir()
		b := box{t, filepath.Join(home, "team"), new(atomic.Int64)}
		b.make()
		var mu sync.Mutex
		var last *process
		c := New(Options{ID: "box", Supervise: quick, Start: func(context.Context) (Program, error) {
			p, err := run(home, "python3", program)
			mu.Lock()
			defer mu.Unlock()
			last = p
			return p, err
		}})
		return channeltest.Network{
			Channel: c, Chat: chat.Address{Channel: "box", Chat: "team"},
			Say: b.say, Connect: b.connect,
			Cut: func() {
				mu.Lock()
				defer mu.Unlock()
				last.cmd.Process.Kill()
			},
		}
	})
}

// box is a chat of the example's network.
type box struct {
	t   *testing.T
	dir string
	n   *atomic.Int64
}

func (b box) make() {
	for _, name := range []string{"in", "out"} {
		if err := os.MkdirAll(filepath.Join(b.dir, name), 0o700); err != nil {
			b.t.Fatal(err)
		}
	}
}

// say puts a message there, and waits for what becomes of it.
func (b box) say(ctx context.Context, text string) error {
	file := filepath.Join(b.dir, "in", fmt.Sprintf("%06d-ann.msg", b.n.Add(1)))
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if _, err := os.Stat(file + ".stored"); err == nil {
			return nil
		}
		if _, err := os.Stat(file + ".refused"); err == nil {
			return errors.New("it was refused")
		}
		time.Sleep(5 * time.Millisecond)
	}
	return ctx.Err()
}

// connect makes the chat's folder, and takes what is put there.
func (b box) connect() (received func(context.Context) (string, error), disconnect func()) {
	b.make()
	out := filepath.Join(b.dir, "out")
	received = func(ctx context.Context) (string, error) {
		for ctx.Err() == nil {
			files, _ := filepath.Glob(filepath.Join(out, "*"))
			for _, f := range files {
				if strings.HasSuffix(f, ".tmp") {
					continue
				}
				data, err := os.ReadFile(f)
				if err == nil {
					return string(data), os.Remove(f)
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
		return "", ctx.Err()
	}
	return received, func() { os.RemoveAll(out) }
}
