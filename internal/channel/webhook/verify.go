package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"nanoclaw/internal/chat"
)

// Form is how a request is signed.
type Form string

// The forms.
const (
	// Standard is that of standardwebhooks.com: the signature covers an id, a time and
	// the body.
	Standard Form = "standard"
	// GitHub is X-Hub-Signature-256, which covers the body alone.
	GitHub Form = "github"
)

// Bounds of what is read before a signature was found good.
const (
	maxBody       = 1 << 20
	maxID         = 128
	maxSignatures = 8 // while a secret is changed there are two
	maxSigned     = 2 << 10
	window        = 5 * time.Minute // how far a signed time may be off
)

// errSignature says as little as possible to who has no secret.
var errSignature = errors.New("the request is not signed with the secret of a webhook of this name, or its time is too far off")

// signed is what a signature vouches for.
type signed struct {
	// once is the same for the same request, however often it comes.
	once chat.MessageID
	at   time.Time // when it was signed; zero if the form does not say
}

// verify says whether a request was signed with a secret, and for what.
//
// Everything in it is a stranger's until then. A header that is there twice is refused,
// since two programs could read it differently.
func verify(f Form, secret []byte, h http.Header, body []byte, now time.Time) (signed, error) {
	if len(secret) == 0 {
		return signed{}, errSignature // nothing is signed with nothing
	}
	if f == GitHub {
		return verifyGitHub(secret, h, body)
	}
	return verifyStandard(secret, h, body, now)
}

// single gives a header that is there once, "" if not.
func single(h http.Header, name string) string {
	if v := h.Values(name); len(v) == 1 && len(v[0]) <= maxSigned {
		return v[0]
	}
	return ""
}

// ownPrefix begins the ids of our own answers. They are signed with the hook's secret
// too, so without it whoever sees an answer could send it back as a message.
const ownPrefix = "nc_"

// verifyStandard follows the specification of Standard Webhooks 1.0: base64 of the
// HMAC-SHA256 of id.timestamp.body, one of several signatures being enough. What may
// stand in an id is bounded so that the parts cannot be read in two ways.
func verifyStandard(secret []byte, h http.Header, body []byte, now time.Time) (signed, error) {
	id, stamp := single(h, "Webhook-Id"), single(h, "Webhook-Timestamp")
	at, err := strconv.ParseInt(stamp, 10, 64)
	if !plainID(id) || strings.HasPrefix(id, ownPrefix) || err != nil || strconv.FormatInt(at, 10) != stamp {
		return signed{}, errSignature
	}
	want := standardMAC(secret, id, stamp, body)
	all := strings.Fields(single(h, "Webhook-Signature"))
	good := false
	for _, s := range all[:min(len(all), maxSignatures)] {
		text, ok := strings.CutPrefix(s, "v1,")
		mac, err := base64.StdEncoding.DecodeString(text)
		if ok && err == nil && hmac.Equal(mac, want) {
			good = true
		}
	}
	when := time.Unix(at, 0)
	if off := now.Sub(when); !good || off > window || off < -window {
		return signed{}, errSignature
	}
	return signed{chat.MessageID("id-" + id), when}, nil
}

func standardMAC(secret []byte, id, stamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.", id, stamp)
	mac.Write(body)
	return mac.Sum(nil)
}

// verifyGitHub follows "Validating webhook deliveries" of GitHub's documentation. The
// id of a delivery is outside of the signature and no time is in it, so what is known
// again is the body: whoever recorded a request cannot have it done a second time under
// another id, also not a year later. GitHub's own redelivery has the same body.
func verifyGitHub(secret []byte, h http.Header, body []byte) (signed, error) {
	text, ok := strings.CutPrefix(single(h, "X-Hub-Signature-256"), "sha256=")
	is, err := hex.DecodeString(text)
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	want := mac.Sum(nil)
	if !ok || err != nil || !hmac.Equal(is, want) {
		return signed{}, errSignature
	}
	return signed{once: chat.MessageID("body-" + hex.EncodeToString(want))}, nil
}

// plainID says that an id is letters, digits, - and _.
func plainID(s string) bool {
	return s != "" && len(s) <= maxID && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// secretPrefix begins a secret of Standard Webhooks in text.
const secretPrefix = "whsec_"

// NewSecret makes a secret of 256 bits, in its text.
func NewSecret() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return secretPrefix + base64.StdEncoding.EncodeToString(b)
}

// ParseSecret gives the bytes that requests are signed with: what whsec_ encodes, or
// else the text itself, as GitHub has it. One that could be guessed is refused.
func ParseSecret(text string, f Form) ([]byte, error) {
	b := []byte(text)
	if f == Standard {
		enc, ok := strings.CutPrefix(text, secretPrefix)
		raw, err := base64.StdEncoding.DecodeString(enc)
		if !ok || err != nil {
			return nil, fmt.Errorf("a secret of this form is %s and base64, as nanoclaw webhook secret makes it", secretPrefix)
		}
		b = raw
	}
	if len(b) < 16 || len(b) > 256 {
		return nil, errors.New("a secret has 16 to 256 bytes")
	}
	return b, nil
}
