package wire_test

import (
	"io"
	"testing"

	"nanoclaw/internal/wire"
	"nanoclaw/internal/wire/wiretest"
)

func BenchmarkRoundTrip(b *testing.B) {
	b.Run("bare pipes", func(b *testing.B) {
		x, y := wiretest.Files(b)
		b.Cleanup(func() { x.Close(); y.Close() })
		pingPong(b, x, y)
	})
	b.Run("wire", func(b *testing.B) {
		s := start(b, wiretest.Pipes)
		host, inside := s.stream(b, wire.Proxy)
		pingPong(b, host, inside)
	})
}

func pingPong(b *testing.B, x, y io.ReadWriter) {
	go io.Copy(y, io.Reader(y))
	buf := make([]byte, 100)
	for b.Loop() {
		if _, err := x.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(x, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkThroughput(b *testing.B) {
	b.Run("bare pipes", func(b *testing.B) {
		x, y := wiretest.Files(b)
		b.Cleanup(func() { x.Close(); y.Close() })
		pour(b, x, y)
	})
	b.Run("wire", func(b *testing.B) {
		s := start(b, wiretest.Pipes)
		host, inside := s.stream(b, wire.Proxy)
		pour(b, host, inside)
	})
}

func pour(b *testing.B, w io.Writer, r io.Reader) {
	const chunk = 256 << 10
	b.SetBytes(chunk)
	go func() {
		buf := make([]byte, chunk)
		for {
			if _, err := w.Write(buf); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, chunk)
	for b.Loop() {
		if _, err := io.ReadFull(r, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is a whole connection: opened, accepted, ended by both.
func BenchmarkOpen(b *testing.B) {
	s := start(b, wiretest.Pipes)
	for b.Loop() {
		host, inside := s.stream(b, wire.Proxy)
		inside.Close()
		host.Close()
	}
}
