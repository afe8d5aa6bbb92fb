package egress

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"nanoclaw/internal/config"
	"nanoclaw/internal/credential"
)

// anthropic is the model endpoint where nobody names another.
const anthropic = "https://api.anthropic.com"

// fromLogin begins the source of a stored credential.
const fromLogin = "nanoclaw login claude"

// schemeOf says how a stored credential is sent.
var schemeOf = map[credential.Kind]scheme{
	credential.APIKey: apiKey, credential.AuthToken: bearer, credential.OAuthToken: oauth,
}

// Upstream is where model requests go and the credential that goes with them.
// Several sessions share one. It never prints its secret: not with any verb of
// fmt, not through slog, not as JSON.
type Upstream struct {
	provider string
	base     *url.URL
	scheme   scheme
	source   string // where the credential comes from
	// holds is the stored credential, as it is by now.
	holds func() credential.Credential
	auth  authorizer
	// headers behind a function, for the same reason as secrets.
	headers   func() map[string]string
	transport *http.Transport
}

// Source is what an Upstream is made of.
type Source struct {
	// Provider is its name in the configuration, "" for the configuration's own
	// model. One with a name takes nothing from the environment but the proxies.
	Provider string
	Model    config.Model
	Getenv   func(string) string
	// Stored is what was stored for it, nil for nothing.
	Stored *credential.Credential
	// Renewed stores the token that a stored one was exchanged for. Nil: tokens are
	// not renewed.
	Renewed func(old, next credential.Credential) error
}

// NewUpstream decides where a model is. The configuration goes before the
// environment, for the address and for the credential separately; one variable
// goes before another in Claude Code's own order. The stored credential comes
// last, and only for the address that it was stored for: whoever sets another
// address does not get it.
//
// Without a credential the answer is nil, nil: there is no model. An address on
// this machine's loopback is the exception: a scripted or compatible endpoint
// there needs none (see Local and HasCredential).
func NewUpstream(s Source) (*Upstream, error) {
	base, err := s.base()
	if err != nil {
		return nil, err
	}
	c, err := s.credential(base)
	if err != nil {
		return nil, err
	}
	u := &Upstream{provider: s.Provider, base: base, scheme: c.scheme, source: c.source, headers: func() map[string]string { return s.Model.Headers },
		holds: func() (none credential.Credential) { return }}
	if u.scheme == keyless && !u.Local() {
		return nil, nil
	}
	u.transport = upstreamTransport(s.Getenv)
	u.auth = fixed{c.scheme, func() string { return c.value }}
	if strings.HasPrefix(c.source, fromLogin) {
		u.holds = func() credential.Credential { return *s.Stored }
		if s.renewable() {
			t := newRenewing(c.scheme, *s.Stored, s.Model.OAuth, s.Renewed, u.transport)
			u.auth, u.holds = t, t.current
		}
	}
	return u, nil
}

// renewable says that the stored token can be exchanged: by the client that the
// configuration names, at the endpoint that it was stored for.
func (s Source) renewable() bool {
	return s.Renewed != nil && s.Stored.Refresh != "" && s.Stored.Kind != credential.APIKey &&
		s.Stored.TokenURL != "" && s.Stored.TokenURL == s.Model.OAuth.TokenURL
}

// Endpoint gives the address that NewUpstream chooses, whatever the credential.
func Endpoint(s Source) (string, error) {
	base, err := s.base()
	if err != nil {
		return "", err
	}
	return base.String(), nil
}

// where is the name of the source in the configuration.
func (s Source) where() string {
	if s.Provider == "" {
		return "model"
	}
	return "providers." + s.Provider
}

func (s Source) base() (*url.URL, error) {
	if s.Model.BaseURL != "" || s.Provider != "" {
		return parseBase(s.Model.BaseURL, s.where()+".baseURL", s.Model.AllowHTTP)
	}
	return parseBase(s.Getenv("ANTHROPIC_BASE_URL"), "ANTHROPIC_BASE_URL", false)
}

// parseBase checks the address. Its errors do not repeat it, since it may hold a
// password.
func parseBase(raw, source string, allowHTTP bool) (*url.URL, error) {
	if raw == "" {
		raw = anthropic
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "":
		return nil, fmt.Errorf("%s is not a URL: write it as https://HOST, such as %s", source, anthropic)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("%s does not begin with https://: write it as https://HOST", source)
	case u.User != nil:
		return nil, fmt.Errorf("%s holds a user name: set the credential in model.apiKey or model.authToken", source)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%s names no host: write it as https://HOST", source)
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, fmt.Errorf("%s holds a query or fragment: leave away what begins with ? or #", source)
	case u.Scheme == "http" && !isLoopback(u.Hostname()) && !allowHTTP:
		return nil, fmt.Errorf("%s is http:// to another machine, where anybody between could read the credential: use https://", source)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// candidate is one place where a credential may be.
type candidate struct {
	scheme scheme
	source string
	value  string
}

// credential takes the configured credential, of which there may be one, or else
// the first of the environment, or else the stored one.
func (s Source) credential(base *url.URL) (candidate, error) {
	has := func(c candidate) bool { return c.value != "" }
	list := []candidate{
		{bearer, s.where() + ".authToken", s.Model.AuthToken},
		{apiKey, s.where() + ".apiKey", s.Model.APIKey},
		{oauth, s.where() + ".oauthToken", s.Model.OAuthToken},
	}
	first := slices.IndexFunc(list, has)
	if first >= 0 && slices.ContainsFunc(list[first+1:], has) {
		return candidate{}, fmt.Errorf("%s has more than one of apiKey, authToken and oauthToken: keep one", s.where())
	}
	if first < 0 {
		list = nil
		if s.Provider == "" {
			list = []candidate{
				{bearer, "ANTHROPIC_AUTH_TOKEN", s.Getenv("ANTHROPIC_AUTH_TOKEN")},
				{apiKey, "ANTHROPIC_API_KEY", s.Getenv("ANTHROPIC_API_KEY")},
				{oauth, "CLAUDE_CODE_OAUTH_TOKEN", s.Getenv("CLAUDE_CODE_OAUTH_TOKEN")},
			}
		}
		if s.Stored != nil && s.Stored.Endpoint == base.String() {
			list = append(list, candidate{schemeOf[s.Stored.Kind], s.login(), s.Stored.Value})
		}
		first = slices.IndexFunc(list, has)
	}
	if first < 0 {
		return candidate{scheme: keyless}, nil
	}
	c := list[first]
	if !sendable(c.value) {
		return candidate{}, fmt.Errorf("%s holds a space, a line break or a character that no credential has: set it again", c.source)
	}
	return c, nil
}

// login is the command that stores a credential for this source.
func (s Source) login() string { return loginCommand(s.Provider) }

func loginCommand(provider string) string {
	if provider == "" {
		return fromLogin
	}
	return fromLogin + " --provider " + provider
}

// Local says that the endpoint is on this machine's loopback.
func (u *Upstream) Local() bool { return isLoopback(u.base.Hostname()) }

// HasCredential is false only for a local endpoint that needs none.
func (u *Upstream) HasCredential() bool { return u.scheme != keyless }

// Stored says that the credential is the one that was stored, and neither of
// the configuration nor of the environment.
func (u *Upstream) Stored() bool { return strings.HasPrefix(u.source, fromLogin) }

// Holds says that stored makes no difference to it: it is what it holds by now, or
// the credential comes from elsewhere.
func (u *Upstream) Holds(stored *credential.Credential) bool {
	return !u.Stored() && u.HasCredential() || u.Stored() && stored != nil && u.holds().Same(*stored)
}

// Until is when the credential ends, as its issuer said; zero if nobody said.
func (u *Upstream) Until() time.Time { return u.holds().Until }

// Remedy says what the owner does about a credential that is not accepted.
func (u *Upstream) Remedy() string {
	switch {
	case u.Stored():
		return "log in again: " + loginCommand(u.provider)
	case u.source == "":
		return "store a credential: " + loginCommand(u.provider)
	}
	return "set a valid one in " + u.source + " and restart nanoclaw"
}

// String says where the model is and with what kind of credential, without it:
// "https://api.anthropic.com with an API key from ANTHROPIC_API_KEY".
func (u *Upstream) String() string {
	if u == nil {
		return "no model"
	}
	s := u.base.String() + " with " + string(u.scheme)
	if u.source != "" {
		s += " from " + u.source
	}
	return s
}

// GoString is String, so that %#v shows no field.
func (u *Upstream) GoString() string { return u.String() }

// LogValue is String.
func (u *Upstream) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText is String, for JSON.
func (u *Upstream) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// authorize completes a request that is about to leave: the header fields that the
// configuration adds, and then the credential.
func (u *Upstream) authorize(ctx context.Context, r *http.Request, body []byte) error {
	for name, value := range u.headers() {
		r.Header.Set(name, value)
	}
	return u.auth.authorize(ctx, r, body)
}

// secrets are the texts that must be in no log and no answer: credentials, and what
// the configuration adds to requests.
func (u *Upstream) secrets() []string {
	return slices.AppendSeq(u.auth.secrets(), maps.Values(u.headers()))
}

// leaks says whether text holds a secret. One of a few letters is none.
func (u *Upstream) leaks(text string) bool {
	return slices.ContainsFunc(u.secrets(), func(s string) bool { return len(s) > 3 && strings.Contains(text, s) })
}

// redact makes sure that an error text carries no secret into the log.
func (u *Upstream) redact(err error) string {
	text := err.Error()
	for _, s := range u.secrets() {
		if s != "" {
			text = strings.ReplaceAll(text, s, "[credential]")
		}
	}
	return text
}

// Close drops the connections that are kept for the next request, and waits for a
// token that is being renewed.
func (u *Upstream) Close() {
	if u == nil {
		return
	}
	if t, ok := u.auth.(*renewing); ok {
		t.wait()
	}
	u.transport.CloseIdleConnections()
}

// port of the endpoint, for the audit.
func (u *Upstream) port() int {
	switch p := u.base.Port(); {
	case p != "":
		var n int
		fmt.Sscan(p, &n)
		return n
	case u.base.Scheme == "http":
		return 80
	}
	return 443
}

// upstreamTransport is the daemon's own way to the model. It alone honours the
// daemon's HTTPS_PROXY and NO_PROXY, never for loopback. There is no overall
// time limit, since an answer may stream for long; a dead HTTP/2 connection is
// found by pings.
func upstreamTransport(getenv func(string) string) *http.Transport {
	env := func(name string) string { return or(getenv(name), getenv(strings.ToLower(name))) }
	proxy := (&httpproxy.Config{HTTPSProxy: env("HTTPS_PROXY"), HTTPProxy: env("HTTP_PROXY"), NoProxy: env("NO_PROXY")}).ProxyFunc()
	return &http.Transport{
		Proxy:                  func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
		DialContext:            (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // bytes pass as they are
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    15 * time.Second,
		MaxResponseHeaderBytes: maxAnswerHead,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}
