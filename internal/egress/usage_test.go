package egress

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/config"
)

// answered is a stream as the Messages API sends one.
const answered = "event: message_start\n" +
	`data: {"type":"message_start","message":{"type":"message","model":"claude-x","usage":{"input_tokens":25,"cache_read_input_tokens":1000,"cache_creation_input_tokens":7,"output_tokens":1}}}` + "\n\n" +
	"event: ping\ndata: {\"type\":\"ping\"}\n\n" +
	"event: content_block_delta\n" +
	`data: {"type":"content_block_delta","delta":{"text":"event: message_delta\ndata: {\"usage\":{\"output_tokens\":999}}\n"}}` + "\n\n" +
	"event: message_delta\n" +
	`data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":42,"server_tool_use":{"web_search_requests":2}}}` + "\n\n" +
	"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"

func TestUsage(t *testing.T) {
	full := &Usage{Model: "claude-x", Input: 25, CacheRead: 1000, CacheWrite: 7, Output: 42, Searches: 2}
	begun := &Usage{Model: "claude-x", Input: 25, CacheRead: 1000, CacheWrite: 7, Output: 1, Partial: true}
	const sse, whole = "text/event-stream; charset=utf-8", "application/json"
	for _, tt := range []struct {
		name, kind, encoding, body string
		status                     int
		want                       *Usage
	}{
		{"a stream", sse, "", answered, 200, full},
		{"with other line ends", sse, "", strings.ReplaceAll(answered, "\n", "\r\n"), 200, full},
		{"cut off", sse, "", answered[:strings.Index(answered, "event: message_delta\ndata: {\"type\"")], 200, begun},
		{"cut off in a line", sse, "", answered[:strings.Index(answered, "end_turn")], 200, begun},
		{"more after its end", sse, "", answered + strings.ReplaceAll(answered, "42", "7"), 200, full},
		{"a line too long to be of interest", sse, "", "event: message_delta\ndata: {\"usage\":{\"output_tokens\":9}," + strings.Repeat(" ", maxEvent) + "}\n\n" + answered, 200, full},
		{"numbers that are none", sse, "", "event: message_delta\n" + `data: {"usage":{"input_tokens":-5,"output_tokens":99999999999999}}` + "\n\n", 200, &Usage{Partial: true}},
		{"numbers of another kind", sse, "", "event: message_delta\ndata: {\"usage\":{\"output_tokens\":\"9\"}}\n\n", 200, nil},
		{"no JSON", sse, "", "event: message_start\ndata: hello\n\n", 200, nil},
		{"empty", sse, "", "", 200, nil},
		{"whole", whole, "", `{"type":"message","model":"claude-x","content":[{"type":"text","text":"\"usage\":{\"output_tokens\":999}"}],"usage":{"input_tokens":3,"output_tokens":4}}`, 200,
			&Usage{Model: "claude-x", Input: 3, Output: 4}},
		{"a count of tokens", whole, "", `{"input_tokens":1000}`, 200, nil},
		{"whole and too large", whole, "", `{"type":"message","usage":{"output_tokens":4},"x":"` + strings.Repeat("x", maxWhole) + `"}`, 200, nil},
		{"an error", whole, "", `{"type":"message","usage":{"output_tokens":4}}`, 529, nil},
		{"encoded", sse, "gzip", answered, 200, nil},
		{"of another form", "text/plain", "", answered, 200, nil},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			m := newTally(tt.status, tt.kind, tt.encoding)
			for rest := tt.body; rest != ""; {
				n := min(size, len(rest))
				m.see([]byte(rest[:n]), n == len(rest))
				rest = rest[n:]
			}
			if d := cmp.Diff(tt.want, m.result()); d != "" {
				t.Errorf("%s in pieces of %d: -want +got:\n%s", tt.name, size, d)
			}
		}
	}
}

// What an answer cost is known before the agent can see that it is over, and stands
// in the audit.
func TestUsageBeforeTheEnd(t *testing.T) {
	body := map[bool]string{true: answered, false: `{"type":"message","model":"claude-x","usage":{"input_tokens":25,"cache_read_input_tokens":1000,"cache_creation_input_tokens":7,"output_tokens":42,"server_tool_use":{"web_search_requests":2}}}`}
	for _, stream := range []bool{true, false} {
		for _, length := range []bool{true, false} {
			t.Run(fmt.Sprintf("stream %v, length %v", stream, length), func(t *testing.T) { usageBeforeTheEnd(t, body[stream], stream, length) })
		}
	}
}

func usageBeforeTheEnd(t *testing.T, body string, stream, length bool) {
	w := newWorld(t)
	used := make(chan Usage, 10)
	hold := make(chan struct{})
	u, asked := upstream(t, config.Model{APIKey: "sk-real"}, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", map[bool]string{true: "text/event-stream", false: "application/json"}[stream])
		if length {
			rw.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		io.WriteString(rw, body)
		rw.(http.Flusher).Flush()
		if stream && !length {
			<-hold // the connection stays open after the last event
		}
	})
	url, _ := w.modelURL(u, func(o *Options) { o.Used = func(u Usage) { used <- u } })
	resp, err := client(t).Post(url+"/v1/messages", "application/json", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(body))
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != body {
		t.Errorf("the agent got %q, %v", got, err)
	}
	want := Usage{Model: "claude-x", Input: 25, CacheRead: 1000, CacheWrite: 7, Output: 42, Searches: 2}
	if stream || length {
		select {
		case u := <-used:
			if u != want {
				t.Errorf("used %+v", u)
			}
		default:
			t.Error("the agent had the whole answer before its cost was known")
		}
	}
	close(hold)
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if ev := w.closes(1)[0]; ev.Usage == nil || *ev.Usage != want {
		t.Errorf("event %+v", ev)
	}
	if e := asked.all()[0].Header.Get("Accept-Encoding"); e != "identity" {
		t.Errorf("the upstream was asked for the encoding %q", e)
	}
}

// Each message to the model is admitted before anything goes out, what is refused
// never does, and the end of what was admitted is told once with what it cost.
func TestAdmit(t *testing.T) {
	w := newWorld(t)
	u, asked := upstream(t, config.Model{APIKey: "sk-real"}, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(rw, answered)
	})
	var full atomic.Bool
	sizes, ends := make(chan int, 10), make(chan Served, 10)
	url, _ := w.modelURL(u, func(o *Options) {
		o.Admit = func(_ context.Context, size int) (func(Served), string) {
			if full.Load() {
				return nil, "the budget is used up"
			}
			sizes <- size
			return func(r Served) { ends <- r }, ""
		}
	})
	post := func(path string) (int, string) {
		resp, err := client(t).Post(url+path, "application/json", strings.NewReader(`{"a":1}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if code, text := post("/v1/messages?beta=true"); code != 403 { // no such field passes
		t.Errorf("%d %s", code, text)
	}
	ok := func(path string) int {
		resp, err := client(t).Post(url+path, "application/json", strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	if ok("/v1/messages") != 200 || ok("/v1/messages/count_tokens") != 200 {
		t.Error("what is admitted does not pass")
	}
	if size, end := <-sizes, <-ends; size != 2 || !end.Answered || end.Usage == nil || end.Usage.Output != 42 || end.Down != int64(len(answered)) {
		t.Errorf("admitted %d bytes, ended %+v", size, end)
	}
	full.Store(true)
	before := len(asked.all())
	if code := ok("/v1/messages"); code != 403 || len(asked.all()) != before {
		t.Errorf("status %d, %d requests went out", code, len(asked.all())-before)
	}
	if len(sizes) != 0 || len(ends) != 0 {
		t.Error("somebody else was asked or told")
	}
}

// FuzzUsage: what is read does not depend on how the stream is cut into pieces, and
// is never negative.
func FuzzUsage(f *testing.F) {
	f.Add(answered, 3)
	f.Add("event:message_stop\n\ndata:\nevent: message_delta\r\ndata: {}\n", 1)
	f.Fuzz(func(t *testing.T, stream string, size int) {
		size = max(1, size%100)
		one, many := newTally(200, "text/event-stream", ""), newTally(200, "text/event-stream", "")
		one.see([]byte(stream), true)
		for rest := stream; rest != ""; {
			n := min(size, len(rest))
			many.see([]byte(rest[:n]), n == len(rest))
			rest = rest[n:]
		}
		if d := cmp.Diff(one.result(), many.result()); d != "" {
			t.Error(d)
		}
		if u := one.result(); u != nil && (u.Input < 0 || u.Output < 0 || u.CacheRead < 0 || u.CacheWrite < 0) {
			t.Errorf("%+v", u)
		}
	})
}

// BenchmarkUsage is what reading the usage adds to one event of a stream.
func BenchmarkUsage(b *testing.B) {
	event := []byte("event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a few words "}}` + "\n\n")
	m := newTally(200, "text/event-stream", "")
	b.ReportAllocs()
	for b.Loop() {
		m.see(event, false)
	}
}
