package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runlog"
)

// runLogs writes the files of runs, one after the other and behind the runs: no
// run waits for its file.
type runLogs struct {
	d *Daemon

	mu      sync.Mutex
	waiting []loggedRun
	busy    bool
	more    chan struct{} // wakes write; holds one
	written sync.WaitGroup

	// files is held from when a run is taken until its file is written, and before mu.
	files sync.Mutex
	// profiles are what was rendered last for a group.
	profiles map[chat.Group]profile
	// folders are those of the groups that had a run.
	folders map[chat.Group]*runlog.Folder
}

type loggedRun struct {
	header runlog.Header
	grant  grant.Grant
	due    time.Time
}

// begunAfter is how long the file of a run that has begun waits for its end, so that
// most are written once.
const begunAfter = 250 * time.Millisecond

// profile is the hash of what an engine makes of a grant.
type profile struct {
	engine string
	grant  grant.Grant
	hash   string
}

// dir is where the files of a group lie: beside its workspace and its home, in a
// folder that is mounted nowhere.
func (l *runLogs) dir(g chat.Group) string { return filepath.Join(l.d.machine.GroupDir(g), "logs") }

func (l *runLogs) limits() runlog.Limits {
	c := l.d.config.RunLogs
	return runlog.Limits{Keep: time.Duration(c.Keep), Files: c.Files, Size: int64(c.Size)}
}

// add has a file written, in place of what was there of the run.
func (l *runLogs) add(h runlog.Header, g grant.Grant) {
	next := loggedRun{h, g, time.Now()}
	if h.Ended.IsZero() {
		next.due = next.due.Add(begunAfter)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.IndexFunc(l.waiting, func(w loggedRun) bool { return w.header.Run == h.Run }); i >= 0 {
		l.waiting[i] = next
	} else {
		l.waiting = append(l.waiting, next)
	}
	if !l.busy {
		l.busy, l.more = true, make(chan struct{}, 1)
		l.written.Go(l.write)
		return
	}
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// write writes what waits, each when it is due.
func (l *runLogs) write() {
	for {
		wait, ok := l.writeNext()
		if !ok {
			return
		}
		if wait <= 0 {
			continue
		}
		select {
		case <-time.After(wait):
		case <-l.more:
		}
	}
}

// writeNext writes a file that is due, or says how long the next one waits. It is not
// ok when there is none.
func (l *runLogs) writeNext() (wait time.Duration, ok bool) {
	l.files.Lock()
	defer l.files.Unlock()
	next, wait, ok := l.take()
	if !ok || wait > 0 {
		return wait, ok
	}
	next.header.Profile = l.profile(next)
	if err := l.folder(next.header.Group).Write(next.header, l.limits()); err != nil {
		l.d.log.Error("the file of a run could not be written", "run", next.header.Run, "err", err)
	}
	return 0, true
}

// take gives what is due first, or how long that waits. It is not ok, and write not
// busy any more, when nothing is left.
func (l *runLogs) take() (next loggedRun, wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.busy = false
		return loggedRun{}, 0, false
	}
	first := 0
	for i, w := range l.waiting {
		if w.due.Before(l.waiting[first].due) {
			first = i
		}
	}
	if wait := time.Until(l.waiting[first].due); wait > 0 {
		return loggedRun{}, wait, true
	}
	next = l.waiting[first]
	l.waiting = slices.Delete(l.waiting, first, first+1)
	return next, 0, true
}

// folder is where the files of a group go. Only write and forget call it.
func (l *runLogs) folder(g chat.Group) *runlog.Folder {
	f := l.folders[g]
	if f == nil {
		f = runlog.NewFolder(l.dir(g))
		if l.folders == nil {
			l.folders = map[chat.Group]*runlog.Folder{}
		}
		l.folders[g] = f
	}
	return f
}

// profile is the hash of what "policy show --render" prints for the grant. Only
// write calls it.
func (l *runLogs) profile(r loggedRun) string {
	g, engine := r.grant, r.header.Engine
	if p, ok := l.profiles[g.Group]; ok && p.engine == engine && reflect.DeepEqual(p.grant, g) {
		return p.hash
	}
	text, err := l.d.rendered(context.Background(), engine, g)
	if err != nil {
		return "not known: " + err.Error()
	}
	p := profile{engine, g, fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))}
	if l.profiles == nil {
		l.profiles = map[chat.Group]profile{}
	}
	l.profiles[g.Group] = p
	return p.hash
}

// rendered is what an engine makes of a grant, in words.
func (d *Daemon) rendered(ctx context.Context, engine string, g grant.Grant) (string, error) {
	m, err := d.engineFor(ctx, engine, g.Mode)
	if err != nil {
		return "", err
	}
	e, err := m.open()
	if err != nil {
		return "", err
	}
	uid, err := d.uid(ctx, g.Group)
	if err != nil {
		return "", err
	}
	r, err := e.Render(boundary.Spec{Grant: g, UID: uid, LandlockFloor: d.config.Boundary.LandlockFloor, Files: egress.PreviewFiles(g.Egress)})
	if err != nil {
		return "", err
	}
	return r.String(), nil
}

// forget removes the files of a group that hold words of people or agents, and
// the words from those that are still to be written.
func (l *runLogs) forget(g chat.Group) error {
	l.files.Lock()
	defer l.files.Unlock()
	l.mu.Lock()
	for i := range l.waiting {
		if h := &l.waiting[i].header; h.Group == g {
			h.Prompt, h.Answer = "", ""
		}
	}
	l.mu.Unlock()
	delete(l.folders, g) // it is looked at anew
	return runlog.Forget(l.dir(g))
}

// maxLogs bounds a list of files.
const maxLogs = 1000

// Logs lists the files of runs, or gives that of one.
func (d *Daemon) Logs(ctx context.Context, q control.LogsQuery) ([]control.RunLog, error) {
	if q.Run != "" {
		return d.logOf(ctx, q.Run)
	}
	groups := d.groupNames()
	if q.Group != "" {
		if err := d.known(q.Group); err != nil {
			return nil, err
		}
		groups = []chat.Group{q.Group}
	}
	most := q.Limit
	if most <= 0 || most > maxLogs {
		most = maxLogs
	}
	out := []control.RunLog{}
	for _, g := range groups {
		dir := d.runLogs.dir(g)
		briefs, err := runlog.List(dir, most)
		if err != nil {
			return nil, err
		}
		for _, b := range briefs {
			out = append(out, control.RunLog{
				Run: b.Run, Group: g, File: filepath.Join(dir, b.Name), Size: b.Size, Engine: b.Fields["engine"],
				Mode: firstWord(b.Fields["mode"]), Started: b.Fields["started"], Took: b.Fields["duration"], Exit: b.Fields["exit"],
			})
		}
	}
	slices.SortStableFunc(out, func(a, b control.RunLog) int { return strings.Compare(b.Started, a.Started) })
	return out[:min(most, len(out))], nil
}

func firstWord(s string) string {
	w, _, _ := strings.Cut(s, " ")
	return w
}

// logOf gives the file of a run with its text.
func (d *Daemon) logOf(ctx context.Context, run chat.RunID) ([]control.RunLog, error) {
	info, err := d.RunByID(ctx, run)
	if err != nil {
		return nil, err
	}
	dir := d.runLogs.dir(info.Group)
	name, text, err := runlog.Find(dir, run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("there is no file of run %s", run),
			Hint: "a run that was refused has none, and old ones are removed (runLogs in the configuration); nanoclaw why tells what the record has"}
	}
	if err != nil {
		return nil, err
	}
	return []control.RunLog{{Run: run, Group: info.Group, Mode: info.Mode, File: filepath.Join(dir, name), Size: int64(len(text)), Text: text}}, nil
}
