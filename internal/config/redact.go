package config

import (
	"fmt"
	"log/slog"
	"strings"
)

// String says which parts are set, and none of their content: a configuration
// that ends up in a log or an error must not carry the credential with it.
func (m Model) String() string {
	var set []string
	for _, f := range []struct{ key, value string }{
		{"baseURL", m.BaseURL}, {"apiKey", m.APIKey}, {"authToken", m.AuthToken}, {"oauthToken", m.OAuthToken},
	} {
		if f.value != "" {
			set = append(set, f.key)
		}
	}
	if len(m.Headers) > 0 {
		set = append(set, "headers")
	}
	if m.OAuth != (OAuth{}) {
		set = append(set, "oauth")
	}
	if set == nil {
		return "model{}"
	}
	return "model{" + strings.Join(set, ", ") + " set}"
}

// GoString is String, for %#v.
func (m Model) GoString() string { return m.String() }

// LogValue is String, for slog.
func (m Model) LogValue() slog.Value { return slog.StringValue(m.String()) }

// LogValue keeps slog's JSON handler from writing the whole file.
func (c Config) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprintf("config{version %d, %d groups, %d MCP servers, %s}", c.Version, len(c.Groups), len(c.MCPServers), c.Model))
}
