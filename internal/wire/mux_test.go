package wire_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/wire"
	"nanoclaw/internal/wire/wiretest"
)

func TestSession(t *testing.T) {
	for name, pair := range map[string]func(testing.TB) (*wire.Mux, *wire.Mux){
		"memory": wiretest.Pair, "pipes": wiretest.Pipes,
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, pair)
			if err := wire.Send(s.insideControl, wire.Message{Ready: &wire.Ready{Took: 1}}); err != nil {
				t.Fatal(err)
			}
			m, err := wire.Receive(s.hostControl)
			if err != nil || m.Ready == nil || m.Ready.Took != 1 {
				t.Fatalf("%+v, %v", m, err)
			}
			host, inside := s.stream(t, wire.Proxy)
			sent := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
			go func() {
				host.Write(sent)
				host.CloseWrite()
			}()
			if got, err := io.ReadAll(inside); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			inside.Write([]byte("thanks"))
			inside.Close()
			if got, err := io.ReadAll(host); err != nil || string(got) != "thanks" {
				t.Errorf("%q, %v", got, err)
			}
			host.Close()
			eventually(t, "only the control stream is left", func() bool { return s.host.Flows() == 1 && s.inside.Flows() == 1 })
			if s.host.Err() != nil {
				t.Error(s.host.Err())
			}
		})
	}
}

func TestToken(t *testing.T) {
	for _, tt := range []struct {
		name         string
		inside, host string
		header       wire.Header
		want         error
	}{
		{"wrong", "guess", secret, wire.Header{Kind: wire.Proxy}, wire.ErrToken},
		{"of another length", secret + "!", secret, wire.Header{Kind: wire.Tools}, wire.ErrToken},
		{"missing", "", secret, wire.Header{Kind: wire.Stdio}, wire.ErrToken},
		{"before the host has set one", secret, "", wire.Header{Kind: wire.Model}, wire.ErrToken},
		{"neither has one", "", "", wire.Header{Kind: wire.Model}, wire.ErrToken},
		{"second control stream", secret, secret, wire.Header{Kind: wire.Control}, wire.ErrProtocol},
		{"second control stream with the token", secret, secret, wire.Header{Kind: wire.Control, Token: secret}, wire.ErrProtocol},
		{"unknown kind", secret, secret, wire.Header{Kind: "root"}, wire.ErrProtocol},
		{"no kind", secret, secret, wire.Header{}, wire.ErrProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, wiretest.Pair)
			s.host.SetToken(tt.host)
			s.inside.SetToken(tt.inside)
			// The host may hang up before Open is done; its verdict is what counts.
			s.inside.Open(tt.header)
			wantErr(t, "session", ends(t, s.host), tt.want)
			_, _, err := s.host.Accept()
			wantErr(t, "accept", err, tt.want)
		})
	}
}

func TestHostOpensNothing(t *testing.T) {
	s := start(t, wiretest.Pair)
	if _, err := s.host.Open(wire.Header{Kind: wire.Stdio}); err == nil {
		t.Error("the host opened a stream")
	}
}

// TestSilentStream shows that a stream without a header neither holds up others
// nor stays.
func TestSilentStream(t *testing.T) {
	leakCheck(t)
	a, b := wiretest.Memory()
	host, err := wire.Impatient(a, 50*time.Millisecond, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	defer b.Close()
	answers := make(chan frame, 100)
	go readFrames(b, answers)
	write(t, b, syn(1), syn(3), data(3, wire.Opening(wire.Header{Kind: wire.Control})))
	if _, h, err := host.Accept(); err != nil || h.Kind != wire.Control {
		t.Fatalf("%+v, %v", h, err)
	}
	within(t, "the reset of the silent stream", func() {
		for f := range answers {
			if f == (frame{kind: 1, flags: flagRST, id: 1}) {
				return
			}
		}
	})
	if host.Err() != nil {
		t.Errorf("the session ended: %v", host.Err())
	}
}

func TestWrongHeaders(t *testing.T) {
	for name, text := range map[string][]byte{
		"too long":            append([]byte{0, 0, 0x10, 0x01}, bytes.Repeat([]byte(" "), 4097)...),
		"enormous":            {0xff, 0xff, 0xff, 0xff},
		"empty":               {0, 0, 0, 0},
		"nothing but version": framed(""),
		"another version":     {0, 0, 0, 4, wire.Version + 1, 0, 0, 0},
		"no header":           framed("GET / HTTP/1.1"),
		"text after it":       append([]byte{0, 0, 0, 12}, append(wire.Opening(wire.Header{Kind: wire.Control})[4:], 'x')...),
		"exec too large":      framed("\x07control\x00\xff\xff\xff\xff\x10"),
		"exec without end":    framed("\x07control\x00" + strings.Repeat("\xff", 11)),
		"unfinished strings":  framed("\x08control\x00"),
		"a string of all":     framed("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01control"),
	} {
		t.Run(name, func(t *testing.T) {
			host, peer := rawHost(t)
			write(t, peer, syn(1), data(1, text))
			wantErr(t, "session", ends(t, host), wire.ErrProtocol)
		})
	}
}

func TestEnds(t *testing.T) {
	t.Run("closed here", func(t *testing.T) {
		s := start(t, wiretest.Pipes)
		within(t, "close", func() { s.host.Close(); s.host.Close() })
		wantErr(t, "host", s.host.Err(), wire.ErrClosed)
		wantErr(t, "inside", ends(t, s.inside), io.EOF)
		_, err := s.inside.Open(wire.Header{Kind: wire.Proxy})
		if err == nil {
			t.Error("a stream was opened on a session that ended")
		}
	})
	t.Run("peer died within a frame", func(t *testing.T) {
		host, peer := rawHost(t)
		write(t, peer, syn(1), data(1, wire.Opening(wire.Header{Kind: wire.Control})))
		if _, _, err := host.Accept(); err != nil {
			t.Fatal(err)
		}
		write(t, peer, data(1, []byte("hello"))[:14])
		peer.Close()
		wantErr(t, "session", ends(t, host), io.ErrUnexpectedEOF)
	})
	t.Run("peer takes nothing", func(t *testing.T) {
		leakCheck(t)
		a, b := wiretest.Memory()
		host, err := wire.Impatient(a, time.Minute, 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		defer host.Close()
		write(t, b, syn(1), data(1, wire.Opening(wire.Header{Kind: wire.Control})))
		s, _, err := host.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Write(make([]byte, 200<<10)) // more than the pipe, less than the window
		wantErr(t, "write", err, wire.ErrStalled)
		wantErr(t, "session", ends(t, host), wire.ErrStalled)
	})
}

// TestLastWords: what the init says just before it dies arrives, even if the
// host is writing to it at that moment.
func TestLastWords(t *testing.T) {
	s := start(t, wiretest.Pipes)
	_, stdio := s.stream(t, wire.Stdio)
	stdio.Write([]byte("last line"))
	if err := wire.Send(s.insideControl, wire.Message{Failed: &wire.Failed{Step: "mount", Err: "no"}}); err != nil {
		t.Fatal(err)
	}
	s.inside.Close()
	for range 10 {
		wire.Send(s.hostControl, wire.Message{Signal: &wire.Signal{ID: 1, Signal: 15}})
	}
	m, err := wire.Receive(s.hostControl)
	if err != nil || m.Failed == nil || m.Failed.Step != "mount" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := wire.Receive(s.hostControl); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("after the end of the session: %v, which must not look like the stream's end", err)
	}
}

func TestPanicEndsTheSessionOnly(t *testing.T) {
	t.Run("in code of a stream", func(t *testing.T) {
		s, other := start(t, wiretest.Pair), start(t, wiretest.Pair)
		s.host.Go(func() {
			var nobody *wire.Message
			_ = nobody.Ready
		})
		err := ends(t, s.host)
		p, ok := errors.AsType[*wire.PanicError](err)
		if !ok || !strings.Contains(string(p.Stack), "TestPanicEndsTheSessionOnly") {
			t.Errorf("%v", err)
		}
		if other.host.Err() != nil {
			t.Errorf("another session ended: %v", other.host.Err())
		}
		other.stream(t, wire.Proxy)
	})
	t.Run("in the reader", func(t *testing.T) {
		leakCheck(t)
		a, _ := wiretest.Memory()
		host, err := wire.Host(wire.Panicking(a))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := errors.AsType[*wire.PanicError](ends(t, host)); !ok {
			t.Error(host.Err())
		}
	})
}

// TestManyStreams opens and ends streams in every way, far more than may be open
// at a time, and looks whether anything is left.
func TestManyStreams(t *testing.T) {
	s := start(t, wiretest.Pipes)
	go func() {
		for {
			st, _, err := s.host.Accept()
			if err != nil {
				return
			}
			s.host.Go(func() { endSomehow(st) })
		}
	}()
	done := make(chan error)
	const workers, each = 32, 60
	for range workers {
		go func() {
			for range each {
				st, err := s.inside.Open(wire.Header{Kind: wire.Proxy})
				for errors.Is(err, wire.ErrTooMany) { // the host has not kept up with what ended
					time.Sleep(time.Millisecond)
					st, err = s.inside.Open(wire.Header{Kind: wire.Proxy})
				}
				if err != nil {
					done <- err
					return
				}
				endSomehow(st)
			}
			done <- nil
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "only the control stream is left", func() bool {
		return s.host.Flows() == 1 && s.inside.Flows() == 1 && s.host.Unread() == 0 && s.inside.Unread() == 0
	})
	if s.host.Err() != nil || s.inside.Err() != nil {
		t.Error(s.host.Err(), s.inside.Err())
	}
}

// endSomehow uses a stream and ends it in a way of four.
func endSomehow(st *wire.Stream) {
	var b [3]byte
	randomness{}.Read(b[:])
	if b[0]%2 == 0 {
		st.Write(make([]byte, int(b[1])*100))
	}
	switch b[2] % 4 {
	case 0:
		st.Reset()
	case 1:
		st.Close()
	case 2:
		st.CloseWrite()
		st.Reset()
	case 3:
		st.CloseWrite()
		st.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		io.Copy(io.Discard, st)
		st.Close()
	}
}

func TestTooManyStreams(t *testing.T) {
	s := start(t, wiretest.Pipes)
	go func() {
		for {
			if _, _, err := s.host.Accept(); err != nil {
				return
			}
		}
	}()
	var open int
	for {
		_, err := s.inside.Open(wire.Header{Kind: wire.Proxy})
		if err != nil {
			wantErr(t, "open", err, wire.ErrTooMany)
			break
		}
		open++
	}
	if open < 100 || open > wire.MaxStreams-64 {
		t.Errorf("%d connections could be opened", open)
	}
	st, err := s.inside.Open(wire.Header{Kind: wire.Stdio})
	if err != nil {
		t.Errorf("no stream is left for a process: %v", err)
	} else {
		st.Reset()
	}
	if s.host.Err() != nil {
		t.Errorf("the session ended: %v", s.host.Err())
	}
}

// What the wire begins with is a spec of our version, and nothing after it is
// touched.
func TestBegun(t *testing.T) {
	frame := func(m wire.Message) string {
		var b bytes.Buffer
		if err := wire.Send(&b, m); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, c := range []struct {
		name, sent string
		want       error
	}{
		{"a spec", frame(wire.Message{Spec: &wire.Spec{Hostname: "here"}}), nil},
		{"another version", "\x00\x00\x00\x01\x01", wire.ErrMessage},
		{"another message", frame(wire.Message{Rest: &wire.Rest{}}), wire.ErrMessage},
		{"nothing", "", io.EOF},
		{"half", "\x00\x00\x00\x10{", io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := strings.NewReader(c.sent + "rest")
			if c.want == io.EOF || c.want == io.ErrUnexpectedEOF {
				r = strings.NewReader(c.sent)
			}
			if _, err := wire.Begun(r); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if left, _ := io.ReadAll(r); c.want == nil && string(left) != "rest" {
				t.Errorf("%q is left", left)
			}
		})
	}
}
