package config

import (
	"fmt"
	"log/slog"
	"reflect"
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

// Secrets gives every value of the configuration that is a credential: fields
// tagged as secret, but for addresses. They are for a masker, and for nothing
// that is printed.
func (c Config) Secrets() []string {
	var out []string
	var visit func(v reflect.Value, secret bool)
	visit = func(v reflect.Value, secret bool) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				visit(v.Elem(), secret)
			}
		case reflect.Map:
			for _, k := range v.MapKeys() {
				visit(v.MapIndex(k), secret)
			}
		case reflect.Slice:
			for i := range v.Len() {
				visit(v.Index(i), secret)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					visit(v.Field(i), secret || f.Tag.Get("secret") == "true")
				}
			}
		case reflect.String:
			if s := v.String(); secret && s != "" && !strings.Contains(s, "://") {
				out = append(out, s)
			}
		}
	}
	visit(reflect.ValueOf(c), false)
	return out
}
