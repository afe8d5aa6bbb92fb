package egress

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"nanoclaw/internal/config"
)

// anthropic is the model endpoint where nobody names another.
const anthropic = "https://api.anthropic.com"

// oauthBeta is what Anthropic wants to see beside a subscription's token.
const oauthBeta = "oauth-2025-04-20"

// fromLogin is the source of the stored credential.
const fromLogin = "nanoclaw login claude"

// scheme is how a credential is sent.
type scheme string

const (
	keyless scheme = "no credential"
	apiKey  scheme = "an API key"
	bearer  scheme = "a bearer token"
	oauth   scheme = "a subscription token"
)

// schemeOf says how a stored credential is sent.
var schemeOf = map[config.CredentialKind]scheme{
	config.APIKey: apiKey, config.AuthToken: bearer, config.OAuthToken: oauth,
}

// Upstream is where model requests go and the credential that goes with them.
// Several sessions share one. It never prints its secret: not with any verb of
// fmt, not through slog, not as JSON.
type Upstream struct {
	base   *url.URL
	scheme scheme
	// secret is behind a function, which prints as an address at most.
	secret    func() string
	source    string // where the credential comes from
	transport *http.Transport
}

// UpstreamFrom decides where the model is. The configuration goes before the
// environment, for the address and for the credential separately; one variable
// goes before another in Claude Code's own order. The stored credential comes
// last, and only for the address that it was stored for: whoever sets another
// address does not get it. getenv is os.Getenv; stored may be nil.
//
// Without a credential the answer is nil, nil: there is no model. An address on
// this machine's loopback is the exception: a scripted or compatible endpoint
// there needs none (see Local and HasCredential).
func UpstreamFrom(m config.Model, getenv func(string) string, stored *config.Credential) (*Upstream, error) {
	base, err := baseOf(m, getenv)
	if err != nil {
		return nil, err
	}
	u := &Upstream{base: base}
	if err := u.setCredential(m, getenv, stored); err != nil {
		return nil, err
	}
	if u.scheme == keyless && !u.Local() {
		return nil, nil
	}
	u.transport = upstreamTransport(getenv)
	return u, nil
}

// Endpoint gives the address that UpstreamFrom chooses, whatever the credential.
func Endpoint(m config.Model, getenv func(string) string) (string, error) {
	base, err := baseOf(m, getenv)
	if err != nil {
		return "", err
	}
	return base.String(), nil
}

func baseOf(m config.Model, getenv func(string) string) (*url.URL, error) {
	if m.BaseURL != "" {
		return parseBase(m.BaseURL, "model.baseURL")
	}
	return parseBase(getenv("ANTHROPIC_BASE_URL"), "ANTHROPIC_BASE_URL")
}

// parseBase checks the address. Its errors do not repeat it, since it may hold a
// password.
func parseBase(raw, source string) (*url.URL, error) {
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
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
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

// credential is one place where a credential may be.
type credential struct {
	scheme scheme
	source string
	value  string
}

// setCredential takes the configured credential, of which there may be one, or
// else the first of the environment, or else the stored one.
func (u *Upstream) setCredential(m config.Model, getenv func(string) string, stored *config.Credential) error {
	has := func(c credential) bool { return c.value != "" }
	list := []credential{
		{bearer, "model.authToken", m.AuthToken},
		{apiKey, "model.apiKey", m.APIKey},
		{oauth, "model.oauthToken", m.OAuthToken},
	}
	first := slices.IndexFunc(list, has)
	if first >= 0 && slices.ContainsFunc(list[first+1:], has) {
		return errors.New("model has more than one of apiKey, authToken and oauthToken: keep one")
	}
	if first < 0 {
		list = []credential{
			{bearer, "ANTHROPIC_AUTH_TOKEN", getenv("ANTHROPIC_AUTH_TOKEN")},
			{apiKey, "ANTHROPIC_API_KEY", getenv("ANTHROPIC_API_KEY")},
			{oauth, "CLAUDE_CODE_OAUTH_TOKEN", getenv("CLAUDE_CODE_OAUTH_TOKEN")},
		}
		if stored != nil && stored.Endpoint == u.base.String() {
			list = append(list, credential{schemeOf[stored.Kind], fromLogin, stored.Value})
		}
		first = slices.IndexFunc(list, has)
	}
	c := credential{scheme: keyless}
	if first >= 0 {
		c = list[first]
	}
	for i := 0; i < len(c.value); i++ {
		if c.value[i] <= ' ' || c.value[i] >= 0x7f {
			return fmt.Errorf("%s holds a space, a line break or a character that no credential has: set it again", c.source)
		}
	}
	u.scheme, u.source, u.secret = c.scheme, c.source, func() string { return c.value }
	return nil
}

// Local says that the endpoint is on this machine's loopback.
func (u *Upstream) Local() bool { return isLoopback(u.base.Hostname()) }

// HasCredential is false only for a local endpoint that needs none.
func (u *Upstream) HasCredential() bool { return u.scheme != keyless }

// Stored says that the credential is the one that was stored, and neither of
// the configuration nor of the environment.
func (u *Upstream) Stored() bool { return u.source == fromLogin }

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

// authorize adds the credential to the header of an outgoing request.
func (u *Upstream) authorize(h http.Header) {
	switch u.scheme {
	case apiKey:
		h.Set("X-Api-Key", u.secret())
	case bearer:
		h.Set("Authorization", "Bearer "+u.secret())
	case oauth:
		h.Set("Authorization", "Bearer "+u.secret())
		addBeta(h, oauthBeta)
	}
}

// addBeta adds one name to Anthropic-Beta, which is a list, unless it is there.
func addBeta(h http.Header, name string) {
	all := strings.Join(h["Anthropic-Beta"], ",")
	for b := range strings.SplitSeq(all, ",") {
		if strings.TrimSpace(b) == name {
			return
		}
	}
	if all != "" {
		name = all + "," + name
	}
	h.Set("Anthropic-Beta", name)
}

// leaks says whether text holds the credential.
func (u *Upstream) leaks(text string) bool {
	return u.HasCredential() && strings.Contains(text, u.secret())
}

// Close drops the connections that are kept for the next request.
func (u *Upstream) Close() {
	if u != nil {
		u.transport.CloseIdleConnections()
	}
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
