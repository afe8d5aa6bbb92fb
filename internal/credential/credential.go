// Package credential keeps what "nanoclaw login" stored: API keys and tokens for
// models, each under the name of its provider.
//
// Each lies in a file of its own beside the configuration, encrypted with age
// (age-encryption.org/v1) to one key of the installation. The key lies apart: in
// a credential of systemd where the service has one, else in a file of a folder
// of its own. So whoever copies, synchronises or backs up the configuration or
// the data gets nothing to use; docs/decisions/0006 says against whom that helps.
//
// It promises that a credential is written in one step or not at all, that files
// which others could have written or can read are refused, that a renewed token
// never takes the place of what the owner stored meanwhile, and that no value is
// printed.
//
// It leaves to others whether a credential is good (egress) and when it is asked
// for (daemon).
package credential

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Kind is how a credential is sent.
type Kind string

// The kinds.
const (
	APIKey     Kind = "api-key"     // X-Api-Key
	OAuthToken Kind = "oauth-token" // of a subscription: claude setup-token
	AuthToken  Kind = "auth-token"  // a bearer token, for compatible endpoints
)

// Known says whether there is such a kind.
func (k Kind) Known() bool { return k == APIKey || k == OAuthToken || k == AuthToken }

// Credential is what was stored for one provider. It never prints its value.
type Credential struct {
	Kind  Kind
	Value string
	// Endpoint is the only address that it is sent to: an address that somebody
	// sets later does not get a credential that was meant for another.
	Endpoint string
	// Until is when Value ends, as its issuer said. Zero: nobody said.
	Until time.Time
	// Refresh is exchanged for the next Value at TokenURL and nowhere else. Empty:
	// only the owner can get another.
	Refresh  string
	TokenURL string
}

// Same says that two are equal in every part.
func (c Credential) Same(other Credential) bool {
	return c.Until.Equal(other.Until) && c.Kind == other.Kind && c.Value == other.Value && c.Endpoint == other.Endpoint &&
		c.Refresh == other.Refresh && c.TokenURL == other.TokenURL
}

// String says what it is, without the value.
func (c Credential) String() string {
	return "credential{" + string(c.Kind) + " for " + c.Endpoint + "}"
}

// Format is String whatever the verb, since %d would print the fields.
func (c Credential) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is String, for slog.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is String, for JSON.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
