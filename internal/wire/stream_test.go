package wire_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"nanoclaw/internal/wire"
	"nanoclaw/internal/wire/wiretest"
)

// fullWindow is what fits into a stream's window beside its header.
const fullWindow = 256<<10 - 200

// TestCloseLosesNothing: what was written before Close arrives, although the
// peer was still sending at that moment. A process that ends while its input is
// not used up is such a case.
func TestCloseLosesNothing(t *testing.T) {
	s := start(t, wiretest.Pipes)
	for range 50 {
		host, inside := s.stream(t, wire.Stdio)
		out := bytes.Repeat([]byte("x"), 100_000)
		sent := make(chan struct{})
		go func() {
			host.Write(make([]byte, 150_000)) // input that nobody reads
			close(sent)
		}()
		inside.Write(out)
		inside.Close()
		if got, err := io.ReadAll(host); err != nil || !bytes.Equal(got, out) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		<-sent
		host.Close()
	}
	eventually(t, "all are gone", func() bool { return s.host.Flows() == 1 && s.inside.Flows() == 1 })
}

// TestCloseStopsTheSender: a peer that goes on sending to a closed stream is
// reset, so that a download which nobody wants any more ends.
func TestCloseStopsTheSender(t *testing.T) {
	s := start(t, wiretest.Pipes)
	host, inside := s.stream(t, wire.Proxy)
	inside.Close()
	var sent int
	var err error
	within(t, "the sender", func() {
		for err == nil {
			var n int
			n, err = host.Write(make([]byte, 64<<10))
			sent += n
		}
	})
	wantErr(t, "write", err, wire.ErrReset)
	if sent > 8<<20 {
		t.Errorf("%d bytes were sent to nobody", sent)
	}
}

func TestReset(t *testing.T) {
	s := start(t, wiretest.Pipes)
	host, inside := s.stream(t, wire.Proxy)
	blocked := make(chan error, 2)
	go func() {
		_, err := io.Copy(io.Discard, host)
		blocked <- err
	}()
	go func() {
		_, err := host.Write(make([]byte, 1<<20)) // more than the window
		blocked <- err
	}()
	inside.Reset()
	within(t, "the peer", func() {
		wantErr(t, "peer", <-blocked, wire.ErrReset)
		wantErr(t, "peer", <-blocked, wire.ErrReset)
	})
	_, err := inside.Read(make([]byte, 1))
	wantErr(t, "read", err, net.ErrClosed)
	_, err = inside.Write([]byte("x"))
	wantErr(t, "write", err, net.ErrClosed)
	eventually(t, "both have forgotten it", func() bool { return s.host.Flows() == 1 && s.inside.Flows() == 1 })
}

// TestResetByBoth: both ends give up at the same time.
func TestResetByBoth(t *testing.T) {
	s := start(t, wiretest.Pipes)
	for range 100 {
		host, inside := s.stream(t, wire.Proxy)
		go host.Reset()
		inside.Reset()
	}
	eventually(t, "both have forgotten them", func() bool { return s.host.Flows() == 1 && s.inside.Flows() == 1 })
	if s.host.Err() != nil {
		t.Error(s.host.Err())
	}
}

func TestCloseWakes(t *testing.T) {
	s := start(t, wiretest.Pipes)
	for name, op := range map[string]func(*wire.Stream) error{
		"read":  func(st *wire.Stream) error { _, err := st.Read(make([]byte, 1)); return err },
		"write": func(st *wire.Stream) error { _, err := st.Write(make([]byte, 1<<20)); return err },
	} {
		for how, end := range map[string]func(*wire.Stream){
			"Close": func(st *wire.Stream) { st.Close() }, "Reset": (*wire.Stream).Reset,
		} {
			t.Run(how+" wakes a "+name, func(t *testing.T) {
				_, inside := s.stream(t, wire.Proxy)
				got := make(chan error)
				go func() { got <- op(inside) }()
				time.Sleep(5 * time.Millisecond) // either order must do; this one mostly blocks first
				end(inside)
				within(t, name, func() { wantErr(t, name, <-got, net.ErrClosed) })
			})
		}
	}
}

// TestBrokenWriteIsNoEnd: a Write broken off by Close must not look to the peer
// like a stream that ended in order.
func TestBrokenWriteIsNoEnd(t *testing.T) {
	s := start(t, wiretest.Pipes)
	host, inside := s.stream(t, wire.Proxy)
	wrote := make(chan error)
	go func() {
		_, err := inside.Write(make([]byte, 1<<20))
		wrote <- err
	}()
	eventually(t, "the window is full", func() bool { return s.host.Unread() >= fullWindow })
	inside.Close()
	wantErr(t, "write", <-wrote, net.ErrClosed)
	_, err := io.Copy(io.Discard, host)
	wantErr(t, "peer", err, wire.ErrReset)
}

func TestCloseWrite(t *testing.T) {
	s := start(t, wiretest.Pair)
	host, inside := s.stream(t, wire.Stdio)
	inside.Write([]byte("question"))
	if err := errors.Join(inside.CloseWrite(), inside.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if _, err := inside.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after the end: %v", err)
	}
	if got, err := io.ReadAll(host); err != nil || string(got) != "question" {
		t.Errorf("%q, %v", got, err)
	}
	for range 3 { // the other half lives on
		host.Write([]byte("answer"))
		b := make([]byte, 6)
		if _, err := io.ReadFull(inside, b); err != nil || string(b) != "answer" {
			t.Fatalf("%q, %v", b, err)
		}
	}
}

func TestDeadlines(t *testing.T) {
	s := start(t, wiretest.Pair)
	host, inside := s.stream(t, wire.Proxy)
	host.SetDeadline(time.Now().Add(10 * time.Millisecond))
	_, err := host.Read(make([]byte, 1))
	wantErr(t, "read", err, os.ErrDeadlineExceeded)
	n, err := host.Write(make([]byte, 1<<20))
	wantErr(t, "write", err, os.ErrDeadlineExceeded)
	if n < fullWindow || n > 256<<10 {
		t.Errorf("%d bytes were written, want a window", n)
	}
	if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() {
		t.Errorf("%v is no timeout", err)
	}
	host.SetDeadline(time.Time{})
	go io.Copy(io.Discard, inside)
	if _, err := host.Write([]byte("more")); err != nil {
		t.Error(err)
	}
}

// TestCutIsNoEnd: when the session breaks, no stream ends in order.
func TestCutIsNoEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		cut  func(s session)
	}{
		{"by the peer", func(s session) { s.inside.Close() }},
		{"here", func(s session) { s.host.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, wiretest.Pipes)
			host, inside := s.stream(t, wire.Proxy)
			ended, _ := s.stream(t, wire.Proxy)
			inside.Write([]byte("half of the"))
			eventually(t, "it arrives", func() bool { return s.host.Unread() == 11 })
			tt.cut(s)
			got, err := io.ReadAll(host)
			if string(got) != "half of the" || err == nil {
				t.Errorf("%q, %v", got, err)
			}
			_, err = ended.Write([]byte("x"))
			if err == nil && ends(t, s.host) != nil {
				_, err = ended.Write([]byte("x"))
			}
			if err == nil {
				t.Error("write on a session that ended")
			}
		})
	}
}

// TestStallsHoldUpNobody is about the promise that an interrupt reaches the
// init within 100 ms, whatever else stands still: an egress download that the
// agent does not read, a stdin and a stdout that nobody reads, and a transfer at
// full speed beside them.
func TestStallsHoldUpNobody(t *testing.T) {
	s := start(t, wiretest.Pipes)
	stall := func(w *wire.Stream) {
		go func() { w.Write(make([]byte, 64<<20)) }()
	}
	const each = 8
	for range each {
		download, _ := s.stream(t, wire.Proxy)
		stall(download)
		stdin, stdout := s.stream(t, wire.Stdio)
		stall(stdin)
		stall(stdout)
	}
	eventually(t, "every window is full", func() bool {
		return s.inside.Unread() >= 2*each*fullWindow && s.host.Unread() >= each*fullWindow
	})
	busy, reader := s.stream(t, wire.Model)
	go io.Copy(io.Discard, reader)
	stall(busy)

	best := time.Hour
	for range 20 { // the machine may be busy; the wire may not
		began := time.Now()
		if err := wire.Send(s.hostControl, wire.Message{Signal: &wire.Signal{ID: 1, Signal: 2}}); err != nil {
			t.Fatal(err)
		}
		if m, err := wire.Receive(s.insideControl); err != nil || m.Signal == nil {
			t.Fatalf("%+v, %v", m, err)
		}
		if err := wire.Send(s.insideControl, wire.Message{Exited: &wire.Exited{ID: 1}}); err != nil {
			t.Fatal(err)
		}
		if m, err := wire.Receive(s.hostControl); err != nil || m.Exited == nil {
			t.Fatalf("%+v, %v", m, err)
		}
		best = min(best, time.Since(began))
	}
	t.Logf("interrupt and answer: %v", best)
	if best > 100*time.Millisecond {
		t.Errorf("an interrupt and its answer take %v", best)
	}
}

func TestAddresses(t *testing.T) {
	s := start(t, wiretest.Pair)
	if a := s.hostControl.RemoteAddr(); a.Network() != "wire" || a.String() != s.hostControl.LocalAddr().String() {
		t.Errorf("%v", a)
	}
}
