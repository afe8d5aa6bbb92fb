package config

import (
	"encoding/json"
	"strings"
)

// Text is a text that may be, or hold, a secret: what is sent to an MCP server or
// is in its environment. Nothing that prints a configuration shows it. It
// remembers whether a variable, ${NAME}, is part of it.
type Text struct {
	value    string
	variable bool
}

// NewText makes a Text as the file would without a variable.
func NewText(s string) Text { return Text{value: s} }

// Reveal gives the text itself, for whoever has to send it.
func (t Text) Reveal() string { return t.value }

// String says whether there is a text, and nothing of it.
func (t Text) String() string {
	if t.value == "" {
		return ""
	}
	return "[set]"
}

// GoString is String, for %#v.
func (t Text) GoString() string { return t.String() }

// Equal compares the texts.
func (t Text) Equal(u Text) bool { return t.value == u.value }

// MarshalJSON writes the text itself: see Encode.
func (t Text) MarshalJSON() ([]byte, error) { return json.Marshal(t.value) }

// secret says whether the text counts as a secret by where it comes from, or by
// the name under which it stands. Who writes a secret down in the file itself,
// under a name that says nothing, is not noticed.
func (t Text) secret(name string) bool {
	if t.value == "" {
		return false
	}
	name = strings.ToUpper(name)
	for _, word := range []string{"TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "API_KEY", "APIKEY", "ACCESS_KEY", "PRIVATE_KEY", "AUTH", "COOKIE"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return t.variable || strings.HasSuffix(name, "_KEY") || name == "KEY"
}
