package wire_test

import (
	"io"
	"testing"

	"nanoclaw/internal/wire"
	"nanoclaw/internal/wire/wiretest"
)

func TestRoundTrip(t *testing.T) {
	for name, pair := range map[string]func(testing.TB) (*wire.Mux, *wire.Mux){
		"memory": wiretest.Pair, "pipes": wiretest.Pipes,
	} {
		t.Run(name, func(t *testing.T) {
			host, inside := pair(t)
			cs, err := inside.Open(wire.Header{Kind: wire.Control})
			if err != nil {
				t.Fatal(err)
			}
			hc, h, err := host.Accept()
			if err != nil || h.Kind != wire.Control {
				t.Fatal(h, err)
			}
			if err := wire.Send(cs, wire.Message{Hello: &wire.Hello{Version: 1, PID: 1}}); err != nil {
				t.Fatal(err)
			}
			m, err := wire.Receive(hc)
			if err != nil || m.Hello == nil || m.Hello.PID != 1 {
				t.Fatal(m, err)
			}
			host.SetToken("secret")
			inside.SetToken("secret")
			ps, err := inside.Open(wire.Header{Kind: wire.Proxy})
			if err != nil {
				t.Fatal(err)
			}
			hp, h, err := host.Accept()
			if err != nil || h.Kind != wire.Proxy || h.Token != "" {
				t.Fatal(h, err)
			}
			go func() { hp.Write(make([]byte, 3<<20)); hp.CloseWrite() }()
			if b, err := io.ReadAll(ps); err != nil || len(b) != 3<<20 {
				t.Fatal(len(b), err)
			}
			if err := ps.Close(); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(hp); err != nil || len(b) != 0 {
				t.Fatal(len(b), err)
			}
		})
	}
}
