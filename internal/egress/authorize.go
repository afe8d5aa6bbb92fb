package egress

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// authorizer puts the host's credential into a request that is about to leave,
// when everything else of the request is settled. So a service that wants its
// requests signed finds method, address, header and body as they go out.
type authorizer interface {
	// authorize adds the credential. An error means that the request must not go
	// out; ErrLogin that only the owner can change that.
	authorize(ctx context.Context, r *http.Request, body []byte) error
	// refused is told that the service answered r, which authorize had seen, with
	// 401. Nil means that authorize can do better now.
	refused(ctx context.Context, r *http.Request) error
	// secrets are the texts that must be in no log and no answer.
	secrets() []string
}

// ErrLogin says that a credential is not good any more, or never was, and that
// the owner has to get another.
var ErrLogin = errors.New("the credential is not accepted")

// oauthBeta is what Anthropic wants to see beside a subscription's token.
const oauthBeta = "oauth-2025-04-20"

// scheme is how a credential is sent.
type scheme string

const (
	keyless scheme = "no credential"
	apiKey  scheme = "an API key"
	bearer  scheme = "a bearer token"
	oauth   scheme = "a subscription token"
)

// send puts a value into a header as the scheme wants it.
func (s scheme) send(h http.Header, value string) {
	switch s {
	case apiKey:
		h.Set("X-Api-Key", value)
	case bearer:
		h.Set("Authorization", "Bearer "+value)
	case oauth:
		h.Set("Authorization", "Bearer "+value)
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

// fixed is a credential that does not change: a key, or a token that nobody here
// can renew.
type fixed struct {
	scheme scheme
	// value is behind a function, which prints as an address at most.
	value func() string
}

func (f fixed) authorize(_ context.Context, r *http.Request, _ []byte) error {
	f.scheme.send(r.Header, f.value())
	return nil
}

func (f fixed) refused(context.Context, *http.Request) error { return ErrLogin }

func (f fixed) secrets() []string {
	if f.scheme == keyless {
		return nil
	}
	return []string{f.value()}
}
