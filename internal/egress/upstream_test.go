package egress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"nanoclaw/internal/config"
	"nanoclaw/internal/credential"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestNewUpstream(t *testing.T) {
	tests := []struct {
		name  string
		model config.Model
		env   func(string) string
		want  string // String, "no model" for nil
		err   string
	}{
		{name: "nothing", env: env(), want: "no model"},
		{name: "key", env: env("ANTHROPIC_API_KEY", "k"), want: "https://api.anthropic.com with an API key from ANTHROPIC_API_KEY"},
		{name: "token before key", env: env("ANTHROPIC_API_KEY", "k", "ANTHROPIC_AUTH_TOKEN", "t"), want: "https://api.anthropic.com with a bearer token from ANTHROPIC_AUTH_TOKEN"},
		{name: "subscription last", env: env("CLAUDE_CODE_OAUTH_TOKEN", "o"), want: "https://api.anthropic.com with a subscription token from CLAUDE_CODE_OAUTH_TOKEN"},
		{name: "config before environment", model: config.Model{APIKey: "k"}, env: env("ANTHROPIC_AUTH_TOKEN", "t"), want: "https://api.anthropic.com with an API key from model.apiKey"},
		{name: "address of config before environment", model: config.Model{BaseURL: "https://a.example/x/"}, env: env("ANTHROPIC_BASE_URL", "https://b.example", "ANTHROPIC_API_KEY", "k"),
			want: "https://a.example/x with an API key from ANTHROPIC_API_KEY"},
		{name: "address of the environment", env: env("ANTHROPIC_BASE_URL", "https://b.example:8443", "ANTHROPIC_API_KEY", "k"), want: "https://b.example:8443 with an API key from ANTHROPIC_API_KEY"},
		{name: "other machine without a credential", env: env("ANTHROPIC_BASE_URL", "https://b.example"), want: "no model"},
		{name: "local without a credential", env: env("ANTHROPIC_BASE_URL", "http://127.0.0.1:9"), want: "http://127.0.0.1:9 with no credential"},
		{name: "local by name", env: env("ANTHROPIC_BASE_URL", "http://localhost:9"), want: "http://localhost:9 with no credential"},
		{name: "local IPv6", env: env("ANTHROPIC_BASE_URL", "http://[::1]:9"), want: "http://[::1]:9 with no credential"},
		{name: "local with a credential", env: env("ANTHROPIC_BASE_URL", "http://127.0.0.1:9", "ANTHROPIC_API_KEY", "k"), want: "http://127.0.0.1:9 with an API key from ANTHROPIC_API_KEY"},

		{name: "two in config", model: config.Model{APIKey: "k", OAuthToken: "o"}, env: env(), err: "keep one"},
		{name: "http to another machine", env: env("ANTHROPIC_BASE_URL", "http://b.example", "ANTHROPIC_API_KEY", "k"), err: "use https://"},
		{name: "http to a lookalike of loopback", env: env("ANTHROPIC_BASE_URL", "http://127.0.0.1.evil.test", "ANTHROPIC_API_KEY", "k"), err: "use https://"},
		{name: "http to a number", env: env("ANTHROPIC_BASE_URL", "http://2130706433", "ANTHROPIC_API_KEY", "k"), err: "use https://"},
		{name: "no scheme", model: config.Model{BaseURL: "b.example"}, env: env(), err: "model.baseURL does not begin with https://"},
		{name: "other scheme", model: config.Model{BaseURL: "ftp://b.example"}, env: env(), err: "https://HOST"},
		{name: "no host", model: config.Model{BaseURL: "https:///x"}, env: env(), err: "names no host"},
		{name: "opaque", model: config.Model{BaseURL: "https:b.example"}, env: env(), err: "not a URL"},
		{name: "query", model: config.Model{BaseURL: "https://b.example?key=hunter2"}, env: env(), err: "query"},
		{name: "user", model: config.Model{BaseURL: "https://joe:hunter2@b.example"}, env: env(), err: "user name"},
		{name: "broken with a password", model: config.Model{BaseURL: "https://joe:hunter2@b.example:x"}, env: env(), err: "not a URL"},
		{name: "line break in a key", env: env("ANTHROPIC_API_KEY", "hunter2\n"), err: "ANTHROPIC_API_KEY holds"},
		{name: "header in a key", model: config.Model{AuthToken: "hunter2\r\nX: y"}, env: env(), err: "model.authToken holds"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := upstreamFrom(tt.model, tt.env, nil)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("error %v, want one with %q and without the secret", err, tt.err)
				}
				return
			}
			if err != nil || u.String() != tt.want || (u == nil) != (tt.want == "no model") {
				t.Fatalf("got %v, %v; want %s", u, err, tt.want)
			}
			if u != nil && u.HasCredential() == strings.Contains(tt.want, "no credential") {
				t.Errorf("HasCredential() = %v for %v", u.HasCredential(), u)
			}
			if u != nil && u.Local() != strings.HasPrefix(tt.want, "http://") {
				t.Errorf("Local() = %v for %v", u.Local(), u)
			}
		})
	}
}

// TestUpstreamNeverPrintsItsSecret tries every way of printing that we know.
func TestUpstreamNeverPrintsItsSecret(t *testing.T) {
	const secret = "sk-ant-hunter2"
	u, err := upstreamFrom(config.Model{APIKey: secret}, env(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l := slog.New(slog.NewJSONHandler(&log, nil))
	l.Info("x", "u", u, "o", Options{Model: func() *Upstream { return u }}, "v", *u)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "u", u, "o", Options{Model: func() *Upstream { return u }}, "v", *u)
	j, err := json.Marshal(map[string]any{"u": u})
	if err != nil {
		t.Fatal(err)
	}
	log.Write(j)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb+" "+verb+" "+verb+"\n", u, *u, Options{Model: func() *Upstream { return u }})
	}
	if out := log.String(); strings.Contains(out, "hunter2") || strings.Contains(out, fmt.Sprintf("%x", secret)) {
		t.Errorf("the secret was printed:\n%s", out)
	} else if !strings.Contains(out, "with an API key") {
		t.Errorf("nothing useful was printed:\n%s", out)
	}
}

// TestUpstreamProxy: the daemon's HTTPS_PROXY counts for the upstream, and not
// for loopback.
func TestUpstreamProxy(t *testing.T) {
	tr := upstreamTransport(env("https_proxy", "http://corp.example:3128", "NO_PROXY", "b.example"))
	for to, want := range map[string]string{
		"https://api.anthropic.com/": "http://corp.example:3128", "https://b.example/": "", "http://127.0.0.1:9/": "", "https://localhost/": "",
	} {
		u, _ := url.Parse(to)
		got, err := tr.Proxy(&http.Request{URL: u})
		if s := fmt.Sprint(got); err != nil || s != want && !(got == nil && want == "") {
			t.Errorf("proxy for %s: %s, %v; want %q", to, s, err, want)
		}
	}
}

func TestAddBeta(t *testing.T) {
	for _, tt := range []struct {
		have []string
		want string
	}{
		{nil, "oauth-2025-04-20"},
		{[]string{"a-1,b-2"}, "a-1,b-2,oauth-2025-04-20"},
		{[]string{"a-1", "b-2"}, "a-1,b-2,oauth-2025-04-20"},
		{[]string{"a-1, oauth-2025-04-20"}, "a-1, oauth-2025-04-20"},
	} {
		h := http.Header{}
		if tt.have != nil {
			h["Anthropic-Beta"] = tt.have
		}
		addBeta(h, oauthBeta)
		if got := strings.Join(h["Anthropic-Beta"], ","); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.have, got, tt.want)
		}
	}
}

// TestModelHTTP2: the far side may speak HTTP/2 over verified TLS.
func TestModelHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, r.Proto, " ", r.Header.Get("X-Api-Key"))
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	u, err := upstreamFrom(config.Model{BaseURL: s.URL, APIKey: "sk-real"}, env(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	u.transport.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	w := newWorld(t)
	url, _ := w.modelURL(u)
	if code, _, body := send(t, client(t), "POST", url+"/v1/messages", "{}"); code != 200 || body != "HTTP/2.0 sk-real" {
		t.Errorf("answer %d %q", code, body)
	}
}

// upstreamFrom is NewUpstream for the configuration's own model.
func upstreamFrom(m config.Model, getenv func(string) string, stored *credential.Credential) (*Upstream, error) {
	return NewUpstream(Source{Model: m, Getenv: getenv, Stored: stored})
}

// A provider with a name has an address and a credential of its own. Those of the
// environment and of the others are not for it.
func TestProviders(t *testing.T) {
	environment := env("ANTHROPIC_API_KEY", "of-the-environment", "ANTHROPIC_BASE_URL", "https://environment.example")
	stored := &credential.Credential{Kind: credential.APIKey, Value: "k", Endpoint: anthropic}
	for _, tt := range []struct {
		name   string
		model  config.Model
		stored *credential.Credential
		want   string
		err    string
	}{
		{name: "nothing", want: "no model"},
		{name: "a key", model: config.Model{APIKey: "k"}, want: anthropic + " with an API key from providers.work.apiKey"},
		{name: "a stored one", stored: stored, want: anthropic + " with an API key from nanoclaw login claude --provider work"},
		{name: "a stored one for another address", model: config.Model{BaseURL: "https://b.example"}, stored: stored, want: "no model"},
		{name: "a local model", model: config.Model{BaseURL: "http://127.0.0.1:11434", AuthToken: "ollama"}, want: "http://127.0.0.1:11434 with a bearer token from providers.work.authToken"},
		{name: "a local model without a credential", model: config.Model{BaseURL: "http://127.0.0.1:11434"}, want: "http://127.0.0.1:11434 with no credential"},
		{name: "plain http to another machine", model: config.Model{BaseURL: "http://nas.lan:1", APIKey: "hunter2"}, err: "providers.work.baseURL is http:// to another machine"},
		{name: "plain http that was stated", model: config.Model{BaseURL: "http://nas.lan:1", APIKey: "k", AllowHTTP: true}, want: "http://nas.lan:1 with an API key from providers.work.apiKey"},
		{name: "two", model: config.Model{APIKey: "hunter2", AuthToken: "hunter2"}, err: "providers.work has more than one"},
	} {
		u, err := NewUpstream(Source{Provider: "work", Model: tt.model, Getenv: environment, Stored: tt.stored})
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
			}
		} else if err != nil || u.String() != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.name, u, err, tt.want)
		}
	}
}

// What the configuration adds to requests is added after the agent's own header, and
// comes back to nobody.
func TestConfiguredHeaders(t *testing.T) {
	w := newWorld(t)
	u, asked := upstream(t, config.Model{APIKey: "sk-real", Headers: map[string]string{"X-Team": "team-hunter2", "Anthropic-Beta": "of-the-owner"}}, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Anthropic-Echo", r.Header.Get("X-Team"))
	})
	url, _ := w.modelURL(u)
	_, header, _ := send(t, client(t), "POST", url+"/v1/messages", "{}", "X-Team", "attacker", "Anthropic-Beta", "of-the-agent")
	got := asked.all()[0].Header
	if got.Get("X-Team") != "team-hunter2" || got.Get("Anthropic-Beta") != "of-the-owner" || got.Get("X-Api-Key") != "sk-real" {
		t.Errorf("the upstream got %v", got)
	}
	if all := fmt.Sprint(header, u, fmt.Sprintf("%+v %#v", *u, *u)); strings.Contains(all, "hunter2") {
		t.Errorf("the agent or a log got %s", all)
	}
}
