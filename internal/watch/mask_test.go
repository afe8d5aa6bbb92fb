package watch

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// canary is put together, so that no scanner takes this file for a leak.
func canary(parts ...string) string { return strings.Join(parts, "") }

func TestText(t *testing.T) {
	x := strings.Repeat("a1B2", 12)
	tests := []struct{ name, text, want string }{
		{"plain words", "git push the secrets of tokens: three", "git push the secrets of tokens: three"},
		{"Anthropic", "key " + canary("sk-", "ant-api03-", x) + " end", "key [masked] end"},
		{"GitHub", canary("ghp", "_", x), Masked},
		{"GitHub, new", canary("github", "_pat_", x), Masked},
		{"AWS", "id " + canary("AKIA", "IOSFODNN7EXAMPLE"), "id [masked]"},
		{"Slack", canary("xoxb", "-1234-", x), Masked},
		{"JWT", canary("eyJ", x, ".eyJ", x, ".", x), Masked},
		{"PEM", canary("-----BEGIN RSA ", "PRIVATE KEY-----\n", x, "\n-----END RSA ", "PRIVATE KEY-----") + "\nmore", Masked + "\nmore"},
		{"half a PEM", "cat <<E\n" + canary("-----BEGIN OPENSSH ", "PRIVATE KEY-----\n", x), "cat <<E\n" + Masked},
		{"bearer", "curl -H 'Authorization: Bearer abcdefgh.ijkl'", "curl -H 'Authorization: [masked] [masked]'"},
		{"assignment", "PASSWORD=hunter2 make", "PASSWORD=[masked] make"},
		{"quoted", `export API_KEY="a b c"; x`, `export API_KEY=[masked]; x`},
		{"option", "mysql --password hunter2 -u me", "mysql --password [masked] -u me"},
		{"option without value", "tool --token --verbose", "tool --token --verbose"},
		{"address", "git clone https://me:hunter2@example.com/x", "git clone https://me:[masked]@example.com/x"},
		{"told", "the value is open sesame.", "the value is [masked]."},
		{"the longer one told", "open sesame seeds", Masked},
		{"too short to be looked for", "abc", "abc"},
	}
	m := NewMasker("open sesame", "abc", "")
	m.Learn("open sesame seeds", "open sesame")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := m.Text(tt.text); got != tt.want {
				t.Errorf("%q became %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestInput(t *testing.T) {
	long := strings.Repeat("é", 30_000)
	tests := []struct {
		name, raw string
		want      any
	}{
		{"a command", `{"command":"TOKEN=abcdef ls"}`, map[string]any{"command": "TOKEN=[masked] ls"}},
		{"a field that is a secret", `{"password":"x","user":"me"}`, map[string]any{"password": Masked, "user": "me"}},
		{"nested", `{"a":[{"b":"open sesame"}],"n":12345678901234567890,"t":true,"z":null}`,
			map[string]any{"a": []any{map[string]any{"b": Masked}}, "n": "12345678901234567890", "t": true, "z": nil}},
		{"no JSON", `open sesame {`, Masked + " {"},
		{"too long", `{"x":"` + long + `"}`, map[string]any{"x": clip(long, maxString) + "… (60000 bytes)"}},
		{"too deep", strings.Repeat("[", 12) + strings.Repeat("]", 12), []any{[]any{[]any{[]any{[]any{[]any{[]any{[]any{"…"}}}}}}}}},
	}
	m := NewMasker("open sesame")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, m.Input(json.RawMessage(tt.raw))); d != "" {
				t.Error(d)
			}
		})
	}
}

// A secret that the cut would halve is not written in halves.
func TestCutShowsNoHalves(t *testing.T) {
	m := NewMasker("open sesame")
	for at := maxScanned - 12; at < maxScanned+2; at += 2 {
		raw, _ := json.Marshal(strings.Repeat("SECRET=xyz ", maxScanned/11+2)[:at] + "open sesame")
		if got := fmt.Sprint(m.Input(raw)); strings.Contains(got, "open") {
			t.Fatalf("at %d: %q", at, got[max(len(got)-60, 0):])
		}
	}
}

// FuzzMask: nothing that was told is left, what comes out is bounded text, and
// known shapes between other words are found.
func FuzzMask(f *testing.F) {
	f.Add("x", "open sesame", []byte(`{"a":"b"}`))
	f.Add("password=", "hunter2 hunter2", []byte(`["-----BEGIN PRIVATE KEY-----"]`))
	f.Add("é://a:", "[masked]x", []byte(`{"token":{"token":"x"}}`))
	f.Fuzz(func(t *testing.T, around, secret string, raw []byte) {
		m := NewMasker(secret)
		for _, text := range []string{around + secret + around, around + " " + canary("sk-", "ant-0123456789abcdefghij") + " " + around} {
			got := m.Text(text)
			if !utf8.ValidString(got) || strings.Contains(got, "0123456789abcdefghij") && !strings.Contains(around, "0123456789abcdefghij") {
				t.Fatalf("%q became %q", text, got)
			}
			// What was told may be found in what we write ourselves.
			told := len(secret) >= minSecret && utf8.ValidString(secret) && !strings.ContainsAny(secret, "[masked]…") && utf8.ValidString(around)
			if told && strings.Contains(got, secret) {
				t.Fatalf("%q is left in %q", secret, got)
			}
		}
		b, err := json.Marshal(m.Input(raw))
		if err != nil || len(b) > 8*maxLogged {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
	})
}
