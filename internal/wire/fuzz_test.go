package wire_test

import (
	"encoding/binary"
	"io"
	"testing"

	"nanoclaw/internal/wire"
	"nanoclaw/internal/wire/wiretest"
)

// fuzzHost gives a host what was fuzzed, with everything behind Accept reading
// and answering, and wants it to end in order.
func fuzzHost(t *testing.T, in []byte) {
	a, b := wiretest.Memory()
	host, err := wire.Host(a)
	if err != nil {
		t.Fatal(err)
	}
	host.SetToken(secret)
	go func() {
		for {
			s, h, err := host.Accept()
			if err != nil {
				return
			}
			host.Go(func() {
				if h.Kind == wire.Control {
					for err == nil {
						_, err = wire.Receive(s)
					}
				} else {
					io.Copy(s, s)
				}
				s.Close()
			})
		}
	}()
	go io.Copy(io.Discard, b)
	within(t, "the host", func() {
		b.Write(in)
		b.Close()
		<-host.Done()
		host.Close()
	})
	if host.Err() == nil {
		t.Error("the session ended without a cause")
	}
	if p, ok := host.Err().(*wire.PanicError); ok {
		t.Errorf("%v\n%s", p, p.Stack)
	}
	if n := host.Unread(); n < 0 || n > wire.MaxUnread+1<<20 {
		t.Errorf("%d bytes unread", n)
	}
}

// FuzzHostGarbage gives a host arbitrary bytes.
func FuzzHostGarbage(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(append(syn(1), data(1, wire.Opening(wire.Header{Kind: wire.Control}))...))
	proxy := wire.Opening(wire.Header{Kind: wire.Proxy, Token: secret})
	f.Add(append(append(syn(1), data(1, proxy)...), frame{kind: kWindow, flags: flagRST, id: 1}.bytes()...))
	f.Fuzz(func(t *testing.T, in []byte) { fuzzHost(t, in) })
}

// FuzzHostFrames gives a host frames that are near to right, so that more of
// them get past the first check: five bytes of input make one.
func FuzzHostFrames(f *testing.F) {
	f.Add([]byte{1, 1, 1, 0, 0, 4, 0, 1, 0, 0, 0, 0, 1, 0, 200})
	f.Add([]byte{4, 0, 1, 0, 0, 1, 8, 1, 0, 0, 4, 0, 3, 0, 0, 1, 4, 3, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		var b []byte
		for ; len(in) >= 5; in = in[5:] {
			id, n := uint32(in[2]), uint32(binary.BigEndian.Uint16(in[3:]))
			switch in[0] % 5 {
			case 0:
				b = append(b, data(id, make([]byte, n))...)
			case 1:
				b = append(b, frame{kind: kWindow, flags: uint16(in[1]), id: id, length: n}.bytes()...)
			case 2:
				b = append(b, frame{kind: in[1], id: id, length: n}.bytes()...)
			case 3:
				b = append(b, frame{kind: kWindow, flags: flagFIN, id: id}.bytes()...)
			case 4: // a stream as the init opens it
				b = append(append(b, syn(id)...), data(id, wire.Opening(wire.Header{Kind: wire.Proxy, Token: secret}))...)
			}
		}
		fuzzHost(t, b)
	})
}

// FuzzHeader gives a host a stream with an arbitrary header.
func FuzzHeader(f *testing.F) {
	f.Add(wire.Opening(wire.Header{Kind: wire.Control})[5:])
	f.Add(wire.Opening(wire.Header{Kind: wire.Stdio, Token: secret, Exec: 1<<32 - 1})[5:])
	f.Add([]byte("\x07control\x00\xff\xff\xff\xff\x10"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 30<<10 {
			return
		}
		fuzzHost(t, append(syn(1), data(1, framed(string(text)))...))
	})
}
