package wire_test

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/wire"
	"nanoclaw/internal/wire/wiretest"
)

const secret = "the session's secret"

// session is both ends of a wire after its first words.
type session struct {
	host, inside               *wire.Mux
	hostControl, insideControl *wire.Stream
}

func start(t testing.TB, pair func(testing.TB) (host, inside *wire.Mux)) session {
	t.Helper()
	leakCheck(t)
	host, inside := pair(t)
	s := session{host: host, inside: inside}
	var err error
	if s.insideControl, err = inside.Open(wire.Header{Kind: wire.Control}); err != nil {
		t.Fatal(err)
	}
	if s.hostControl, _, err = host.Accept(); err != nil {
		t.Fatal(err)
	}
	host.SetToken(secret)
	inside.SetToken(secret)
	return s
}

// stream opens one more stream and returns both ends.
func (s session) stream(t testing.TB, kind wire.Kind) (host, inside *wire.Stream) {
	t.Helper()
	inside, err := s.inside.Open(wire.Header{Kind: kind, Exec: 7})
	if err != nil {
		t.Fatal(err)
	}
	host, h, err := s.host.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if h != (wire.Header{Kind: kind, Exec: 7}) {
		t.Fatalf("header %+v", h)
	}
	return host, inside
}

// leakCheck fails the test if goroutines of the wire are left after everything
// that the test registers later has been closed.
func leakCheck(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		var left string
		for range 200 {
			if left = wireGoroutines(); left == "" {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("goroutines are left:\n%s", left)
	})
}

func wireGoroutines() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(g, "wire.(*") || strings.Contains(g, "yamux") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}

// within fails the test if f is not done in time. The time is for hangs only.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("%s hangs\n%s", what, buf[:runtime.Stack(buf, true)])
	}
}

// ends waits for the end of a session and returns its cause.
func ends(t testing.TB, m *wire.Mux) error {
	t.Helper()
	within(t, "the end of the session", func() { <-m.Done() })
	return m.Err()
}

// eventually waits until a condition holds that no event announces.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for range 1000 {
		if cond() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("never: %s", what)
}

// rawHost is a Host whose peer is the test itself, byte by byte.
func rawHost(t testing.TB) (*wire.Mux, io.ReadWriteCloser) {
	t.Helper()
	leakCheck(t)
	a, b := wiretest.Memory()
	host, err := wire.Host(a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		host.Close()
	})
	go io.Copy(io.Discard, b)
	return host, b
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
