package webserve

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestGuard(t *testing.T) {
	loopback := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8377}
	public := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 8377}
	for _, tt := range []struct {
		name   string
		addr   net.Addr
		host   string
		header http.Header
		want   int
	}{
		{"by its address", loopback, "127.0.0.1:8377", nil, 200},
		{"as localhost", loopback, "LocalHost:8377", nil, 200},
		{"by a name of the configuration", loopback, "Hooks.example.com", nil, 200},
		{"by that name with a port", loopback, "hooks.example.com:8377", nil, 421},
		{"by a name that somebody points here", loopback, "evil.example:8377", nil, 421},
		{"by a name that begins like it", loopback, "127.0.0.1.evil.example:8377", nil, 421},
		{"by another port", loopback, "127.0.0.1:80", nil, 421},
		{"by no port", loopback, "127.0.0.1", nil, 421},
		{"by no name", loopback, "", nil, 421},
		{"as localhost where it is none", public, "localhost:8377", nil, 421},
		{"by a public address", public, "192.0.2.7:8377", nil, 200},
		{"by a page", loopback, "127.0.0.1:8377", http.Header{"Origin": {"http://127.0.0.1:8377"}}, 403},
		{"by a picture of a page", loopback, "127.0.0.1:8377", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reached := false
			h := Guard(tt.addr, []string{"hooks.example.com"}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
			r, w := httptest.NewRequest("POST", "/x", nil), httptest.NewRecorder()
			r.Host = tt.host
			for k, v := range tt.header {
				r.Header[k] = v
			}
			h.ServeHTTP(w, r)
			if w.Code != tt.want || reached != (tt.want == 200) {
				t.Errorf("answered %d, reached %v", w.Code, reached)
			}
		})
	}
}

func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)}
	l, err := Listen(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, l, o, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { Answer(w, 200, "hi") }))
	}()
	a, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(a.Body)
	a.Body.Close()
	if strings.TrimSpace(string(body)) != `"hi"` || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%q %v", body, a.Header)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if _, err := Listen(t.Context(), Options{Listen: "127.0.0.1:99999"}); err == nil {
		t.Error("there is no such port")
	}
}

func TestRate(t *testing.T) {
	r, now := Rate{Burst: 2, Every: time.Second}, time.Unix(1000, 0)
	take := func(name string, after time.Duration, want bool) {
		t.Helper()
		ok, wait := r.Take(name, now.Add(after))
		if ok != want || !ok && (wait <= 0 || wait > time.Second) {
			t.Errorf("%s after %v: %v, %v", name, after, ok, wait)
		}
	}
	take("a", 0, true)
	take("a", 0, true)
	take("a", 0, false)
	take("b", 0, true)
	take("a", 500*time.Millisecond, false)
	take("a", 1100*time.Millisecond, true)
	take("a", 900*time.Millisecond, false) // a clock that goes back gives nothing
	for i := range maxBuckets * 2 {
		r.Take(strings.Repeat("x", i), now.Add(time.Hour))
	}
	if len(r.buckets) > maxBuckets {
		t.Errorf("%d names are counted", len(r.buckets))
	}
	r.Take("late", now.Add(2*time.Hour))
	if len(r.buckets) != 1 {
		t.Errorf("%d names are kept that say nothing", len(r.buckets))
	}
}
