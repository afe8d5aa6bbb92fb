package wire_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"

	"nanoclaw/internal/wire"
	"nanoclaw/internal/wire/wiretest"
)

const (
	flagSYN, flagACK, flagFIN, flagRST = 1, 2, 4, 8
	kData, kWindow, kPing, kGoAway     = 0, 1, 2, 3
)

// frame is a frame's header, as a hostile peer makes it.
type frame struct {
	version, kind byte
	flags         uint16
	id, length    uint32
}

func (f frame) bytes() []byte {
	b := []byte{f.version, f.kind}
	b = binary.BigEndian.AppendUint16(b, f.flags)
	b = binary.BigEndian.AppendUint32(b, f.id)
	b = binary.BigEndian.AppendUint32(b, f.length)
	return b
}

func syn(id uint32) []byte { return frame{kind: kWindow, flags: flagSYN, id: id}.bytes() }

func data(id uint32, payload []byte) []byte {
	return append(frame{kind: kData, id: id, length: uint32(len(payload))}.bytes(), payload...)
}

// header is a length and text, as Header and Message travel.
// framed is text as a Header or Message of our version.
func framed(text string) []byte {
	text = string(rune(wire.Version)) + text
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

func write(t testing.TB, w io.Writer, frames ...[]byte) {
	t.Helper()
	if _, err := w.Write(bytes.Join(frames, nil)); err != nil {
		t.Logf("write: %v", err)
	}
}

// readFrames reads what the host sends.
func readFrames(r io.Reader, to chan<- frame) {
	defer close(to)
	for {
		var b [12]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return
		}
		f := frame{
			b[0], b[1], binary.BigEndian.Uint16(b[2:]),
			binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]),
		}
		if f.kind == kData {
			io.CopyN(io.Discard, r, int64(f.length))
		}
		to <- f
	}
}

// randomness is a source of random bytes.
type randomness struct{}

func (randomness) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
	return len(p), nil
}

// TestGuard sends the host what our init never sends. Each ends the session,
// before the frame reaches the multiplexer.
func TestGuard(t *testing.T) {
	open := append(syn(1), data(1, wire.Opening(wire.Header{Kind: wire.Control}))...)
	f := func(kind byte, flags uint16, id, length uint32) []byte {
		return frame{0, kind, flags, id, length}.bytes()
	}
	kilo := make([]byte, 1<<10)
	for _, tt := range []struct {
		name  string
		bytes [][]byte
		want  error
	}{
		{"another version", [][]byte{frame{version: 1, kind: kWindow, flags: flagSYN, id: 1}.bytes()}, wire.ErrProtocol},
		{"HTTP", [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n")}, wire.ErrProtocol},
		{"unknown type", [][]byte{f(4, 0, 1, 0)}, wire.ErrProtocol},
		{"ping", [][]byte{f(kPing, flagSYN, 0, 1)}, wire.ErrProtocol},
		{"ping on a stream", [][]byte{f(kPing, flagSYN, 1, 1)}, wire.ErrProtocol},
		{"answer to a ping", [][]byte{f(kPing, flagACK, 1, 1)}, wire.ErrProtocol},
		{"go away", [][]byte{f(kGoAway, 0, 0, 0)}, wire.ErrProtocol},
		{"go away, unknown code", [][]byte{f(kGoAway, 0, 1, 99)}, wire.ErrProtocol},
		{"stream zero", [][]byte{f(kWindow, flagSYN, 0, 0)}, wire.ErrProtocol},
		{"a stream of the host", [][]byte{f(kWindow, flagSYN, 2, 0)}, wire.ErrProtocol},
		{"the same stream twice", [][]byte{open, syn(1)}, wire.ErrProtocol},
		{"a lower stream", [][]byte{syn(5), syn(3)}, wire.ErrProtocol},
		{"open with data", [][]byte{f(kData, flagSYN, 1, 4), kilo[:4]}, wire.ErrProtocol},
		{"open with a window", [][]byte{f(kWindow, flagSYN, 1, 1)}, wire.ErrProtocol},
		{"open and end at once", [][]byte{f(kWindow, flagSYN|flagFIN, 1, 0)}, wire.ErrProtocol},
		{"accept what nobody opened", [][]byte{open, f(kWindow, flagACK, 1, 0)}, wire.ErrProtocol},
		{"all flags", [][]byte{open, f(kWindow, 0xffff, 1, 0)}, wire.ErrProtocol},
		{"data on no stream", [][]byte{data(1, kilo)}, wire.ErrProtocol},
		{"data on a later stream", [][]byte{open, data(3, kilo)}, wire.ErrProtocol},
		{"data after the end", [][]byte{open, f(kWindow, flagFIN, 1, 0), data(1, kilo)}, wire.ErrProtocol},
		{"data after a reset", [][]byte{open, f(kWindow, flagRST, 1, 0), data(1, kilo)}, wire.ErrProtocol},
		{"end after the end", [][]byte{open, f(kWindow, flagFIN, 1, 0), f(kWindow, flagFIN, 1, 0)}, wire.ErrProtocol},
		{"end of no stream", [][]byte{f(kWindow, flagFIN, 7, 0)}, wire.ErrProtocol},
		{"reset of no stream", [][]byte{f(kWindow, flagRST, 7, 0)}, wire.ErrProtocol},
		{"reset with a length", [][]byte{open, f(kWindow, flagRST, 1, 1)}, wire.ErrProtocol},
		{"end by a data frame", [][]byte{open, f(kData, flagFIN, 1, 0)}, wire.ErrProtocol},
		{"empty data", [][]byte{open, f(kData, 0, 1, 0)}, wire.ErrProtocol},
		{"frame too large", [][]byte{open, f(kData, 0, 1, 64<<10+1)}, wire.ErrProtocol},
		{"frame of 4 GiB", [][]byte{open, f(kData, 0, 1, 1<<32-1)}, wire.ErrProtocol},
		{"credit that was never used", [][]byte{open, f(kWindow, 0, 1, 1)}, wire.ErrProtocol},
		{"credit of 4 GiB", [][]byte{open, f(kWindow, 0, 1, 1<<32-1)}, wire.ErrProtocol},
		{"more than the window", [][]byte{open, bytes.Repeat(data(1, kilo), 257)}, wire.ErrProtocol},
		{"too many streams", manySyns(wire.MaxStreams + 1), wire.ErrExcess},
		{"too many streams, each reset at once", manyResets(200_000), wire.ErrExcess},
		{"nothing but the end", nil, io.EOF},
		{"cut in a header", [][]byte{open, {0, 1, 0}}, io.ErrUnexpectedEOF},
		{"cut in the payload", [][]byte{open, f(kData, 0, 1, 1000), kilo[:10]}, io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host, peer := rawHost(t)
			write(t, peer, tt.bytes...)
			peer.Close()
			err := ends(t, host)
			if tt.name == "too many streams, each reset at once" && err == io.EOF {
				return // the host kept up with the flood
			}
			wantErr(t, "session", err, tt.want)
		})
	}
}

func manySyns(n int) (frames [][]byte) {
	for i := range n {
		frames = append(frames, syn(uint32(2*i+1)))
	}
	return frames
}

func manyResets(n int) (frames [][]byte) {
	for i := range n {
		id := uint32(2*i + 1)
		frames = append(frames, syn(id), frame{kind: kWindow, flags: flagRST, id: id}.bytes())
	}
	return frames
}

// TestUnreadIsBounded: streams that fill their windows while nobody reads them
// end the session before the host holds too much.
func TestUnreadIsBounded(t *testing.T) {
	host, peer := rawHost(t)
	host.SetToken(secret)
	go func() {
		for {
			if _, _, err := host.Accept(); err != nil {
				return
			}
		}
	}()
	text := wire.Opening(wire.Header{Kind: wire.Proxy, Token: secret})
	chunk := make([]byte, 16<<10)
	for i := range uint32(wire.MaxStreams) {
		id := 2*i + 1
		write(t, peer, syn(id), data(id, text))
		for range 15 {
			write(t, peer, data(id, chunk))
		}
	}
	wantErr(t, "session", ends(t, host), wire.ErrExcess)
	if host.Unread() > wire.MaxUnread+1<<20 {
		t.Errorf("%d bytes unread", host.Unread())
	}
}

// TestInsideIsStrictToo: the init refuses what the host never sends.
func TestInsideIsStrictToo(t *testing.T) {
	leakCheck(t)
	a, b := wiretest.Memory()
	inside, err := wire.Inside(b)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	write(t, a, syn(1))
	wantErr(t, "session", ends(t, inside), wire.ErrProtocol)
}
