//go:build unix

package wire_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"nanoclaw/internal/wire"
)

// TestStdioConn plays the init in a child of the test: the wire is its standard
// input and output, and what it prints does not reach the wire.
func TestStdioConn(t *testing.T) {
	const env = "WIRE_TEST_CHILD"
	if os.Getenv(env) != "" {
		if err := childOfWire(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leakCheck(t)
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestStdioConn$")
	cmd.Env = append(os.Environ(), env+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	host, err := wire.Host(wire.Duplex(outR, inW))
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	within(t, "the child", func() {
		if err := host.Begin(&wire.Spec{Version: wire.Version, Hostname: "here"}); err != nil {
			t.Fatal(err)
		}
		control, _, err := host.Accept()
		if err != nil {
			t.Fatal(err)
		}
		m, err := wire.Receive(control)
		if err != nil || m.Standing == nil {
			t.Fatalf("%+v, %v", m, err)
		}
		if err := wire.Send(control, wire.Message{Rest: &wire.Rest{}}); err != nil {
			t.Error(err)
		}
		if m, err := wire.Receive(control); err != nil || m.Ready == nil {
			t.Errorf("%+v, %v", m, err)
		}
		host.Close() // the child waits for it
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func childOfWire() error {
	spec, err := wire.Begun(os.Stdin)
	if err != nil || spec.Hostname != "here" {
		return fmt.Errorf("the wire begins with %+v, %v", spec, err)
	}
	conn, err := wire.StdioConn()
	if err != nil {
		return err
	}
	fmt.Println("a stray line, which must not break the wire")
	if n, err := os.Stdin.Read(make([]byte, 1)); err != io.EOF {
		return fmt.Errorf("standard input still gives %d bytes, %v", n, err)
	}
	mux, err := wire.Inside(conn)
	if err != nil {
		return err
	}
	control, err := mux.Open(wire.Header{Kind: wire.Control})
	if err != nil {
		return err
	}
	if err := wire.Send(control, wire.Message{Standing: &wire.Standing{}}); err != nil {
		return err
	}
	if _, err := wire.Receive(control); err != nil {
		return err
	}
	wire.Send(control, wire.Message{Ready: &wire.Ready{}}) // the host may be gone before it returns
	<-mux.Done()
	if mux.Err() != io.EOF {
		return mux.Err()
	}
	return nil
}
