package egress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// unreachable words a failure for the agent, without addresses, proxies or
// certificates of the owner's network; the log has the rest.
func (c *call) unreachable(u *Upstream, err error) *refusal {
	if c.r.Context().Err() != nil {
		c.event.Reason = "the client went away"
	}
	c.m.g.log.Warn("the model endpoint failed", "upstream", u, "err", u.redact(err))
	if c.r.Context().Err() == nil && c.m.g.opts.Refused != nil {
		c.m.g.opts.Refused(http.StatusBadGateway, time.Time{})
	}
	return &refusal{status: 502, text: "the model endpoint could not be reached: " + c.words(u, err), failed: true}
}

func (c *call) words(u *Upstream, err error) string {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case c.r.Context().Err() != nil:
		return "the client went away"
	case errors.Is(err, context.Canceled):
		return fmt.Sprintf("nothing moved for %v", c.m.g.limits.ModelIdle)
	case errors.As(err, &dns):
		return lookupWords(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there (connection refused)"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case strings.Contains(err.Error(), "x509:"), strings.Contains(err.Error(), "tls:"):
		return "its TLS certificate or handshake is not acceptable"
	}
	return "the connection failed"
}

// modelError is the API's own form of an error, which its clients show.
func modelError(no *refusal) []byte {
	kind := map[int]string{403: "permission_error", 404: "not_found_error", 413: "request_too_large", 503: "overloaded_error"}[no.status]
	type inner struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	b, _ := json.Marshal(struct { // cannot fail: strings alone
		Type  string `json:"type"`
		Error inner  `json:"error"`
	}{"error", inner{or(kind, "api_error"), "nanoclaw: " + no.text}})
	return append(b, '\n')
}

func writeRefusal(w http.ResponseWriter, no *refusal) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(no.status)
	w.Write(modelError(no))
}

// modelAnswer is a refusal as a whole response, for a connection that was not
// given to the server.
func modelAnswer(no *refusal) []byte {
	body := modelError(no)
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
		no.status, http.StatusText(no.status), len(body))
	b.Write(body)
	return b.Bytes()
}
