package attack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/attack/inside"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/privilege"
	"nanoclaw/internal/wire"
)

// patience bounds each session of a run. One takes a second or two.
const patience = 60 * time.Second

// Run tries the catalogue on one engine. An error means that it could not be
// tried at all.
func Run(ctx context.Context, o Options) (Report, error) {
	report := Report{Engine: o.Engine.Name(), User: "user"}
	if privilege.Held() {
		report.User = "root"
	}
	dir, err := os.MkdirTemp("", "nanoclaw-attack-")
	if err != nil {
		return report, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return report, err
	}
	r := &run{Options: o, found: make(map[string][]finding), results: make(map[string][]result)}
	r.planted, err = Plant(PlantOptions{Dir: dir, Program: o.Program, UID: o.UID, Session: true})
	if err != nil {
		return report, err
	}
	defer r.planted.Remove()
	if r.network, err = newNetwork(r.planted.Task.Secret); err != nil {
		return report, err
	}
	defer r.network.close()
	for _, kind := range []session{ordinary, noHosts, rough, fatal, hungry, filling} {
		if err := r.session(ctx, kind); err != nil {
			return report, err
		}
	}
	kinds := r.kinds(ctx, report.User)
	if slices.Contains(kinds, boundary.GVisor) {
		report.Engine += " on " + boundary.GVisor
	}
	for _, l := range r.lines(Catalogue()) {
		report.Outcomes = append(report.Outcomes, judge(l, kinds, r.results[l.ID], r.found[l.ID]))
	}
	report.Missing = r.missing
	return report, nil
}

// run is one run of the catalogue.
type run struct {
	Options
	planted *Planted
	network *network
	results map[string][]result  // by line
	found   map[string][]finding // by line
	missing []string
}

// lines leaves those that were asked for.
func (r *run) lines(all []Line) []Line {
	if len(r.Lines) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(l Line) bool { return !slices.Contains(r.Lines, l.ID) })
}

// session tries the lines of one session, and looks at the host.
func (r *run) session(ctx context.Context, kind session) error {
	lines := slices.DeleteFunc(r.lines(Catalogue()), func(l Line) bool { return l.session != kind })
	if !slices.ContainsFunc(lines, Line.tried) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	granted := hosts()
	if kind == noHosts {
		granted = nil
	}
	gateway := r.network.gateway(granted)
	defer gateway.Close()
	g, lent, err := lend(r.shape(kind, granted), project, r.planted.path(projectDir))
	if err != nil {
		return fmt.Errorf("look at the lent folder: %w", err)
	}
	defer lent.close()
	s, err := r.Engine.Start(ctx, r.spec(g, gateway))
	if err != nil {
		return err
	}
	defer s.Close()
	r.missing = s.Missing()
	found, err := r.within(ctx, s, kind, lines)
	if err != nil {
		return err
	}
	ended, err := r.end(s, kind)
	if err != nil {
		return err
	}
	told, err := lent.clear(r.planted.path(projectDir), r.planted.path(quarantineDir))
	if err != nil {
		return fmt.Errorf("clear the lent folder: %w", err)
	}
	r.judgeLeft(told)
	gateway.Close() // and every refusal is recorded
	r.note(lines, slices.Concat(found, ended, r.planted.appeared(), r.planted.changed(), r.network.unheard(lines)))
	return nil
}

func (r *run) spec(g grant.Grant, gateway *egress.Gateway) boundary.Spec {
	return boundary.Spec{
		Grant: g, UID: r.UID, LandlockFloor: r.LandlockFloor, Log: r.Log,
		Serve: func(kind wire.Kind, conn net.Conn) {
			if kind == wire.Proxy {
				gateway.Serve(kind, conn)
			}
		},
	}
}

// within attacks from within a session that has begun. What it finds are files
// that appeared without an attack, a limit that did not end the session, and that
// the attacker did not come to its end.
func (r *run) within(ctx context.Context, s *boundary.Session, kind session, lines []Line) ([]finding, error) {
	if err := r.planted.After(); err != nil {
		return nil, err
	}
	found := r.planted.appeared()
	attackErr := r.attack(ctx, s, kind, lines)
	switch {
	case kind.ends() && s.Exceeded() == nil:
		found = append(found, finding{what: limit, detail: "the session goes on"})
	case kind == fatal && r.killed(s, lines[0].ID):
	case !kind.ends() && attackErr != nil:
		found = append(found, finding{what: "the attacker", line: lines[0].ID, detail: attackErr.Error()})
	}
	var err error
	r.planted.made, err = r.planted.lent()
	return found, err
}

func (r *run) note(lines []Line, found []finding) {
	for _, l := range lines {
		for _, f := range found {
			if f.concerns(l) {
				r.found[l.ID] = append(r.found[l.ID], f)
			}
		}
	}
}

// end ends a session: the rough one as a crash would, by killing its first
// process.
func (r *run) end(s *boundary.Session, kind session) ([]finding, error) {
	all, err := tree(s.PID())
	if err != nil {
		return nil, fmt.Errorf("list the session's processes: %w", err)
	}
	defer closeTree(all)
	r.note(r.lines(Catalogue()), roots(all)) // whatever session K-16 is tried in
	if kind != rough || unix.Kill(s.PID(), unix.SIGKILL) != nil {
		s.Close()
	}
	found := outlived(all)
	s.Close()
	return found, nil
}

// limits of the sessions. The attacks are made to pass them.
func limits(kind session) grant.Limits {
	l := grant.Limits{
		RunTime: time.Hour, IdleTime: time.Hour, Output: 1 << 20,
		Memory: 512 << 20, Processes: 128, OpenFiles: 256, FileSize: 16 << 20, TmpSize: 32 << 20,
	}
	switch kind {
	case hungry:
		l.Memory = 128 << 20
	case filling:
		l.Disk = 48 << 20
	}
	return l
}

// Where things are, inside.
const (
	program = "/opt/nanoclaw-attack" // the attacker
	project = grant.Extra + "/project"
)

// shape makes the grant of a session: the given one, with planted folders in
// place of those of the owner.
func (r *run) shape(kind session, granted []grant.Host) grant.Grant {
	g, p := r.Grant, r.planted
	g.Mounts = slices.DeleteFunc(slices.Clone(g.Mounts), func(m grant.Mount) bool {
		return m.Target == grant.Workspace || m.Target == grant.Home || m.Target == grant.Global || strings.HasPrefix(m.Target, grant.Extra+"/")
	})
	const reason = "for the attacks"
	g.Mounts = append(g.Mounts,
		grant.Mount{Target: grant.Workspace, Source: p.path("work/workspace"), Write: true, Exec: true, Reason: reason},
		grant.Mount{Target: grant.Home, Source: p.path("work/home"), Write: true, Exec: true, Reason: reason},
		grant.Mount{Target: project, Source: p.path(projectDir), Write: true, Exec: true, Foreign: true, Reason: reason},
		grant.Mount{Target: grant.Extra + "/sealed", Source: p.path(sealedDir), Exec: true, Foreign: true, Reason: reason},
		grant.Mount{Target: program, Source: r.Program, Exec: true, File: true, Reason: reason},
	)
	g.Egress = granted
	g.Endpoints = []grant.Endpoint{{Name: string(wire.Proxy), Port: grant.ProxyPort, Reason: reason}}
	g.Limits = limits(kind)
	return g
}

// task is what was planted, as it is found inside.
func (r *run) task(kind session, lines []Line) inside.Task {
	t := r.planted.Task
	for _, l := range lines {
		t.Lines = append(t.Lines, l.ID)
	}
	if !r.rootless {
		t.Workspace, t.Project, t.Sealed = grant.Workspace, project, grant.Extra+"/sealed"
	}
	t.Mount, t.Mask = t.Sealed, "/tmp"
	l := limits(kind)
	t.Processes, t.OpenFiles, t.FileSize, t.TmpSize, t.Memory, t.Disk = l.Processes, l.OpenFiles, l.FileSize, l.TmpSize, l.Memory, l.Disk
	return t
}

// attack runs the attacker inside and takes its results.
func (r *run) attack(ctx context.Context, s *boundary.Session, kind session, lines []Line) error {
	outside, err := inside.Outside()
	if err != nil {
		return err
	}
	task, err := json.Marshal(r.task(kind, lines))
	if err != nil {
		return err
	}
	e := wire.Exec{Argv: []string{program, inside.Verb}, Env: []string{outside}, Dir: grant.Workspace}
	if r.rootless {
		e.Argv[0], e.Dir = r.Program, r.planted.Task.Workspace
	}
	for _, v := range r.Grant.Env {
		e.Env = append(e.Env, v.Name+"="+v.Value)
	}
	p, err := s.Exec(ctx, e)
	if err != nil {
		return fmt.Errorf("start the attacker: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	go func() {
		p.Stdin.Write(task)
		p.Stdin.Close()
	}()
	said := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(p.Stderr, 4<<10))
		said <- string(b)
		io.Copy(io.Discard, p.Stderr)
	}()
	results, err := read(p.Stdout)
	for _, got := range results {
		r.results[got.Line] = append(r.results[got.Line], result{Result: got})
	}
	if kind.ends() {
		r.ended(ctx, s, lines[0].ID)
	}
	end, waitErr := p.Wait(ctx)
	switch {
	case err != nil || waitErr != nil:
		return errors.Join(err, waitErr)
	case end.Code != 0:
		return fmt.Errorf("the attacker ended with code %d, signal %d: %s", end.Code, end.Signal, <-said)
	}
	return nil
}

// ended writes the result that the attacker cannot: the last attempt of the line
// is to end its session, and it with that.
func (r *run) ended(ctx context.Context, s *boundary.Session, line string) {
	names := inside.Attempts()[line]
	if len(r.results[line]) != len(names)-1 {
		return // it came to an end itself, or not so far
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
	}
	if err := s.Exceeded(); err != nil {
		r.results[line] = append(r.results[line], result{Result: inside.Result{Line: line, Name: names[len(names)-1], Detail: err.Error()}})
	}
}

// killed writes the result that the attacker cannot where it killed process 1, and
// so itself, and says whether it did.
func (r *run) killed(s *boundary.Session, line string) bool {
	names := inside.Attempts()[line]
	select {
	case <-s.Done():
	default:
		return false
	}
	if len(r.results[line]) != len(names)-1 {
		return false
	}
	r.results[line] = append(r.results[line], result{Result: inside.Result{Line: line, Name: names[len(names)-1], Broke: true, Detail: "the session ended"}})
	return true
}

// maxResults bounds what an attacker says, in bytes.
const maxResults = 4 << 20

// read reads results up to the end.
func read(from io.Reader) ([]inside.Result, error) {
	var out []inside.Result
	lines := bufio.NewScanner(io.LimitReader(from, maxResults))
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		var result inside.Result
		if err := json.NewDecoder(bytes.NewReader(lines.Bytes())).Decode(&result); err != nil {
			return out, fmt.Errorf("the attacker says %.80q: %w", lines.Text(), err)
		}
		out = append(out, result)
	}
	if err := lines.Err(); err != nil {
		return out, err
	}
	return out, nil
}
