package egress

import (
	"net/http"
	"strconv"
	"time"
)

// worthRepeating is the longest wait after which clients may ask again by
// themselves. They repeat a refused request for minutes; a person is told sooner.
const worthRepeating = time.Minute

// advise tells the host how the model refused a request, and the client not to
// repeat what cannot succeed: a credential that is refused stays so, and a limit
// that lasts hours lasts longer than any client repeats. What the model says of
// it passes as it is.
func (c *call) advise(resp *http.Response, h http.Header) {
	if resp.StatusCode < 400 {
		return
	}
	now := time.Now()
	retry := retryAt(resp.Header, now)
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusTooManyRequests && retry.Sub(now) > worthRepeating {
		h.Set("X-Should-Retry", "false")
	}
	if c.m.g.opts.Refused != nil {
		c.m.g.opts.Refused(resp.StatusCode, retry)
	}
}

// maxRetry is the longest wait that is believed.
const maxRetry = 8 * 24 * time.Hour

// retryAt is when a refused request may be repeated, zero if the answer does not
// say: Retry-After (RFC 9110, section 10.2.3), in seconds or as a date, and the
// model's own field for the limits of subscriptions, in seconds since 1970.
func retryAt(h http.Header, now time.Time) time.Time {
	at := time.Time{}
	later := func(t time.Time) {
		if t.After(at) && t.After(now) && t.Sub(now) <= maxRetry {
			at = t
		}
	}
	if n, err := strconv.ParseInt(h.Get("Retry-After"), 10, 32); err == nil {
		later(now.Add(time.Duration(n) * time.Second))
	} else if t, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		later(t)
	}
	if n, err := strconv.ParseInt(h.Get("Anthropic-Ratelimit-Unified-Reset"), 10, 64); err == nil && h.Get("Anthropic-Ratelimit-Unified-Status") == "rejected" {
		later(time.Unix(n, 0))
	}
	return at
}
