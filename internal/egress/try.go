package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// tryTime bounds the one request of Try.
const tryTime = 30 * time.Second

// ErrCredentialRefused says that the endpoint does not know the credential.
var ErrCredentialRefused = errors.New("the endpoint does not accept this credential (401)")

// Try asks the endpoint for one line of its list of models, which costs
// nothing. It gives "" if that worked, or what kept the answer from telling
// whether the credential is good, as of an endpoint that has no such list. The
// error is ErrCredentialRefused, or says that no answer came. Neither holds a
// word of the answer: it could repeat the credential.
func (u *Upstream) Try(ctx context.Context) (unsure string, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.base.String()+"/v1/models?limit=1", nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Anthropic-Version", "2023-06-01")
	r.Header.Set("User-Agent", "nanoclaw")
	if err := u.authorize(ctx, r, nil); err != nil {
		return "", err
	}
	// The transport, not a client: a redirection must not carry the credential on.
	answer, err := u.transport.RoundTrip(r)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", tryTime)
		}
		return "", fmt.Errorf("%s cannot be reached: %w", u.base, err)
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20))
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized:
		return "", ErrCredentialRefused
	case code == http.StatusOK:
		return "", nil
	case code == http.StatusForbidden:
		return "the endpoint knows the credential or refuses everybody (403)", nil
	default:
		return fmt.Sprintf("the endpoint answers %d %s", code, http.StatusText(code)), nil
	}
}
