package daemon

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/wire"
)

// boxed is a program that is no agent in a boundary of its own: what the host speaks
// with over the program's standard input and output.
type boxed struct {
	d     *Daemon
	group chat.Group // in whose name it is recorded
	id    chat.SessionID
	way   runner.Gateway
	box   *boundary.Session
	proc  *boundary.Process
	once  sync.Once

	mu    sync.Mutex
	cried []byte // the end of its standard error
}

// begin writes down that the boundary stands, of which data says whose it is, and
// starts the program in it.
func (p *boxed) begin(ctx context.Context, data audit.SessionStartedData, e wire.Exec) error {
	data.Engine, data.Layers, data.Missing, data.InitPID = p.box.Engine(), p.box.Layers(), p.box.Missing(), p.box.PID()
	data.Prepared, data.Attestation = p.box.Prepared(), p.box.Attestation()
	err := p.d.store.Record(ctx, audit.Entry{At: time.Now(), Kind: audit.SessionStarted, Group: p.group, Session: p.id, Data: data})
	if err != nil {
		return err
	}
	e.Stdio = wire.Pipes
	if p.proc, err = p.box.Exec(ctx, e); err != nil {
		return err
	}
	go p.listen(p.proc.Stderr)
	return nil
}

// environment is a grant's, with variables that are in no grant.
func environment(g grant.Grant, more map[string]string) (out []string) {
	for _, v := range g.Env {
		if _, replaced := more[v.Name]; !replaced {
			out = append(out, v.Name+"="+v.Value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		out = append(out, name+"="+more[name])
	}
	return out
}

// maxCried is how much of the end of a program's standard error is kept.
const maxCried = 1 << 10

// listen keeps the end of what a program says to nobody.
func (p *boxed) listen(from io.Reader) {
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		p.cried = append(p.cried, buf[:n]...)
		p.cried = p.cried[max(0, len(p.cried)-maxCried):]
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// lastWords is the end of what the program wrote to its standard error.
func (p *boxed) lastWords() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(p.cried), "?")), " ")
}

// Read takes the program's standard output.
func (p *boxed) Read(b []byte) (int, error) { return p.proc.Stdout.Read(b) }

// Write gives it to its standard input.
func (p *boxed) Write(b []byte) (int, error) { return p.proc.Stdin.Write(b) }

// end ends the program and everything in its boundary, once.
func (p *boxed) end(reason string) {
	p.once.Do(func() {
		if p.box != nil {
			p.box.Close()
			p.d.record(context.Background(), audit.Entry{At: time.Now(), Kind: audit.SessionEnded, Group: p.group, Session: p.id,
				Data: audit.SessionEndedData{Reason: reason}})
		}
		p.way.Close()
	})
}
