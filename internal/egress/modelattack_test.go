package egress

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/config"
)

// TestModelSmuggling writes requests that two readers could understand differently,
// as a program inside can. What reaches the model is in each case what was judged, in
// the gateway's own words, or nothing.
func TestModelSmuggling(t *testing.T) {
	const evil = `{"mcp_servers":[{"url":"https://smuggled.test"}]}`
	post := func(header, body string) string {
		return "POST /v1/messages HTTP/1.1\r\nHost: smuggled.test\r\n" + header + "\r\n" + body
	}
	inner := fmt.Sprintf("POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(evil), evil)
	for _, tt := range []struct {
		name, raw string
		answers   string // statuses, until the connection ends
		bodies    string // what the model was asked
	}{
		{"plain", post("Content-Length: 2\r\n", "{}"), "200", "{}"},
		{"two lengths", post("Content-Length: 2\r\nContent-Length: 40\r\n", "{}"), "400", ""},
		{"a length and chunks", post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "3\r\n{ }\r\n0\r\n\r\n"), "200", "{ }"},
		{"chunks, then a request of its own", post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"+inner), "200 404", "{}"},
		{"a length, then a request of its own", post("Content-Length: 2\r\n", "{}"+inner), "200 404", "{}"},
		{"another transfer encoding", post("Transfer-Encoding: xchunked\r\n", "{}"), "501", ""},
		{"two transfer encodings", post("Transfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), "501", ""},
		{"a chunk that is too large to be one", post("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFFF\r\n{}"), "400", ""},
		{"a negative length", post("Content-Length: -2\r\n", "{}"), "400", ""},
		{"less than was said", post("Content-Length: 20\r\n", "{}"), "400", ""},
		{"a key after the chunks", post("Transfer-Encoding: chunked\r\nTrailer: X-Api-Key\r\n", "2\r\n{}\r\n0\r\nX-Api-Key: smuggled\r\n\r\n"), "200", "{}"},
		{"a key in a folded line", post("X-App: a\r\n X-Api-Key: sk\r\nContent-Length: 2\r\n", "{}"), "200", "{}"},
		{"a key before a space", post("X-Api-Key : smuggled\r\nContent-Length: 2\r\n", "{}"), "400", ""},
		{"a key by another line end", post("X-App: a\rX-Api-Key: smuggled\r\nContent-Length: 2\r\n", "{}"), "400", ""},
		{"a zero byte", post("X-App: a\x00b\r\nContent-Length: 2\r\n", "{}"), "400", ""},
		{"a key with underscores", post("x_api_key: smuggled\r\nContent-Length: 2\r\n", "{}"), "200", "{}"},
		{"a key that the connection names", post("Connection: Anthropic-Version, X-Api-Key\r\nX-Api-Key: smuggled\r\nContent-Length: 2\r\n", "{}"), "200", "{}"},
		{"another encoding of characters", post("Content-Type: application/json; charset=utf-7\r\nContent-Length: 2\r\n", "{}"), "200", "{}"},
		{"an upgrade", post("Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 2\r\n", "{}"), "200", "{}"},
		{"the other protocol", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "404", ""},
		{"an older protocol", "POST /v1/messages HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", "200", "{}"},
		{"no host", "POST /v1/messages HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "400", ""},
	} {
		t.Run(tt.name, func(t *testing.T) { smuggle(t, tt.raw, tt.answers, tt.bodies) })
	}
}

func smuggle(t *testing.T, raw, answers, bodies string) {
	w := newWorld(t)
	var mu sync.Mutex
	var got []string
	u, asked := upstream(t, config.Model{APIKey: "sk-real"}, func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, string(b))
		if len(r.TransferEncoding) > 0 || r.ContentLength != int64(len(b)) || len(r.Trailer) > 0 || r.Method != "GET" && r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("the model was asked in a form that is not ours: %v %v %d %v", r.TransferEncoding, r.Trailer, r.ContentLength, r.Header)
		}
	})
	url, _ := w.modelURL(u)
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, raw)
	if strings.Contains(raw, "Content-Length: 20\r\n") {
		c.(*net.TCPConn).CloseWrite() // elsewhere it would be the client going away
	}
	var codes []string
	for r := bufio.NewReader(c); len(codes) < len(strings.Fields(answers)); {
		resp, err := http.ReadResponse(r, &http.Request{Method: "POST"})
		if err != nil {
			codes = append(codes, err.Error())
			break
		}
		io.Copy(io.Discard, resp.Body)
		codes = append(codes, fmt.Sprint(resp.StatusCode))
	}
	if d := cmp.Diff(answers, strings.Join(codes, " ")); d != "" {
		t.Errorf("answers -want +got:\n%s", d)
	}
	mu.Lock()
	defer mu.Unlock()
	if d := cmp.Diff(bodies, strings.Join(got, " ")); d != "" {
		t.Errorf("the model was asked -want +got:\n%s", d)
	}
	for _, r := range asked.all() {
		if all := fmt.Sprint(r.Header, r.Host, r.RequestURI, r.Trailer); strings.Contains(all, "smuggled") || r.Header.Get("X-Api-Key") != "sk-real" {
			t.Errorf("the model was asked with %s", all)
		}
	}
}

// TestModelOverload: an answer that says to wait passes as it is, with when.
func TestModelOverload(t *testing.T) {
	for status, body := range map[int]string{
		429: `{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`,
		529: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`,
		503: "busy", 500: "", 400: `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long"}}`,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			w := newWorld(t)
			want := map[string]string{
				"Content-Type": "application/json", "Retry-After": "17", "Retry-After-Ms": "17000", "X-Should-Retry": "true", "Request-Id": "req_1",
				"Anthropic-Ratelimit-Requests-Limit": "50", "Anthropic-Ratelimit-Requests-Remaining": "0", "Anthropic-Ratelimit-Requests-Reset": "2026-11-22T18:00:00Z",
				"Anthropic-Ratelimit-Tokens-Reset": "2026-11-22T18:00:01Z", "Anthropic-Ratelimit-Unified-Reset": "1795370400", "Content-Length": fmt.Sprint(len(body)),
			}
			u, asked := upstream(t, config.Model{APIKey: "sk-real"}, func(rw http.ResponseWriter, _ *http.Request) {
				for name, value := range want {
					rw.Header().Set(name, value)
				}
				rw.WriteHeader(status)
				io.WriteString(rw, body)
			})
			url, _ := w.modelURL(u)
			code, header, got := send(t, client(t), "POST", url+"/v1/messages", "{}")
			if code != status || got != body || len(asked.all()) != 1 {
				t.Errorf("answer %d %s after %d requests", code, got, len(asked.all()))
			}
			for name, value := range want {
				if header.Get(name) != value {
					t.Errorf("%s: %q, want %q", name, header.Get(name), value)
				}
			}
			if ev := w.closes(1)[0]; ev.Status != status || ev.Usage != nil || ev.Verdict != Allowed {
				t.Errorf("event %+v", ev)
			}
		})
	}
}

// TestModelClientGoesAway: whoever goes away in the middle of an answer, or before
// it, ends the request at the model too, which would otherwise go on and be charged.
func TestModelClientGoesAway(t *testing.T) {
	for _, begun := range []bool{true, false} {
		t.Run(fmt.Sprintf("the answer has begun: %v", begun), func(t *testing.T) {
			w := newWorld(t)
			heard, ended := make(chan struct{}), make(chan struct{})
			u, _ := upstream(t, config.Model{APIKey: "sk-real"}, func(rw http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				if begun {
					io.WriteString(rw, "event: ping\n\n")
					rw.(http.Flusher).Flush()
				}
				close(heard)
				<-r.Context().Done()
				close(ended)
			})
			url, _ := w.modelURL(u)
			c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(c, "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
			<-heard
			if begun {
				if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
					t.Fatal(err)
				}
			}
			c.Close()
			<-ended
			if ev := w.closes(1)[0]; ev.Reason == "" || ev.Took == 0 {
				t.Errorf("event %+v", ev)
			}
		})
	}
}
