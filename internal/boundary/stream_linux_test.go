package boundary

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// endpoints gives a spec the endpoints of proxy and model.
func endpoints(serve func(wire.Kind, net.Conn)) func(*Spec) {
	return func(s *Spec) {
		s.Serve = serve
		s.Grant.Endpoints = []grant.Endpoint{
			{Name: string(wire.Proxy), Port: grant.ProxyPort}, {Name: string(wire.Model), Port: grant.ModelPort},
		}
	}
}

// ask speaks over TCP from inside: bash opens /dev/tcp by itself.
const ask = `exec 3<>/dev/tcp/127.0.0.1/$0 && printf hello >&3 && cat <&3`

func TestConnectionsBecomeStreams(t *testing.T) {
	b := start(t, endpoints(func(kind wire.Kind, conn net.Conn) {
		got := make([]byte, 5)
		io.ReadFull(conn, got)
		io.WriteString(conn, string(kind)+" got "+string(got))
	}))
	for port, want := range map[string]string{"3128": "proxy got hello", "8480": "model got hello"} {
		if r := b.run("", "bash", "-c", ask, port); r.out != want || r.Code != 0 {
			t.Errorf("port %s: %+v, want %q", port, r, want)
		}
	}
	if r := b.run("", "bash", "-c", ask, "8481"); !strings.Contains(r.err, "refused") {
		t.Errorf("a port that is no endpoint: %+v", r)
	}
}

func TestHalfCloseIsCarried(t *testing.T) {
	served := make(chan struct{})
	b := start(t, endpoints(func(_ wire.Kind, conn net.Conn) {
		defer close(served)
		io.WriteString(conn, "question")
		conn.(interface{ CloseWrite() error }).CloseWrite()
		rest, _ := io.ReadAll(conn)
		if string(rest) != "answer" {
			t.Errorf("after our end came %q", rest)
		}
	}))
	if r := b.run("", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/3128; cat <&3; printf answer >&3"); r.out != "question" {
		t.Errorf("%+v", r)
	}
	<-served
}

// A panic in the code that serves one session ends that session alone.
func TestPanicEndsItsSessionAlone(t *testing.T) {
	other := start(t)
	b := start(t, endpoints(func(wire.Kind, net.Conn) { panic("a mistake") }))
	b.Exec(t.Context(), wire.Exec{Argv: []string{"bash", "-c", ask, "3128"}, Env: b.env, Dir: grant.Workspace})
	<-b.Done()
	if err := b.Err(); err == nil || !strings.Contains(err.Error(), "a mistake") {
		t.Errorf("the session's end: %v", err)
	}
	if got := other.sh("echo alive"); got != "alive" {
		t.Errorf("the other session: %q", got)
	}
}

// Stalled connections, as many as there may be, delay neither a process nor a
// signal.
func TestStalledConnectionsHoldUpNothing(t *testing.T) {
	var open atomic.Int32
	release := make(chan struct{})
	b := start(t, endpoints(func(_ wire.Kind, conn net.Conn) {
		open.Add(1)
		<-release
	}))
	defer close(release)
	script := `for i in $(seq 300); do exec {fd}<>/dev/tcp/127.0.0.1/3128 || break; head -c 100000 /dev/zero >&$fd & done; echo ready; sleep 1000`
	flood := b.start(wire.Exec{Argv: []string{"bash", "-c", script}})
	ready := make([]byte, 6)
	if _, err := io.ReadFull(flood.Stdout, ready); err != nil {
		t.Fatal(err)
	}
	if got := b.sh("echo beside it"); got != "beside it" {
		t.Errorf("beside a flood: %q", got)
	}
	begin := time.Now()
	if err := flood.Signal(9); err != nil {
		t.Fatal(err)
	}
	if _, err := flood.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d connections at the host, interrupted in %v", open.Load(), time.Since(begin))
	if n := open.Load(); n == 0 || n > wire.MaxStreams {
		t.Errorf("%d connections reached the host", n)
	}
}

// tree and wire of a session whose init lies.
type fakeTree struct {
	done chan struct{}
	once sync.Once // the session's watch and its owner may both kill it
}

func (f *fakeTree) PID() int              { return 0 }
func (f *fakeTree) Done() <-chan struct{} { return f.done }
func (f *fakeTree) Kill()                 { f.once.Do(func() { close(f.done) }) }

// unbounded bounds nothing.
type unbounded struct{}

func (unbounded) words() (layers, missing []string) { return nil, nil }
func (unbounded) over() *LimitError                 { return nil }
func (unbounded) reached() []string                 { return nil }
func (unbounded) free()                             {}

// liar gives a session that stands, and the init's end of its wire.
func liar(t *testing.T) (*Session, *wire.Mux, *wire.Stream) {
	t.Helper()
	a, z := net.Pipe()
	host, err := wire.Host(a)
	if err != nil {
		t.Fatal(err)
	}
	s := newSession("fake", &fakeTree{done: make(chan struct{})}, unbounded{}, host, Spec{})
	t.Cleanup(func() { s.Close() })
	var inside *wire.Mux
	got := make(chan *wire.Stream, 1)
	go func() {
		defer close(got)
		if _, err := wire.Begun(z); err != nil {
			t.Error(err)
			return
		}
		var err error
		if inside, err = wire.Inside(z); err != nil {
			t.Error(err)
			return
		}
		control, err := inside.Open(wire.Header{Kind: wire.Control})
		if err != nil {
			t.Error(err)
		}
		wire.Send(control, wire.Message{Ready: &wire.Ready{Layers: []string{"clean", "esc\x1b[31m"}}})
		got <- control
	}()
	if err := s.handshake(&wire.Spec{Version: wire.Version, Token: "token"}); err != nil {
		t.Fatal(err)
	}
	control := <-got
	if control == nil {
		t.FailNow()
	}
	t.Cleanup(func() { inside.Close() })
	inside.SetToken("token")
	return s, inside, control
}

// What an init that was taken over may say ends its session, and nothing else.
func TestLiesEndTheSession(t *testing.T) {
	for _, c := range []struct {
		name string
		lie  func(*wire.Mux, *wire.Stream)
	}{
		{"a start nobody asked for", func(_ *wire.Mux, c *wire.Stream) { wire.Send(c, wire.Message{Started: &wire.Started{ID: 7}}) }},
		{"an end nobody asked for", func(_ *wire.Mux, c *wire.Stream) { wire.Send(c, wire.Message{Exited: &wire.Exited{ID: 7}}) }},
		{"ready once more", func(_ *wire.Mux, c *wire.Stream) { wire.Send(c, wire.Message{Ready: &wire.Ready{}}) }},
		{"an empty message", func(_ *wire.Mux, c *wire.Stream) { wire.Send(c, wire.Message{}) }},
		{"a spec", func(_ *wire.Mux, c *wire.Stream) { wire.Send(c, wire.Message{Spec: &wire.Spec{}}) }},
		{"output of a process nobody asked for", func(m *wire.Mux, _ *wire.Stream) { m.Open(wire.Header{Kind: wire.Stdio, Exec: 7}) }},
		{"output of process 0", func(m *wire.Mux, _ *wire.Stream) { m.Open(wire.Header{Kind: wire.Stderr}) }},
		{"the end of the control stream", func(_ *wire.Mux, c *wire.Stream) { c.Close() }},
		{"a wrong token", func(m *wire.Mux, _ *wire.Stream) { m.SetToken("guess"); m.Open(wire.Header{Kind: wire.Proxy}) }},
	} {
		s, inside, control := liar(t)
		go c.lie(inside, control)
		select {
		case <-s.Done():
			if s.Err() == nil {
				t.Errorf("%s: the session ended without a reason", c.name)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the session goes on", c.name)
		}
	}
}

func TestWordsFromInsideAreMadePlain(t *testing.T) {
	s, _, _ := liar(t)
	if got := s.Layers(); len(got) != 2 || got[1] != "esc [31m" {
		t.Errorf("layers %q", got)
	}
	if got := plain(strings.Repeat("x", 5000)); len(got) > 2*maxWords {
		t.Errorf("%d bytes are left", len(got))
	}
}

// A connection of a kind that the grant does not have is refused, and the
// session goes on.
func TestKindsOutsideTheGrantAreRefused(t *testing.T) {
	s, inside, _ := liar(t)
	stream, err := inside.Open(wire.Header{Kind: wire.Tools})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("the stream ended with %v", err)
	}
	if err := s.Err(); err != nil {
		t.Errorf("the session ended: %v", err)
	}
}

// Exit and streams of a fast process may arrive in any order.
func TestStreamsMayArriveAfterTheEnd(t *testing.T) {
	s, inside, control := liar(t)
	done := make(chan error, 1)
	go func() {
		p, err := s.Exec(t.Context(), wire.Exec{Argv: []string{"true"}})
		if err == nil {
			_, err = p.Wait(t.Context())
		}
		done <- err
	}()
	m, err := wire.Receive(control)
	if err != nil || m.Exec == nil {
		t.Fatal(m, err)
	}
	wire.Send(control, wire.Message{Started: &wire.Started{ID: m.Exec.ID, PID: 2}})
	wire.Send(control, wire.Message{Exited: &wire.Exited{ID: m.Exec.ID}})
	for _, kind := range []wire.Kind{wire.Stderr, wire.Stdio} {
		if _, err := inside.Open(wire.Header{Kind: kind, Exec: m.Exec.ID}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.procs) != 0 {
		t.Errorf("%d processes are remembered", len(s.procs))
	}
}
