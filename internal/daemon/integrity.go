package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/config"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/filewatch"
	"nanoclaw/internal/runner"
)

// The files that are policy lie outside every grant (grant.Machine.Private). They
// are compared with what they were before each run, and when something happens to
// one of them. A difference holds new runs, and the owner is told once what it
// means; putting the files back lets runs go on. Runs that go on keep what they
// were granted: nothing of a changed file is in use before a restart, or, for what
// touches no right, before the owner reloads it (I6).

// policyFile is one of them.
type policyFile struct {
	path string
	look func() (config.Fingerprint, error)
	was  config.Fingerprint
	// there says that it existed. Of one that did not nobody went by the content, so
	// that it appears is no change.
	there bool
	// rest says that its content may be reloaded.
	rest bool
	// counts says that its absence was policy too, and so was what could not be read
	// of it: unread says why, "" if it was read.
	counts bool
	unread string
}

// integrity is what the daemon knows of them.
type integrity struct {
	mu    sync.Mutex
	files []policyFile
	// accepted is the configuration that runs go by.
	accepted *accepted
	// held says what the owner was told last, and of how many differences; "" if
	// runs are not held.
	held  string
	holds int
	// told is the fingerprint of the configuration of which the owner was told.
	told string
	// unasked says why the start accepted nothing, "" if it did.
	unasked string

	// rest is what was reloaded; nil if nothing was.
	rest atomic.Pointer[rest]
}

// fingerprint takes the fingerprint of every file. print is that of the
// configuration and read has those of prompts, of the very bytes that are in use.
func (d *Daemon) fingerprint(print config.Fingerprint, read promptsRead) {
	p := d.opt.Paths
	private := func(path string) policyFile {
		f := policyFile{path: path, look: func() (config.Fingerprint, error) { return config.Look(path) }}
		var err error
		f.was, err = f.look()
		f.there = err == nil
		return f
	}
	files := []policyFile{private(p.Config), private(filepath.Join(p.DataDir, audit.KeyFile)), d.lending.file}
	files[0].was, files[0].there = print, true
	// What systemd hands over lies in a folder of its own, which nobody can write.
	if key := credential.New(p, d.opt.Getenv).KeyPlace(); within(key, p.KeyDir) {
		files = append(files, private(key))
	}
	for _, name := range slices.Sorted(maps.Keys(read.prints)) {
		files = append(files, policyFile{
			path: filepath.Join(p.ConfigDir, name), was: read.prints[name], there: true, rest: true,
			look: func() (config.Fingerprint, error) {
				_, print, err := config.ReadBeside(p.ConfigDir, name, maxPrompt)
				return print, err
			},
		})
	}
	d.policy.files = files
}

// differs says how a file is another than it was.
func (f policyFile) differs() error {
	now, err := f.look()
	switch {
	case !f.there && f.counts:
		return f.appeared(err)
	case !f.there:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is gone", f.path)
	case err != nil:
		return err
	}
	return f.was.Differs(f.path, now)
}

// appeared says how a file whose absence was policy is there now, or can be read.
func (f policyFile) appeared(err error) error {
	switch {
	case unread(err) == f.unread:
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%s was not in use at the start, and now it is there", f.path)
}

// unread is why a file cannot be read, in words that last.
func unread(err error) string {
	if err == nil {
		return "read"
	}
	return err.Error()
}

// differences looks at all files now. The caller holds policy.mu.
func (d *Daemon) differences() []string {
	var out []string
	for _, f := range d.policy.files {
		if err := f.differs(); err != nil {
			out = append(out, err.Error())
		}
	}
	return out
}

// policyError says what is not as it was, for who only asks.
func (d *Daemon) policyError() error {
	d.policy.mu.Lock()
	defer d.policy.mu.Unlock()
	if list := d.differences(); list != nil {
		return fmt.Errorf("%w: %s\nno new run starts until you restart nanoclaw, or put it back", config.ErrChanged, strings.Join(list, "; "))
	}
	return nil
}

// checkConfig holds new runs while a file of the policy is not what it was at start.
func (d *Daemon) checkConfig(ctx context.Context) error {
	d.policy.mu.Lock()
	defer d.policy.mu.Unlock()
	list := d.differences()
	state := strings.Join(list, "\n- ")
	if state == "" {
		state = d.policy.unasked
	}
	if state == "" {
		d.releaseRuns(ctx, "The configuration is as it was again, so runs go on.")
		return nil
	}
	if state != d.policy.held || d.contentMoved() {
		d.holdRuns(ctx, list, state)
	}
	return fmt.Errorf("%w: %s", runner.ErrHeld, d.queue.Held())
}

// contentMoved says that the configuration changed once more since the owner was
// told. The caller holds policy.mu.
func (d *Daemon) contentMoved() bool {
	f := &d.policy.files[0]
	now, err := f.look()
	moved := err == nil && now.String() != d.policy.told
	if moved {
		d.policy.told = now.String()
	}
	return moved
}

// holdRuns stops new runs and tells the owner what the change means. The caller holds
// policy.mu.
func (d *Daemon) holdRuns(ctx context.Context, list []string, state string) {
	d.policy.held = state
	d.policy.holds++
	d.contentMoved()
	reason, what, meaning := d.meaning(list, state)
	d.queue.Hold(reason + "\nnanoclaw config plan tells what the change means.")
	d.record(ctx, audit.Entry{At: time.Now(), Kind: audit.ConfigChanged, Data: audit.ConfigChangedData{
		Path: d.opt.Paths.Config, Was: d.policy.files[0].was.String(), Is: state, Plan: what,
	}})
	d.log.Error("new runs are held", "why", state)
	d.endSpares()
	d.runner.Nudge()
	d.changed.fire()
	d.tellOwner(ctx, d.policyKey(), strings.TrimSpace(reason+"\n"+meaning))
	d.outbox.Wake()
}

// meaning gives why runs are held, the plan as a value, and what the owner can do.
func (d *Daemon) meaning(list []string, state string) (reason string, value any, text string) {
	if list == nil {
		return state, nil, ""
	}
	reason = "The configuration changed while nanoclaw runs, so new runs wait:\n- " + state
	again := "Put it back, and runs go on. If it was you, restart nanoclaw to accept it."
	p, err := d.planNow()
	switch {
	case err != nil:
		return reason, nil, err.Error() + "\nMend it or put it back, and runs go on."
	case !p.None() && !p.Security && d.onlyRest():
		again = "Nothing of it touches security: nanoclaw config reload accepts it. Put back, runs go on too."
	}
	return reason, p, p.String() + again
}

// policyKey names one notice.
func (d *Daemon) policyKey() string {
	return fmt.Sprintf("config:%d:%d", d.started.UnixNano(), d.policy.holds)
}

// releaseRuns lets runs go on if they were held. The caller holds policy.mu.
func (d *Daemon) releaseRuns(ctx context.Context, text string) {
	if d.policy.held == "" {
		return
	}
	d.policy.held, d.policy.told = "", ""
	d.record(ctx, audit.Entry{At: time.Now(), Kind: audit.ConfigRestored, Data: audit.ConfigChangedData{
		Path: d.opt.Paths.Config, Was: d.policy.files[0].was.String(), Is: text,
	}})
	d.tellOwner(ctx, d.policyKey()+":over", text)
	d.queue.Release()
	d.outbox.Wake()
	d.runner.Nudge()
	d.changed.fire()
}

// How often files are looked at that nobody told of, where events are told and
// where not; and how long a file rests before it counts as written to its end, and
// how long that is waited for.
const (
	lookSeldom = 30 * time.Second
	lookOften  = 5 * time.Second
	settled    = 200 * time.Millisecond
	unsettled  = 2 * time.Second
)

// watchPolicy looks at the files until ctx ends.
func (d *Daemon) watchPolicy(ctx context.Context) {
	every, events := lookSeldom, (<-chan struct{})(nil)
	paths := d.policyPaths()
	w, err := filewatch.New(paths...)
	if err != nil {
		d.log.Info("changes of the configuration are found by looking", "every", lookOften, "because", err)
		every = lookOften
	} else {
		events = w.Events
		defer func() { w.Close() }()
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case _, ok := <-events:
			if !ok {
				events = nil
			}
			waitSettled(ctx, events)
		}
		if events != nil {
			if now := d.policyPaths(); !slices.Equal(now, paths) { // a reload named another prompt
				w.Close()
				paths = now
				w, err = filewatch.New(paths...)
			} else {
				err = w.Renew()
			}
			events = nil
			if err == nil {
				events = w.Events
			} else {
				tick.Reset(lookOften)
			}
		}
		if ctx.Err() == nil {
			d.checkConfig(ctx)
			d.watchInherited(ctx)
		}
	}
}

func (d *Daemon) policyPaths() []string {
	d.policy.mu.Lock()
	defer d.policy.mu.Unlock()
	paths := make([]string, len(d.policy.files))
	for i, f := range d.policy.files {
		paths[i] = f.path
	}
	return append(paths, d.inherited.paths()...)
}

// waitSettled waits until nothing happens any more, so that a file is looked at when
// somebody's editor is done with it.
func waitSettled(ctx context.Context, events <-chan struct{}) {
	latest := time.After(unsettled)
	for {
		select {
		case <-ctx.Done():
			return
		case <-latest:
			return
		case <-time.After(settled):
			return
		case _, ok := <-events:
			if !ok {
				return
			}
		}
	}
}
