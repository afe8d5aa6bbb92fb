package egress

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"nanoclaw/internal/config"
	"nanoclaw/internal/credential"
)

// The stored credential comes last, and goes nowhere but to its own address.
func TestStoredCredential(t *testing.T) {
	stored := &credential.Credential{Kind: credential.OAuthToken, Value: "sk-stored", Endpoint: anthropic}
	for _, tt := range []struct {
		name   string
		model  config.Model
		env    func(string) string
		stored *credential.Credential
		want   string
	}{
		{"alone", config.Model{}, env(), stored, anthropic + " with a subscription token from nanoclaw login claude"},
		{"behind the environment", config.Model{}, env("ANTHROPIC_API_KEY", "k"), stored, anthropic + " with an API key from ANTHROPIC_API_KEY"},
		{"behind the configuration", config.Model{AuthToken: "t"}, env(), stored, anthropic + " with a bearer token from model.authToken"},
		{"another address in the environment", config.Model{}, env("ANTHROPIC_BASE_URL", "https://b.example"), stored, "no model"},
		{"another address in the configuration", config.Model{BaseURL: "https://api.anthropic.com.b.example"}, env(), stored, "no model"},
		{"a longer address", config.Model{BaseURL: anthropic + "/x"}, env(), stored, "no model"},
		{"this machine", config.Model{BaseURL: "http://127.0.0.1:9"}, env(), stored, "http://127.0.0.1:9 with no credential"},
		{"for another address", config.Model{BaseURL: "https://b.example/"}, env(), &credential.Credential{Kind: credential.AuthToken, Value: "t", Endpoint: "https://b.example"},
			"https://b.example with a bearer token from nanoclaw login claude"},
	} {
		u, err := upstreamFrom(tt.model, tt.env, tt.stored)
		if err != nil || u.String() != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.name, u, err, tt.want)
		}
		if u != nil && u.Stored() != strings.HasSuffix(tt.want, fromLogin) {
			t.Errorf("%s: Stored() is %v", tt.name, u.Stored())
		}
	}
	if _, err := upstreamFrom(config.Model{}, env(), &credential.Credential{Kind: credential.APIKey, Value: "hunter2\nX: y", Endpoint: anthropic}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a line break in the stored credential: %v", err)
	}
}

func TestTry(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	t.Cleanup(other.Close)
	status := 0
	var got *http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("Location", other.URL)
		w.WriteHeader(status)
		w.Write([]byte(r.Header.Get("X-Api-Key") + r.Header.Get("Authorization")))
	}))
	t.Cleanup(s.Close)
	try := func(kind credential.Kind) (string, error) {
		u, err := upstreamFrom(config.Model{BaseURL: s.URL + "/x"}, env(), &credential.Credential{Kind: kind, Value: "sk-hunter2", Endpoint: s.URL + "/x"})
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		unsure, err := u.Try(t.Context())
		if strings.Contains(unsure, "hunter2") || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the credential was repeated: %s, %v", unsure, err)
		}
		return unsure, err
	}
	for _, tt := range []struct {
		status int
		unsure string
		err    error
	}{
		{200, "", nil}, {401, "", ErrCredentialRefused}, {403, "403", nil}, {404, "404 Not Found", nil}, {302, "302", nil}, {529, "529", nil},
	} {
		status = tt.status
		if unsure, err := try(credential.APIKey); !errors.Is(err, tt.err) || (unsure == "") != (tt.unsure == "") || !strings.Contains(unsure, tt.unsure) {
			t.Errorf("%d: %q, %v", tt.status, unsure, err)
		}
		if got.Method != "GET" || got.URL.String() != "/x/v1/models?limit=1" || got.Header.Get("X-Api-Key") != "sk-hunter2" || got.Header.Get("Anthropic-Version") == "" {
			t.Errorf("asked %s %s with %v", got.Method, got.URL, got.Header)
		}
	}
	status = 200
	if _, err := try(credential.OAuthToken); err != nil || got.Header.Get("Authorization") != "Bearer sk-hunter2" || got.Header.Get("Anthropic-Beta") != oauthBeta || got.Header.Get("X-Api-Key") != "" {
		t.Errorf("a subscription: %v, %v", got.Header, err)
	}
	if elsewhere != 0 {
		t.Error("a redirection was followed")
	}
	s.Close()
	if _, err := try(credential.APIKey); err == nil || errors.Is(err, ErrCredentialRefused) || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("nobody there: %v", err)
	}
}
