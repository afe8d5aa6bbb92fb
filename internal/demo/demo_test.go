package demo_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/daemon"
	"nanoclaw/internal/demo"
	"nanoclaw/internal/grant"
)

// show is a demonstration in a folder of the test, with a daemon that runs there.
type show struct {
	*testing.T
	place *demo.Place
	demo  *demo.Demonstration
	close func()
}

func newShow(t *testing.T, o demo.Options) *show {
	t.Helper()
	o.Dir = t.TempDir()
	p, err := demo.Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.Open(t.Context(), daemon.Options{
		Paths: p.Paths, Version: "test", Getenv: p.Getenv, Environ: os.Environ, Channels: []channel.Channel{p.Network}, ContainerProgram: "/nonexistent/podman",
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
		Init: func() (io.ReadSeekCloser, error) {
			return struct {
				io.ReadSeeker
				io.Closer
			}{bytes.NewReader(boundarytest.Init(t)), io.NopCloser(nil)}, nil
		},
	})
	if err != nil {
		t.Fatal(err, p.Remove())
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- d.Run(ctx, func() { close(ready) }) }()
	s := &show{t, p, demo.New(p, d), func() {
		cancel()
		for _, err := range []error{<-ended, d.Close(), p.Remove()} {
			if err != nil {
				t.Error(err)
			}
		}
	}}
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	return s
}

func (s *show) try(name string) demo.Result {
	s.Helper()
	all := demo.Attempts()
	i := slices.IndexFunc(all, func(a demo.Attempt) bool { return a.Name == name })
	if i < 0 {
		s.Fatalf("there is no attempt %q", name)
	}
	r, err := s.demo.Try(s.Context(), all[i])
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// held checks that an attempt was made, and stopped, and that the record says so.
func (s *show) held(r demo.Result, kind string) {
	s.Helper()
	if !r.Held() || r.Layer == "" || r.Why == "" {
		s.Errorf("%s: through %v (%s), untried %q, layer %q, why %q; the answer is\n%s", r.Name, r.Through, r.Evidence, r.Untried, r.Layer, r.Why, r.Answer)
	}
	if len(r.Entries) == 0 || r.Entries[0].Kind != kind {
		s.Errorf("%s: the entries are %+v; want one of %s first", r.Name, r.Entries, kind)
	}
}

// Every attempt is stopped with the shell as the agent, which needs nobody's model;
// the log holds, and nothing is left, in the folder or elsewhere.
func TestEveryAttemptIsStopped(t *testing.T) {
	s := newShow(t, demo.Options{})
	kinds := map[string]string{"message": "host_tool.called", "http": "egress", "dns": "egress", "startup": "delayed.moved"}
	bare := map[string]string{"keys": "reads it", "keyring": "reads it", "environment": "has the decoy", "neighbour": "reads it", "config": "reads it", "http": "reaches", "dns": "reaches"}
	for _, a := range demo.Attempts() {
		r := s.try(a.Name)
		kind := kinds[a.Name]
		if kind == "" {
			kind = "inbound"
		}
		s.held(r, kind)
		if !strings.Contains(r.Bare, bare[a.Name]) || (bare[a.Name] == "") != (r.Bare == "") {
			t.Errorf("%s: without a boundary: %q, want %q", a.Name, r.Bare, bare[a.Name])
		}
	}
	p, err := s.demo.Prove(t.Context())
	if err != nil || !p.Holds() || p.Receipt == "" || p.Entries < 4 {
		t.Errorf("the proof is %+v, %v", p, err)
	}
	if b, err := s.demo.Boundary(t.Context()); err != nil || !strings.Contains(b, "stands") {
		t.Errorf("the boundary is %q, %v", b, err)
	}
	s.close()
	if _, err := os.Lstat(s.place.Dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", s.place.Dir, err)
	}
}

// With real Claude Code in the way of the same message: what differs is who asks.
func TestClaudeIsTalkedInto(t *testing.T) {
	s := newShow(t, demo.Options{Claude: agenttest.Claude(t)})
	defer s.close()
	s.held(s.try("keys"), "tool.called")
	s.held(s.try("http"), "egress")
}

// A demonstration that cannot fail would show nothing. Each hole is a mechanism taken
// away, and the attempt that it stopped gets through, seen by its decoy.
func TestHolesAreSeen(t *testing.T) {
	for _, tt := range []struct{ hole, attempt, evidence, other, kind string }{
		{"folder", "keys", "the password is in the answer", "http", "egress"},
		{"egress", "http", "the list arrived", "keys", "inbound"},
	} {
		t.Run(tt.hole, func(t *testing.T) {
			s := newShow(t, demo.Options{Hole: tt.hole})
			defer s.close()
			if r := s.try(tt.attempt); !r.Through || r.Held() || !strings.Contains(r.Evidence, tt.evidence) {
				t.Errorf("%+v", r)
			}
			s.held(s.try(tt.other), tt.kind)
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := demo.Prepare(demo.Options{Dir: dir, Hole: "door"}); err == nil || !strings.Contains(err.Error(), "egress") {
		t.Errorf("an unknown hole: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// The commands name the ports that a session has.
func TestPortsAreTheGrants(t *testing.T) {
	for name, port := range map[string]int{"http": grant.ProxyPort, "message": grant.ToolsPort} {
		s := demo.CommandOf(name)
		if !strings.Contains(s, "/127.0.0.1/"+strconv.Itoa(port)) {
			t.Errorf("%s does not use port %d: %s", name, port, s)
		}
	}
}
