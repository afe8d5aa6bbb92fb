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
	for _, tt := range []struct {
		name string
		in   string
		want error
	}{
		{"nothing", "", io.EOF},
		{"half a length", "\x00\x00", io.ErrUnexpectedEOF},
		{"half a message", string(header(`{"ready":{}}`)[:9]), io.ErrUnexpectedEOF},
		{"only a length", "\x00\x00\x00\x05", io.ErrUnexpectedEOF},
		{"one byte too many", "\x00\x10\x00\x01" + strings.Repeat(" ", 1<<20+1), wire.ErrMessage},
		{"four GiB", "\xff\xff\xff\xff", wire.ErrMessage},
		{"not JSON", string(header("hello")), wire.ErrMessage},
		{"an array", string(header("[]")), wire.ErrMessage},
		{"wrong type", string(header(`{"ready":7}`)), wire.ErrMessage},
		{"two at once", string(header(`{"standing":{},"ready":{}}`)), wire.ErrMessage},
		{"deep", string(header(strings.Repeat(`{"ready":`, 17) + "1" + strings.Repeat("}", 17))), wire.ErrMessage},
		{"deep where nobody looks", string(header(`{"later":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}")), wire.ErrMessage},
		{"many values", string(header(`{"ready":{"layers":["",` + strings.Repeat(`"",`, 1<<16) + `""]}}`)), wire.ErrMessage},
		{"many objects", string(header(`{"spec":{"mounts":[{}` + strings.Repeat(`,{}`, 40_000) + `]}}`)), wire.ErrMessage},
		{"an unfinished string", string(header(`{"ready":"` + strings.Repeat(`\`, 99))), wire.ErrMessage},
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

func TestReceiveAccepts(t *testing.T) {
	for name, in := range map[string]string{
		"a message of a later version": `{"later":{"deep":[1,[2,[3]]]}}`,
		"a null":                       `{"ready":null}`,
		"brackets in a string":         `{"later":"` + strings.Repeat(`{[,\"`, 30_000) + `"}`,
	} {
		m, err := wire.Receive(bytes.NewReader(header(in)))
		if err != nil || m != (wire.Message{}) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
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
	f.Add(header(`{"ready":{"took":1}}`))
	f.Add(append(header(`{"ready":{"layers":["a"],"took":1}}`), header(`{}`)...))
	f.Add(header(`{"exited":{"id":1,"code":-1,"x":[[{}]]}}`))
	f.Add(header(`"\`))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			m, err := wire.Receive(r)
			if err != nil {
				return
			}
			var b bytes.Buffer
			if err := wire.Send(&b, m); err != nil {
				continue // JSON of one byte more than the limit may come from one less
			}
			again, err := wire.Receive(&b)
			if err != nil {
				t.Fatalf("what was received cannot be sent: %v", err)
			}
			if diff := cmp.Diff(m, again, cmp.Comparer(sameBytes)); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

// sameBytes compares without regard to nil: JSON tells null from "", the wire
// does not care.
func sameBytes(a, b []byte) bool { return bytes.Equal(a, b) }
