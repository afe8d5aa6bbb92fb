package mcpserver

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a server's program: it answers each line by play, until it is closed.
type fake struct {
	io.Reader
	io.Writer
	close func()
}

func (f *fake) Close() error { f.close(); return nil }

// start gives a Start of programs that answer by play: what it gives is written
// as a line; an error ends the program.
func start(play func(e envelope) (string, error)) func(context.Context) (Process, error) {
	return func(context.Context) (Process, error) {
		inR, inW := io.Pipe()
		outR, outW := io.Pipe()
		go func() {
			in := bufio.NewScanner(inR)
			in.Buffer(nil, maxAsked*2)
			for in.Scan() {
				e, _ := read(in.Bytes())
				line, err := play(e)
				if err != nil {
					break
				}
				if line != "" {
					io.WriteString(outW, line+"\n")
				}
			}
			inR.Close()
			outW.Close()
		}()
		return &fake{outR, inW, func() { inR.Close(); inW.Close(); outR.Close() }}, nil
	}
}

// polite answers initialize, and any call by its tool's name.
func polite(e envelope) (string, error) {
	switch e.Method {
	case "initialize":
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"serverInfo":{"name":"x"}}}`, e.ID), nil
	case "tools/call":
		var p struct{ Name string }
		json.Unmarshal(e.Params, &p)
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"said":%q}}`, e.ID, p.Name), nil
	}
	return "", nil
}

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`

func callOf(id int, tool string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q}}`, id, tool)
}

// tell sends a message and gives the answer as text.
func tell(t *testing.T, r *Relay, msg string) string {
	t.Helper()
	a, err := r.Message(t.Context(), json.RawMessage(msg))
	if err != nil {
		return "error: " + err.Error()
	}
	return string(a)
}

func TestRelay(t *testing.T) {
	var calls []string
	r := NewRelay(RelayOptions{Name: "mail", Tools: []string{"read"}, Start: start(polite), Called: func(method, tool, refused string) error {
		calls = append(calls, strings.TrimSpace(method+" "+tool+" "+refused))
		if tool == "unrecorded" {
			return errors.New("the disk is full")
		}
		return nil
	}})
	defer r.Close()
	tests := []struct{ name, msg, want string }{
		{"before initialize", callOf(1, "read"), "has to be initialize"},
		{"initialize", initialize, `"id":0,"result":{"serverInfo":{"name":"x"}}`},
		{"once more, as after a reconnect", strings.Replace(initialize, `"id":0`, `"id":"again"`, 1), `"id":"again","result":{"serverInfo":{"name":"x"}}`},
		{"a notification", `{"method":"notifications/initialized"}`, ""},
		{"a call", callOf(7, "read"), `"id":7,"result":{"said":"read"}`},
		{"a tool that is not allowed", callOf(8, "send"), `there are read`},
		{"two names", `{"id":9,"method":"tools/call","params":{"name":"send","name":"read"}}`, `"said":"read"`},
		{"two names by case", `{"id":9,"method":"tools/call","params":{"name":"read","Name":"send"}}`, "could be read as name"},
		{"no record", callOf(10, "unrecorded"), "cannot record"},
		{"a batch", "[" + callOf(1, "read") + "]", "error: this is not a JSON-RPC message"},
		{"garbage", "{", "error: this is not a JSON-RPC message"},
		{"an id that is an object", `{"id":{},"method":"ping"}`, "error: this is not a JSON-RPC message"},
		{"an answer nobody asked for", `{"id":1,"result":{}}`, ""},
		{"too long", `{"x":"` + strings.Repeat("x", maxAsked) + `"}`, "error: the message is longer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := tell(t, r, test.msg)
			if !strings.Contains(got, test.want) || test.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if got := strings.Join(calls, "\n"); !strings.Contains(got, "tools/call send the owner has not allowed") || !strings.Contains(got, "tools/call read") {
		t.Errorf("recorded:\n%s", got)
	}
	r.Close()
	if got := tell(t, r, callOf(1, "read")); got != "error: "+ErrClosed.Error() {
		t.Errorf("after Close: %q", got)
	}
}

// What a server says by itself reaches nobody: requests are refused, and an
// answer under a number that was not asked for is dropped.
func TestRelayServerIsHostile(t *testing.T) {
	refused := make(chan string, 10)
	r := NewRelay(RelayOptions{Start: start(func(e envelope) (string, error) {
		switch {
		case e.Method == "initialize":
			line, _ := polite(e)
			return "hello, I print things\n" + line + "\n" + `{"id":99,"result":"forged"}` + "\n" +
				`{"id":"s","method":"sampling/createMessage","params":{}}` + "\n" + `{"id":"p","method":"ping"}` + "\n[1,2]\n{}", nil
		case e.Method == "":
			refused <- string(e.ID) + string(e.Error) + string(e.Result)
			return "", nil
		}
		return polite(e)
	})})
	defer r.Close()
	tell(t, r, initialize)
	for range 2 {
		switch got := <-refused; {
		case strings.HasPrefix(got, `"s"`) && !strings.Contains(got, "-32601"), strings.HasPrefix(got, `"p"`) && got != `"p"{}`:
			t.Errorf("the server was told %s", got)
		}
	}
	if got := tell(t, r, callOf(99, "read")); !strings.Contains(got, `"said":"read"`) {
		t.Errorf("got %q", got)
	}
}

// A server whose lines have no end is ended, and nobody waits for it.
func TestRelayLongLine(t *testing.T) {
	long := strings.Repeat("x", maxSaid+1)
	r := NewRelay(RelayOptions{Name: "loud", Start: start(func(e envelope) (string, error) {
		if e.Method == "tools/call" {
			return long, nil
		}
		return polite(e)
	})})
	defer r.Close()
	tell(t, r, initialize)
	if got := tell(t, r, callOf(1, "read")); !strings.Contains(got, "a line of more than 16 MiB") {
		t.Errorf("got %.200q", got)
	}
}

// A program that ends is started again and initialised as before, after a while
// that grows; one that lived long is started at once.
func TestRelayRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var starts, helloes atomic.Int32
		play := start(func(e envelope) (string, error) {
			if e.Method == "initialize" {
				helloes.Add(1)
			}
			if strings.Contains(string(e.Params), "die") {
				return "", errors.New("dead")
			}
			return polite(e)
		})
		r := NewRelay(RelayOptions{Name: "weak", Start: func(ctx context.Context) (Process, error) { starts.Add(1); return play(ctx) }})
		defer r.Close()
		tell(t, r, initialize)
		wait := time.Second
		for range 4 {
			if got := tell(t, r, callOf(1, "die")); !strings.Contains(got, "its program ended") {
				t.Fatalf("got %q", got)
			}
			synctest.Wait()
			if got := tell(t, r, callOf(2, "read")); !strings.Contains(got, "is started again in "+wait.String()) {
				t.Fatalf("want a wait of %v, got %q", wait, got)
			}
			time.Sleep(wait)
			if got := tell(t, r, callOf(3, "read")); !strings.Contains(got, `"said":"read"`) {
				t.Fatalf("after %v: %q", wait, got)
			}
			wait *= 2
		}
		if starts.Load() != 5 || helloes.Load() != 5 {
			t.Errorf("%d starts, %d initialised", starts.Load(), helloes.Load())
		}
		time.Sleep(2 * healthy)
		tell(t, r, callOf(1, "die"))
		synctest.Wait()
		if got := tell(t, r, callOf(2, "read")); !strings.Contains(got, "again in 1s") {
			t.Errorf("after a long life: %q", got)
		}
	})
}

// Whoever gives up waiting does not keep the program from starting, and a
// request that is withdrawn, or takes too long, is withdrawn there too.
func TestRelayWithdraws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		play := start(func(e envelope) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, e.Method+string(e.Params))
			if e.Method == "tools/call" {
				return "", nil // never answered
			}
			return polite(e)
		})
		r := NewRelay(RelayOptions{Name: "slow", Timeout: time.Minute, Start: func(ctx context.Context) (Process, error) {
			time.Sleep(10 * time.Second)
			return play(ctx)
		}})
		defer r.Close()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if a, err := r.Message(short, json.RawMessage(initialize)); err != nil || !strings.Contains(string(a), "not ready yet") {
			t.Errorf("got %s, %v", a, err)
		}
		if got := tell(t, r, initialize); !strings.Contains(got, "serverInfo") {
			t.Errorf("got %q", got)
		}
		if got := tell(t, r, callOf(5, "read")); !strings.Contains(got, "did not answer in time") {
			t.Errorf("got %q", got)
		}
		go func() {
			time.Sleep(time.Second)
			r.Message(t.Context(), json.RawMessage(`{"method":"notifications/cancelled","params":{"requestId":6}}`))
		}()
		if got := tell(t, r, callOf(6, "read")); !strings.Contains(got, "withdrawn") {
			t.Errorf("got %q", got)
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(told, " "); strings.Count(got, `notifications/cancelled{"requestId":`) != 2 {
			t.Errorf("the program was told %s", got)
		}
	})
}

// FuzzRelayMessage: whatever an agent says, the program gets lines that are one
// JSON-RPC message each, and never a call of a tool that is not allowed.
func FuzzRelayMessage(f *testing.F) {
	for _, s := range []string{initialize, callOf(1, "read"), `{"id":1,"method":"tools/call","params":{"name":"x","name":"read"}}`, "[]", `{"id":"\n","method":"a\nb"}`} {
		f.Add([]byte(s))
	}
	r := &Relay{o: RelayOptions{Tools: []string{"read"}}}
	f.Fuzz(func(t *testing.T, msg []byte) {
		e, err := read(msg)
		if err != nil {
			return
		}
		if _, e.Params, err = r.judge(e); err != nil {
			return
		}
		line := string(e.line())
		var m struct {
			Method string
			Params json.RawMessage
		}
		if strings.Count(line, "\n") != 1 || json.Unmarshal([]byte(line), &m) != nil {
			t.Fatalf("%q became %q", msg, line)
		}
		var p struct{ Name string }
		if json.Unmarshal(m.Params, &p); m.Method == "tools/call" && p.Name != "read" {
			t.Errorf("%q became a call of %q", msg, p.Name)
		}
	})
}
