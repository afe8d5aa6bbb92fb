package egress

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// harmless is a guard that lets no message with the word evil in, refuses calls of
// the tool refused, and gives params of its own to those of changed.
type harmless struct{}

func (harmless) Request(method string, params json.RawMessage) (json.RawMessage, error) {
	switch {
	case strings.Contains(string(params), `"refused"`):
		return nil, errors.New("the owner has not consented")
	case strings.Contains(string(params), `"changed"`):
		return json.RawMessage(`{"name":"changed","arguments":{}}`), nil
	}
	return nil, nil
}

func (harmless) Said(msg json.RawMessage) json.RawMessage {
	var v any
	if json.Unmarshal(msg, &v) != nil || strings.Contains(fmt.Sprint(v), "evil") {
		return json.RawMessage(`{}`)
	}
	return msg
}

// What a guard does not let in does not get in, in whatever form a server sends
// it; and what it lets pass arrives.
func TestMCPGuardHears(t *testing.T) {
	const evil, good = `{"id":7,"result":"evil"}`, `{"id":7,"result":"good"}`
	tests := []struct {
		name, kind, said string
		status           int
		want             string
	}{
		{"a message", "application/json", good, 200, good},
		{"an evil one", "application/json", evil, 200, `{}`},
		{"by escapes", "application/json; charset=utf-8", `{"result":"\u0065vil"}`, 200, `{}`},
		{"two kinds", "text/plain, application/json", evil, 200, `{}`},
		{"a kind in capitals", "Application/JSON", evil, 200, `{}`},
		{"no JSON", "application/json", evil + "x", 200, "is not"},
		{"nothing", "application/json", "", 202, ""},
		{"an event", "text/event-stream", "event: message\nid: 1\ndata: " + good + "\n\n", 200, "event: message\nid: 1\ndata: " + good + "\n\n"},
		{"an evil event", "text/event-stream", "data: " + evil + "\n\n", 200, "data: {}\n\n"},
		{"in pieces", "text/event-stream", "data: {\"id\":7,\ndata:\"result\":\"evil\"}\n\n", 200, "data: {}\n\n"},
		{"with CR LF", "text/event-stream", "data: " + evil + "\r\n\r\n", 200, "data: {}\n\n"},
		{"with CR", "text/event-stream", "data: {\rdata: \"id\":\"evil\"}\r\r", 200, "data: {}\n\n"},
		{"after a byte order mark", "text/event-stream", "\ufeffdata: " + evil + "\n\n", 200, "data: {}\n\n"},
		{"no message", "text/event-stream", "data: evil\n\ndata: " + good + "\n\n", 200, "data: " + good + "\n\n"},
		{"comments and other fields", "text/event-stream", ": here\nfoo: bar\nretry: 5\n\n", 200, ": here\nretry: 5\n\n"},
		{"an event that does not end", "text/event-stream", "data: " + good + "\n", 200, ""},
		{"an error in words", "text/plain", "no", 500, "no"},
	}
	var kind, said string
	var status int
	w := newWorld(t)
	w.guard = harmless{}
	url, _ := w.tracker(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", kind)
		rw.WriteHeader(status)
		io.WriteString(rw, said)
	})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			kind, said, status = test.kind, test.said, test.status
			_, _, body := send(t, client(t), "POST", url, listCall)
			if test.name == "no JSON" && strings.Contains(body, test.want) && !strings.Contains(body, "evil") {
				return
			}
			if body != test.want {
				t.Errorf("got %q, want %q", body, test.want)
			}
		})
	}
}

// An answer that cannot be looked at is refused.
func TestMCPGuardEncoded(t *testing.T) {
	w := newWorld(t)
	w.guard = harmless{}
	url, _ := w.tracker(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("Content-Encoding", "gzip")
		io.WriteString(rw, "evil")
	})
	if status, _, body := send(t, client(t), "POST", url, listCall); status != 502 || strings.Contains(body, "evil") {
		t.Errorf("got %d %q", status, body)
	}
}

// What a guard refuses does not go out, and what it gives in the place of params
// does.
func TestMCPGuardAsks(t *testing.T) {
	w := newWorld(t)
	w.guard = harmless{}
	var got []string
	url, _ := w.tracker(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, string(body))
	})
	for _, tool := range []string{"refused", "changed", "other"} {
		_, _, body := send(t, client(t), "POST", url, fmt.Sprintf(`{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":%q,"more":1}}`, tool))
		if tool == "refused" && (!strings.Contains(body, "not consented") || !strings.Contains(body, `"id":"x"`)) {
			t.Errorf("refused with %q", body)
		}
	}
	want := []string{`{"id":"x","jsonrpc":"2.0","method":"tools/call","params":{"name":"changed","arguments":{}}}`, `{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"other","more":1}}`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("went out:\n%s", strings.Join(got, "\n"))
	}
	if e := w.closes(3)[0]; e.Verdict != Refused || e.RPC != "tools/call" || e.Tool != "refused" {
		t.Errorf("the audit says %+v", e)
	}
}

// A guarded stream arrives event by event, before the next one is there.
func TestMCPGuardStreams(t *testing.T) {
	w := newWorld(t)
	w.guard = harmless{}
	next := make(chan string)
	url, _ := w.tracker(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case s := <-next:
				io.WriteString(rw, s)
				rw.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { next <- "data: 0\r\n\r" }()
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	for i := range 3 {
		text := ""
		for range 2 {
			line, err := in.ReadString('\n')
			if text += line; err != nil {
				t.Fatal(err)
			}
		}
		if want := fmt.Sprintf("data: %d\n\n", i); text != want {
			t.Fatalf("got %q", text)
		}
		next <- fmt.Sprintf("\ndata: %d\r\n\r", i+1)
	}
}

// FuzzMCPEvents: whatever a server streams, an agent's reading of what comes
// through holds no message that the guard did not let in.
func FuzzMCPEvents(f *testing.F) {
	for _, s := range []string{"data: {\"a\":\"evil\"}\n\n", "data:{\rdata:\"a\":\"evil\"}\r\r", ": c\nid: 1\ndata: 1\n\n", "\ufeffdata: 1\r\n\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, stream string) {
		out, err := io.ReadAll(&heardEvents{from: bufio.NewReader(strings.NewReader(stream)), said: harmless{}.Said})
		if err != nil {
			t.Fatal(err)
		}
		for event := range strings.SplitSeq(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(out)), "\n\n") {
			var data []string
			for line := range strings.SplitSeq(strings.TrimPrefix(event, "\ufeff"), "\n") {
				if d, ok := strings.CutPrefix(line, "data:"); ok {
					data = append(data, strings.TrimPrefix(d, " "))
				}
			}
			text := strings.Join(data, "\n")
			var v any
			if json.Unmarshal([]byte(text), &v) == nil && strings.Contains(fmt.Sprint(v), "evil") {
				t.Errorf("%q became %q", stream, out)
			}
		}
	})
}
