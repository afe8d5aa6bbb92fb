package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/beneath"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/delayed"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
)

// guard watches over the folders of one session: the owner's that it may write,
// where what runs code later is held or moved away, and the group's workspace,
// of which changes are only told.
type guard struct {
	d         *Daemon
	group     chat.Group
	lent      []*lent
	workspace string
	own       delayed.Scanned // of the workspace
	noted     bool            // the record is stored
}

// lent is a folder of the owner that the agent may write.
type lent struct {
	path   string // as the grant has it
	root   *os.File
	real   string
	before delayed.Scanned
	held   []delayed.Held
	stop   func() // ends the watch, once there is one
}

// maxHeld bounds the mounts of held parts in one session.
const maxHeld = 600

func (d *Daemon) recordsDir() string    { return filepath.Join(d.opt.Paths.DataDir, "delayed") }
func (d *Daemon) quarantineDir() string { return filepath.Join(d.opt.Paths.DataDir, "quarantine") }

// guard is runner's Options.Guard.
func (d *Daemon) guard(ctx context.Context, g grant.Grant) (grant.Grant, runner.Guard, error) {
	// What the host puts into a new workspace is no doing of the agent's.
	if _, err := os.Lstat(filepath.Join(d.machine.GroupDir(g.Group), "workspace")); errors.Is(err, fs.ErrNotExist) {
		if err := d.prepare(ctx, g.Group); err != nil {
			return g, nil, fmt.Errorf("making the folders of group %s: %w", g.Group, err)
		}
	}
	gd := &guard{d: d, group: g.Group}
	held, err := gd.look(g)
	if err != nil {
		gd.close()
		d.tellMount(ctx, g.Group, err)
		return g, nil, err
	}
	for _, m := range g.Mounts {
		if m.Target == grant.Workspace {
			gd.workspace = m.Source
		}
	}
	gd.own = gd.scanOwn()
	return held, gd, nil
}

// hold gives a grant with what would be held in it now, for showing it.
func (d *Daemon) hold(g grant.Grant) (grant.Grant, error) {
	gd := &guard{d: d, group: g.Group}
	defer gd.close()
	return gd.look(g)
}

// look searches the lent folders of a grant.
func (gd *guard) look(g grant.Grant) (grant.Grant, error) {
	count := 0
	for _, m := range g.Lent() {
		l, parts, err := gd.d.lookAt(m)
		if err != nil {
			return g, err
		}
		gd.lent = append(gd.lent, l)
		if count += len(parts); count > maxHeld {
			return g, refuseMount(m, fmt.Sprintf("it would take more than %d mounts to hold what runs code later there", maxHeld))
		}
		g = g.Hold(m.Target, l.before.Folder.Dev, l.before.Folder.Ino, parts)
	}
	return g, nil
}

func refuseMount(m grant.Mount, why string) *grant.Refusal {
	return &grant.Refusal{
		Rule: "mount.search", Text: fmt.Sprintf("%s cannot be given to an agent to write: %s", m.Source, why),
		Hint: "Mount a smaller folder, or this one read-only.",
	}
}

// lookAt searches one folder before a session. A search that cannot be finished
// refuses the session: what was not found would not be held.
func (d *Daemon) lookAt(m grant.Mount) (*lent, []grant.Part, error) {
	root, real, err := beneath.Root(m.Source)
	if err != nil {
		return nil, nil, refuseMount(m, err.Error())
	}
	l := &lent{path: m.Source, root: root, real: real}
	if no := d.machine.CheckLent(m, real); no != nil {
		root.Close()
		return nil, nil, no
	}
	l.before, err = delayed.Scan(root, real, delayed.Before)
	if err == nil && l.before.Short != "" {
		err = errors.New(l.before.Short)
	}
	if err == nil {
		l.held, err = l.before.Holds()
	}
	if err != nil {
		root.Close()
		return nil, nil, refuseMount(m, err.Error())
	}
	parts := make([]grant.Part, len(l.held))
	for i, h := range l.held {
		parts[i] = grant.Part{Path: h.Path, File: h.ID.Regular(), What: h.What, Dev: h.ID.Dev, Ino: h.ID.Ino}
	}
	return l, parts, nil
}

func (gd *guard) close() {
	for _, l := range gd.lent {
		if l.stop != nil {
			l.stop()
		}
		l.root.Close()
	}
	gd.lent = nil
}

// Begin implements runner.Guard.
func (gd *guard) Begin(ctx context.Context, c runner.Caller, end func(error)) error {
	if len(gd.lent) == 0 {
		return nil
	}
	r := delayed.Record{Source: gd.source(c, "")}
	for _, l := range gd.lent {
		r.Folders = append(r.Folders, delayed.Folder{Path: l.real, Before: l.before})
		if err := gd.d.tellOdd(ctx, c, l); err != nil {
			return err
		}
	}
	gd.noted = true
	if err := r.Save(gd.d.recordsDir()); err != nil {
		return fmt.Errorf("write down what the folders of the owner were like: %w", err)
	}
	var first sync.Once // of several folders
	for _, l := range gd.lent {
		var err error
		l.stop, err = delayed.Watch(l.root, l.held, func(h delayed.Held) {
			first.Do(func() {
				end(fmt.Errorf("ended at once: %s in %s was replaced on this machine while the agent worked, and could no longer be held read-only\nAsk again when you are done there", delayed.Plain(h.Path), delayed.Plain(filepath.Base(l.path))))
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (gd *guard) source(c runner.Caller, folder string) delayed.Source {
	return delayed.Source{Group: string(gd.group), Run: string(c.Run()), Session: string(c.Session), Folder: folder, At: time.Now()}
}

// tellOdd records files of a folder that reach elsewhere, and tells the owner
// once.
func (d *Daemon) tellOdd(ctx context.Context, c runner.Caller, l *lent) error {
	odd := l.before.Odd
	var lines []string
	add := func(n int, names []string, what string) {
		for _, name := range names {
			lines = append(lines, delayed.Plain(name)+what)
		}
		if n > len(names) {
			lines = append(lines, fmt.Sprintf("and %d more", n-len(names)))
		}
	}
	add(odd.Nlinked, odd.Linked, " (it has another name elsewhere: through this one the agent changes that one too)")
	add(odd.Nspecial, odd.Special, " (a socket, FIFO or device)")
	if len(lines) == 0 {
		return nil
	}
	text := fmt.Sprintf("%s, which the agent of %s may write, holds files that reach elsewhere:\n- %s", delayed.Plain(l.path), c.Group, strings.Join(lines, "\n- "))
	d.tellOwner(ctx, fmt.Sprintf("odd:%x", sha256.Sum256([]byte(text))), text)
	c.Log(d.log).Warn("a folder that an agent may write holds files that reach elsewhere", "folder", l.path, "linked", odd.Nlinked, "special", odd.Nspecial)
	return d.store.Record(ctx, audit.Entry{
		At: time.Now(), Kind: audit.DelayedOdd, Group: c.Group, Run: c.Run(), Session: c.Session,
		Data: audit.DelayedData{Folder: l.path, Odd: lines},
	})
}

// Check implements runner.Guard. The owner hears of it in their own chat; the
// chat of a run elsewhere, only that something was moved away.
func (gd *guard) Check(ctx context.Context, c runner.Caller, to chat.Address, over bool) (found []string, notice string) {
	var words []string
	asked := to == chat.Address{} // by the owner's command, which shows it
	say := func(key, text, elsewhere string) {
		if to != console.Address(chat.Main) {
			gd.d.tellOwner(ctx, key, text)
			if !asked {
				text = elsewhere
			}
		}
		if text != "" {
			words = append(words, text)
		}
	}
	for _, l := range gd.lent {
		lines, text := gd.d.clear(ctx, gd.source(c, l.real), l)
		found = append(found, lines...)
		if text != "" {
			say(fmt.Sprintf("delayed:%s:%s", c.Session, l.real), text, fmt.Sprintf(
				"The agent left files in %s that would run code on the owner's machine later. They were moved away or are under review; the owner was told.", filepath.Base(l.real)))
		}
	}
	own := gd.changedOwn()
	if len(own) > 0 && !asked {
		say(fmt.Sprintf("workspace:%s:%s", c.Session, c.Run()), fmt.Sprintf("The agent of %s changed files in its workspace that run code where they are used: %s",
			gd.group, strings.Join(delayed.List(own), ", ")), "")
	}
	if over {
		gd.forget(c)
	}
	return delayed.List(append(found, own...)), strings.Join(words, "\n")
}

// forget removes what is kept of a session that is over and compared.
func (gd *guard) forget(c runner.Caller) {
	gd.close()
	if !gd.noted {
		return
	}
	if err := delayed.Forget(gd.d.recordsDir(), string(c.Session)); err != nil {
		c.Log(gd.d.log).Error("the record of a session's folders could not be removed; they are compared again at the next start", "err", err)
	}
}

// scanOwn searches the workspace. It may not exist yet.
func (gd *guard) scanOwn() delayed.Scanned {
	root, real, err := beneath.Root(gd.workspace)
	if err != nil {
		return delayed.Scanned{}
	}
	defer root.Close()
	s, err := delayed.Scan(root, real, delayed.Workspace)
	if err != nil {
		return delayed.Scanned{Short: err.Error()}
	}
	return s
}

// changedOwn says what is new or changed in the workspace since the last look.
func (gd *guard) changedOwn() []string {
	now := gd.scanOwn()
	out := delayed.Changed(gd.own, now)
	if gd.own.Short == "" && now.Short != "" {
		out = append(out, "and maybe more: "+now.Short)
	}
	gd.own = now
	return out
}
