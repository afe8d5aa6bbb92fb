package wire_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/wire"
)

func TestSendReceive(t *testing.T) {
	messages := []wire.Message{
		{Standing: &wire.Standing{}},
		{Ready: &wire.Ready{Layers: []string{"landlock ABI 7"}, Missing: []string{"a"}, Took: time.Second}},
		{Failed: &wire.Failed{Step: "mount", Err: "no", Errno: 1}},
		{Started: &wire.Started{ID: 3, PID: 4}},
		{Exited: &wire.Exited{ID: 3, Code: -1, Signal: 9, User: 1, System: 2, MaxRSS: 3}},
		{Spec: &wire.Spec{Token: "t", Mounts: []wire.Mount{{Target: "/usr", FD: 3}}, Files: []wire.File{{Path: "/etc/passwd", Data: []byte{0, 1}}}}},
		{Exec: &wire.Exec{ID: 3, Argv: []string{"sh", "-c", "\"{[,"}, Env: []string{"A=\\"}, Stdio: wire.PTY}},
		{Signal: &wire.Signal{ID: 3, Signal: 15}},
		{Resize: &wire.Resize{ID: 3, Rows: 24, Cols: 80}},
		{},
	}
	var b bytes.Buffer
	for _, m := range messages {
		if err := wire.Send(&b, m); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range messages {
		got, err := wire.Receive(&b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	_, err := wire.Receive(&b)
	wantErr(t, "after the last", err, io.EOF)
}

func TestReceiveRefuses(t *testing.T) {
	// Of the pointers in a Message the second leads to Ready, the seventh to Spec.
	ready := func(text string) string { return string(framed("\x00\x01" + text)) }
	spec := func(text string) string { return string(framed(strings.Repeat("\x00", 6) + "\x01" + text)) }
	none := strings.Repeat("\x00", 10)
	for _, tt := range []struct {
		name string
		in   string
		want error
	}{
		{"nothing", "", io.EOF},
		{"half a length", "\x00\x00", io.ErrUnexpectedEOF},
		{"half a message", string(framed(none)[:9]), io.ErrUnexpectedEOF},
		{"only a length", "\x00\x00\x00\x05", io.ErrUnexpectedEOF},
		{"one byte too many", "\x00\x10\x00\x01" + strings.Repeat("\x02", 1<<20+1), wire.ErrMessage},
		{"four GiB", "\xff\xff\xff\xff", wire.ErrMessage},
		{"empty", "\x00\x00\x00\x00", wire.ErrMessage},
		{"another version", "\x00\x00\x00\x0b\x01" + none, wire.ErrMessage},
		{"cut off", string(framed(none[1:])), wire.ErrMessage},
		{"more after it", string(framed(none + "\x00")), wire.ErrMessage},
		{"a bool of two", string(framed("\x02" + none[1:])), wire.ErrMessage},
		{"two at once", string(framed("\x01\x01\x00\x00\x00" + none[2:])), wire.ErrMessage},
		{"many elements", ready("\x81\x80\x04" + strings.Repeat("\x00", 1<<17)), wire.ErrMessage},
		{"many elements in all", ready("\x81\x80\x02" + strings.Repeat("\x00", 1<<15+1) + "\x80\x80\x02" + strings.Repeat("\x00", 1<<15) + none), wire.ErrMessage},
		{"more elements than bytes", ready("\xff\x7f\x00"), wire.ErrMessage},
		{"all elements there are", ready("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), wire.ErrMessage},
		{"more objects than bytes", spec("\x00\x00\x00\xff\x7f"), wire.ErrMessage},
		{"a string beyond the end", ready("\x01\x05four"), wire.ErrMessage},
		{"a number without end", ready("\x00\x00" + strings.Repeat("\xff", 11)), wire.ErrMessage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := wire.Receive(strings.NewReader(tt.in))
			wantErr(t, "receive", err, tt.want)
			if diff := cmp.Diff(wire.Message{}, m); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSendRefusesTooMuch(t *testing.T) {
	err := wire.Send(io.Discard, wire.Message{Failed: &wire.Failed{Err: strings.Repeat("x", 1<<20)}})
	wantErr(t, "send", err, wire.ErrMessage)
	want := errors.New("full")
	err = wire.Send(failing{want}, wire.Message{Failed: &wire.Failed{}})
	wantErr(t, "send", err, want)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestReceiveCostsWhatIsSent: announcing a megabyte must not make the host
// allocate one.
func TestReceiveCostsWhatIsSent(t *testing.T) {
	const n = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		wire.Receive(strings.NewReader("\x00\x10\x00\x00"))
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 64<<10 {
		t.Errorf("four bytes cost %d", each)
	}
}

func FuzzReceive(f *testing.F) {
	for _, m := range []wire.Message{
		{Ready: &wire.Ready{Layers: []string{"a"}, Took: 1}},
		{Exited: &wire.Exited{ID: 1, Code: -1}},
		{Spec: &wire.Spec{Token: "t", Mounts: []wire.Mount{{Target: "/usr", FD: 3}}, Files: []wire.File{{Path: "/etc/passwd", Data: []byte{0, 1}}}}},
		{Exec: &wire.Exec{Argv: []string{"sh"}, Probe: &wire.Probe{Dial: []string{"a"}}}},
	} {
		var b bytes.Buffer
		if err := wire.Send(&b, m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			m, err := wire.Receive(r)
			if err != nil {
				return
			}
			var b bytes.Buffer
			if err := wire.Send(&b, m); err != nil {
				t.Fatal(err)
			}
			again, err := wire.Receive(&b)
			if err != nil {
				t.Fatalf("what was received cannot be sent: %v", err)
			}
			if diff := cmp.Diff(m, again); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
