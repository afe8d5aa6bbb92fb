package egress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/config"
	"nanoclaw/internal/credential"
)

// issuer is a token endpoint on loopback. It takes each refresh token once.
type issuer struct {
	*httptest.Server
	mu    sync.Mutex
	asked []url.Values
	basic []string // user:password of each
	now   int      // the number of the token that is good
	// hold, if not nil, holds answers up; answer, if not nil, is given instead.
	hold   chan struct{}
	began  chan struct{}
	answer http.HandlerFunc
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{began: make(chan struct{}, 100)}
	i.Server = httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) serve(w http.ResponseWriter, r *http.Request) {
	r.ParseForm()
	user, password, _ := r.BasicAuth()
	i.began <- struct{}{}
	i.mu.Lock()
	i.asked, i.basic = append(i.asked, r.PostForm), append(i.basic, user+":"+password)
	hold, answer := i.hold, i.answer
	i.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if answer != nil {
		answer(w, r)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.PostForm.Get("refresh_token") != fmt.Sprint("refresh-", i.now) {
		w.WriteHeader(400)
		io.WriteString(w, `{"error":"invalid_grant","error_description":"refresh-leak"}`)
		return
	}
	i.now++
	json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprint("access-", i.now), "token_type": "bearer", "expires_in": 3600, "refresh_token": fmt.Sprint("refresh-", i.now)})
}

func (i *issuer) asks() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

// kept is where renewed credentials are stored.
type kept struct {
	mu   sync.Mutex
	list []credential.Credential
	err  error
}

func (k *kept) keep(_, next credential.Credential) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		k.list = append(k.list, next)
	}
	return k.err
}

// renewed is an upstream with a token that ends, whose model answers 401 to each
// but the good ones.
func renewed(t *testing.T, i *issuer, until time.Time, good func(auth string) bool) (*Upstream, *asked, *kept) {
	t.Helper()
	a, k := &asked{}, &kept{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.add(r)
		if !good(r.Header.Get("Authorization")) {
			w.WriteHeader(401)
			io.WriteString(w, "no: "+r.Header.Get("Authorization"))
			return
		}
		io.Copy(w, r.Body)
	}))
	t.Cleanup(s.Close)
	u, err := NewUpstream(Source{Provider: "corp", Getenv: env(), Renewed: k.keep,
		Model:  config.Model{BaseURL: s.URL, OAuth: config.OAuth{TokenURL: i.URL, ClientID: "nanoclaw", ClientSecret: "s3cret&"}},
		Stored: &credential.Credential{Kind: credential.AuthToken, Value: "access-0", Endpoint: s.URL, Until: until, Refresh: "refresh-0", TokenURL: i.URL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u, a, k
}

func is(want string) func(string) bool {
	return func(auth string) bool { return auth == "Bearer "+want }
}

// A token that was refused is renewed and the request sent again, once: a burst of
// requests makes one exchange, and what it brings is stored.
func TestRenewAfterRefusal(t *testing.T) {
	w, i := newWorld(t), newIssuer(t)
	u, _, k := renewed(t, i, time.Time{}, is("access-1"))
	url, _ := w.modelURL(u)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			r, _ := http.NewRequest("POST", url+"/v1/messages", strings.NewReader(`{"model":"m"}`))
			resp, err := client(t).Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(b) != `{"model":"m"}` || err != nil {
				t.Errorf("answer %d %s, %v", resp.StatusCode, b, err)
			}
		})
	}
	wg.Wait()
	if n := i.asks(); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
	got := i.asked[0]
	if got.Get("grant_type") != "refresh_token" || got.Get("refresh_token") != "refresh-0" || got.Has("client_secret") || i.basic[0] != "nanoclaw:s3cret%26" {
		t.Errorf("asked %v as %s", got, i.basic[0])
	}
	if c := k.list[0]; len(k.list) != 1 || c.Value != "access-1" || c.Refresh != "refresh-1" || time.Until(c.Until) < 50*time.Minute || c.TokenURL != i.URL {
		t.Errorf("kept %d, %+v", len(k.list), c.Until)
	}
	if !u.Holds(&k.list[0]) || u.Until() != k.list[0].Until {
		t.Error("the upstream does not hold what was stored")
	}
	for _, ev := range w.closes(8) {
		if j, _ := json.Marshal(ev); ev.Verdict != Allowed || strings.Contains(string(j), "access-") {
			t.Errorf("event %s", j)
		}
	}
}

// One that ends soon is renewed before it is sent; while the endpoint is down, it is
// sent as long as it is good.
func TestRenewAhead(t *testing.T) {
	i := newIssuer(t)
	sent := func(u *Upstream) (string, error) {
		r, _ := http.NewRequest("POST", u.base.String(), nil)
		err := u.authorize(t.Context(), r, nil)
		return r.Header.Get("Authorization"), err
	}
	u, _, _ := renewed(t, i, time.Now().Add(time.Hour), is("access-0"))
	if got, err := sent(u); got != "Bearer access-0" || err != nil || i.asks() != 0 {
		t.Errorf("not at its end: %s, %v, %d exchanges", got, err, i.asks())
	}
	u, _, _ = renewed(t, i, time.Now().Add(30*time.Second), is("access-1"))
	if got, err := sent(u); got != "Bearer access-1" || err != nil {
		t.Errorf("at its end: %s, %v", got, err)
	}
	i.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); io.WriteString(w, "refresh-0") }
	u, _, _ = renewed(t, i, time.Now().Add(30*time.Second), is("access-0"))
	if got, err := sent(u); got != "Bearer access-0" || err != nil {
		t.Errorf("the endpoint is down, the token good: %s, %v", got, err)
	}
	u, _, _ = renewed(t, i, time.Now().Add(-time.Second), is("access-0"))
	if got, err := sent(u); got != "" || err == nil || errors.Is(err, ErrLogin) || strings.Contains(err.Error(), "refresh-0") || !strings.Contains(err.Error(), "503") {
		t.Errorf("the endpoint is down, the token over: %s, %v", got, err)
	}
}

// A login that is over reaches the agent as a refusal that it does not repeat, and
// the owner in words; the endpoint is not asked again.
func TestRenewRefused(t *testing.T) {
	for _, tt := range []struct {
		name     string
		model    config.Model
		stored   func(endpoint, token string) *credential.Credential
		says     string
		exchange int
	}{
		{"the renewal", config.Model{}, func(e, token string) *credential.Credential {
			return &credential.Credential{Kind: credential.OAuthToken, Value: "sk-hunter2", Endpoint: e, Refresh: "refresh-hunter2", TokenURL: token}
		}, "its renewal was refused (invalid_grant). The owner has to log in again: nanoclaw login claude", 1},
		{"the token, and there is no other", config.Model{}, func(e, _ string) *credential.Credential {
			return &credential.Credential{Kind: credential.OAuthToken, Value: "sk-hunter2", Endpoint: e, Until: time.Now().Add(-time.Hour)}
		}, "does not accept the credential; it ended at ", 0},
		{"a refresh token for another endpoint", config.Model{}, func(e, _ string) *credential.Credential {
			return &credential.Credential{Kind: credential.OAuthToken, Value: "sk-hunter2", Endpoint: e, Refresh: "refresh-hunter2", TokenURL: "https://elsewhere.example"}
		}, "log in again", 0},
		{"a key of the configuration", config.Model{APIKey: "sk-hunter2"}, nil, "set a valid one in model.apiKey and restart nanoclaw", 0},
		{"none where one is needed", config.Model{}, nil, "store a credential: nanoclaw login claude", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, i := newWorld(t), newIssuer(t)
			s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Www-Authenticate", "sk-hunter2")
				rw.WriteHeader(401)
				io.WriteString(rw, r.Header.Get("Authorization"))
			}))
			t.Cleanup(s.Close)
			src := Source{Model: tt.model, Getenv: env(), Renewed: (&kept{}).keep}
			src.Model.BaseURL, src.Model.OAuth = s.URL, config.OAuth{TokenURL: i.URL, ClientID: "c"}
			if tt.stored != nil {
				src.Stored = tt.stored(s.URL, i.URL)
			}
			u, err := NewUpstream(src)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(u.Close)
			told := make(chan string, 10)
			url, _ := w.modelURL(u, func(o *Options) { o.Login = func(_ *Upstream, text string) { told <- text } })
			for range 2 {
				code, header, body := send(t, client(t), "POST", url+"/v1/messages", "{}")
				if all := fmt.Sprint(header, body); code != 403 || !strings.Contains(body, tt.says) || strings.Contains(all, "hunter2") || strings.Contains(all, "refresh-leak") {
					t.Errorf("answer %d %s", code, all)
				}
				if text := <-told; !strings.Contains(text, tt.says) || strings.Contains(text, "hunter2") {
					t.Errorf("the owner was told %q", text)
				}
			}
			if n := i.asks(); n != tt.exchange {
				t.Errorf("%d exchanges, want %d", n, tt.exchange)
			}
		})
	}
}

// A request that is given up does not break an exchange off, since its refresh
// token may be good only once; Close waits for it.
func TestRenewOutlivesItsRequest(t *testing.T) {
	i := newIssuer(t)
	i.hold = make(chan struct{})
	u, _, k := renewed(t, i, time.Now().Add(-time.Hour), is("access-1"))
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		r, _ := http.NewRequest("POST", u.base.String(), nil)
		gone <- u.authorize(ctx, r, nil)
	}()
	<-i.began
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the request that was given up: %v", err)
	}
	closed := make(chan struct{})
	go func() { u.Close(); close(closed) }()
	select {
	case <-closed:
		t.Error("Close did not wait for the exchange")
	default:
	}
	close(i.hold)
	<-closed
	if len(k.list) != 1 || k.list[0].Refresh != "refresh-1" {
		t.Errorf("kept %v", k.list)
	}
}

// What the owner stored meanwhile stays, and a token that cannot be stored is used
// all the same.
func TestRenewKeeps(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{{credential.ErrChanged, ""}, {errors.New("the disk is full"), "Bearer access-1"}} {
		i := newIssuer(t)
		u, _, k := renewed(t, i, time.Now().Add(-time.Hour), is("access-1"))
		k.err = tt.err
		r, _ := http.NewRequest("POST", u.base.String(), nil)
		err := u.authorize(t.Context(), r, nil)
		if got := r.Header.Get("Authorization"); got != tt.want || (err == nil) != (tt.want != "") || errors.Is(err, ErrLogin) {
			t.Errorf("%v: sent %q, %v", tt.err, got, err)
		}
	}
}

// The token endpoint is asked itself, and not what it points to.
func TestRenewIsNotRedirected(t *testing.T) {
	i := newIssuer(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the refresh token went elsewhere") }))
	t.Cleanup(elsewhere.Close)
	i.answer = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}
	u, _, _ := renewed(t, i, time.Now().Add(-time.Hour), is("access-1"))
	r, _ := http.NewRequest("POST", u.base.String(), nil)
	if err := u.authorize(t.Context(), r, nil); err == nil || strings.Contains(err.Error(), elsewhere.URL) {
		t.Errorf("got %v", err)
	}
}
