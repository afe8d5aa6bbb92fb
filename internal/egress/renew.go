package egress

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"nanoclaw/internal/config"
	"nanoclaw/internal/credential"
)

const (
	// renewAhead is how long before its end a token is renewed, so that none ends on
	// its way.
	renewAhead = time.Minute
	// renewTime bounds one exchange.
	renewTime = 30 * time.Second
)

// renewing is a token that ends and is exchanged for the next one (RFC 6749,
// section 6). Many issuers accept a refresh token once only, so that two exchanges
// at once, or one that is broken off, would lose the login: there is one at a time,
// it does not end with the request that needed it, and what it brings is stored
// before it is used.
type renewing struct {
	scheme scheme
	client config.OAuth
	// keep stores the next credential in place of the one it was exchanged for.
	keep func(old, next credential.Credential) error
	http *http.Client
	now  func() time.Time

	mu  sync.Mutex
	has credential.Credential
	// before is the value before this one: an answer that is still under way may
	// hold it.
	before string
	flight *flight
	// dead is why no exchange will work again.
	dead error
	wg   sync.WaitGroup
}

// flight is one exchange, and everybody who waits for it.
type flight struct {
	done chan struct{}
	err  error
}

func newRenewing(s scheme, c credential.Credential, client config.OAuth, keep func(old, next credential.Credential) error, via http.RoundTripper) *renewing {
	return &renewing{scheme: s, has: c, client: client, keep: keep, now: time.Now, http: &http.Client{
		Transport: via, Timeout: renewTime,
		// A redirection must not carry the refresh token on.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (t *renewing) current() credential.Credential {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.has
}

// authorize sends the token, renewing it first if it ends.
func (t *renewing) authorize(ctx context.Context, r *http.Request, _ []byte) error {
	c := t.current()
	if !c.Until.IsZero() && t.now().Add(renewAhead).After(c.Until) {
		// One that has not ended yet is good enough where the exchange fails.
		if err := t.renew(ctx, c); err != nil && t.now().After(c.Until) {
			return err
		}
		c = t.current()
	}
	t.scheme.send(r.Header, c.Value)
	return nil
}

// refused renews the token that was refused, if it is still the one we have.
func (t *renewing) refused(ctx context.Context, r *http.Request) error {
	c := t.current()
	if r.Header.Get("Authorization") != "Bearer "+c.Value {
		return nil
	}
	return t.renew(ctx, c)
}

// renew makes sure that another credential than old is there, and waits for it no
// longer than ctx.
func (t *renewing) renew(ctx context.Context, old credential.Credential) error {
	t.mu.Lock()
	if t.has.Value != old.Value || t.dead != nil {
		defer t.mu.Unlock()
		return t.dead
	}
	f := t.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		t.flight = f
		t.wg.Add(1)
		go t.fly(f, old)
	}
	t.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fly makes the exchange.
func (t *renewing) fly(f *flight, old credential.Credential) {
	defer t.wg.Done()
	next, err := t.exchange(old)
	if err == nil {
		if kept := t.keep(old, next); errors.Is(kept, credential.ErrChanged) {
			err = kept // the owner logged in or out; whoever waits asks again
		}
		// If it could not be stored for another reason, it is good until the daemon
		// ends, and the owner has been told by keep.
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.before, t.has = t.has.Value, next
	}
	if errors.Is(err, ErrLogin) {
		t.dead = err
	}
	f.err, t.flight = err, nil
	close(f.done)
}

// exchange asks the token endpoint. The library follows RFC 6749; its errors can
// hold the endpoint's answer, of which only the error code is passed on.
func (t *renewing) exchange(old credential.Credential) (credential.Credential, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), oauth2.HTTPClient, t.http), renewTime)
	defer cancel()
	style := oauth2.AuthStyleInParams
	if t.client.ClientSecret != "" {
		style = oauth2.AuthStyleInHeader // section 2.3.1: what every server must take
	}
	c := oauth2.Config{ClientID: t.client.ClientID, ClientSecret: t.client.ClientSecret,
		Endpoint: oauth2.Endpoint{TokenURL: old.TokenURL, AuthStyle: style}}
	token, err := c.TokenSource(ctx, &oauth2.Token{RefreshToken: old.Refresh}).Token()
	var answered *oauth2.RetrieveError
	switch {
	case errors.As(err, &answered) && slices.Contains([]string{"invalid_grant", "invalid_client", "unauthorized_client"}, answered.ErrorCode):
		return old, fmt.Errorf("%w: its renewal was refused (%s)", ErrLogin, answered.ErrorCode)
	case errors.As(err, &answered):
		return old, fmt.Errorf("the token endpoint answered %d", answered.Response.StatusCode)
	case err != nil:
		return old, errors.New("the token endpoint could not be asked")
	case !sendable(token.AccessToken):
		return old, errors.New("the token endpoint gave a token that cannot be sent")
	}
	next := old
	next.Value, next.Until = token.AccessToken, token.Expiry
	if token.RefreshToken != "" {
		next.Refresh = token.RefreshToken
	}
	return next, nil
}

func (t *renewing) secrets() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := []string{t.has.Value, t.has.Refresh}
	if t.before != "" {
		out = append(out, t.before)
	}
	return out
}

// wait returns when no exchange is under way.
func (t *renewing) wait() { t.wg.Wait() }

// sendable says that a text can be the value of a header field, and is no more
// than one word.
func sendable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
