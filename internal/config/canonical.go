package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strings"
)

// Canonical gives the configuration in its one form: JSON with every value in it,
// keys in order, and in place of each secret a keyed hash of it, so that a later
// form tells whether a secret changed and nobody learns what it is. Of a secret that
// is an address the host is kept: it says where the secret is sent.
//
// salt is the key; forms are compared that were made with the same one.
func Canonical(c *Config, salt []byte) ([]byte, error) {
	text, err := Encode(*c)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("canonical configuration: %w", err)
	}
	return json.Marshal(hideSecrets(tree, reflect.TypeFor[Config](), false, func(s string) string { return sealed(s, salt) }))
}

// FromCanonical reads what Canonical gave. Secrets are their hashes in it, so it
// serves for telling what the configuration permits and for nothing that runs.
func FromCanonical(text []byte) (*Config, error) {
	s, ps := parse("the accepted configuration", text)
	if err := ps.err(); err != nil {
		return nil, err
	}
	c := Default()
	d := decoder{source: s}
	d.value(&s.tree, reflect.ValueOf(&c).Elem(), true)
	if err := d.problems.err(); err != nil {
		return nil, err
	}
	return &c, nil
}

// hideSecrets replaces the secrets in a tree of JSON that has the form of t.
func hideSecrets(tree any, t reflect.Type, secret bool, hide func(string) string) any {
	secret = secret || t == reflect.TypeFor[Text]()
	switch v := tree.(type) {
	case string:
		if secret && v != "" {
			return hide(v)
		}
	case []any:
		for i := range v {
			v[i] = hideSecrets(v[i], t.Elem(), secret, hide)
		}
	case map[string]any:
		if t.Kind() == reflect.Map {
			for key := range v {
				v[key] = hideSecrets(v[key], t.Elem(), secret, hide)
			}
			break
		}
		for _, f := range fieldsOf(t) {
			if inner, ok := v[f.key]; ok {
				v[f.key] = hideSecrets(inner, t.Field(f.index).Type, secret || f.secret, hide)
			}
		}
	}
	return tree
}

// sealed is what stands for a secret.
func sealed(s string, salt []byte) string {
	mac := hmac.New(sha256.New, salt)
	mac.Write([]byte("nanoclaw config secret v1\n" + s))
	sum := "sealed-" + hex.EncodeToString(mac.Sum(nil)[:16])
	if u, err := url.Parse(s); err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") {
		return u.Scheme + "://" + u.Host + "/" + sum
	}
	return sum
}

// shownSecret is sealed for people.
func shownSecret(s string) string {
	if u, err := url.Parse(s); err == nil && u.Host != "" && strings.HasPrefix(u.Path, "/sealed-") {
		return u.Scheme + "://" + u.Host + "/…"
	}
	return "[secret]"
}
