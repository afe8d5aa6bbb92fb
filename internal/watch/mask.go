package watch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// Masked stands in the place of a credential.
const Masked = "[masked]"

// Masker takes credentials out of text that is written down or shown. It knows
// the shapes that credentials have, and values that it was told. It may be used
// from several goroutines.
//
// It is a help and no promise: a credential without a shape, or one that is
// encoded or split, passes.
type Masker struct {
	values atomic.Pointer[strings.Replacer]

	mu    sync.Mutex // guards known
	known []string
}

// minSecret is the shortest value that is looked for, in bytes: shorter ones
// would be found in everything.
const minSecret = 6

// NewMasker makes a masker that knows these secrets too. Short ones are left out.
func NewMasker(secrets ...string) *Masker {
	m := &Masker{}
	m.Learn(secrets...)
	return m
}

// Learn tells the masker of further secrets. It never forgets one: what was valid
// yesterday may still be written somewhere.
func (m *Masker) Learn(secrets ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range secrets {
		if len(s) >= minSecret && !slices.Contains(m.known, s) {
			m.known = append(m.known, s)
		}
	}
	// Of two values that begin alike the longer one goes first.
	slices.SortStableFunc(m.known, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range m.known {
		pairs = append(pairs, s, Masked)
	}
	m.values.Store(strings.NewReplacer(pairs...))
}

// shape is one form of credential; what replaces it keeps the words around it.
type shape struct {
	// hints: without one of them, in lower case, the pattern is not tried.
	hints   []string
	pattern *regexp.Regexp
	with    string
}

// sensitive is the end of a name whose value is a credential.
const sensitive = `(?:(?:api|access|secret|private|signing)[_-]?key(?:[_-]?id)?|passw(?:or)?d|passphrase|secret|token|credentials?|authorization|cookie)`

// sensitiveHints are the hints for it.
var sensitiveHints = []string{"key", "passw", "passphrase", "secret", "token", "credential", "authorization", "cookie"}

// value is what stands behind such a name, and is not masked already.
const value = `"[^"\n[][^"\n]*"|'[^'\n]+'|[^\s"'&;,)}\]]{3}[^\s"'&;,)}\]]*`

// shapes are tried in order. Compiled patterns, read-only.
var shapes = []shape{
	{[]string{"private key"}, regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)`), Masked},
	{[]string{"sk-", "sk_", "rk_"}, regexp.MustCompile(`\b(?:sk-[\w-]{16}[\w-]*|[sr]k_(?:live|test)_\w{10}\w*)`), Masked},
	{[]string{"gh", "github_pat_", "glpat-"}, regexp.MustCompile(`\b(?:gh[a-z]_[A-Za-z0-9]{20}[A-Za-z0-9]*|github_pat_\w{20}\w*|glpat-[\w-]{16}[\w-]*)`), Masked},
	{[]string{"xox", "xapp-"}, regexp.MustCompile(`\b(?:xox[a-z]|xapp)-[A-Za-z0-9-]{10}[A-Za-z0-9-]*`), Masked},
	{[]string{"akia", "asia", "aiza"}, regexp.MustCompile(`\b(?:A(?:KI|SI)A[A-Z0-9]{16}|AIza[\w-]{30}[\w-]*)`), Masked},
	{[]string{"npm_", "hf_", "pypi-", "sg.", "age-secret-key-"}, regexp.MustCompile(`\b(?:npm_[A-Za-z0-9]{30}[A-Za-z0-9]*|hf_[A-Za-z0-9]{20}[A-Za-z0-9]*|pypi-[\w-]{20}[\w-]*|SG\.[\w-]{16}[\w-]*\.[\w-]+|AGE-SECRET-KEY-1[A-Z0-9]+)`), Masked},
	{[]string{"eyj"}, regexp.MustCompile(`\beyJ[\w-]{8}[\w-]*\.eyJ[\w-]{8}[\w-]*(?:\.[\w-]*)?`), Masked},
	{[]string{"bearer", "basic"}, regexp.MustCompile(`(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{8}[\w.~+/=-]*`), "${1}" + Masked},
	{[]string{"://"}, regexp.MustCompile(`(://[^/\s:@"']*:)[^/\s@"']+@`), "${1}" + Masked + "@"},
	// JSON stays JSON.
	{sensitiveHints, regexp.MustCompile(`(?i)(` + sensitive + `"\s*:\s*)"[^"\n]+"`), `${1}"` + Masked + `"`},
	{sensitiveHints, regexp.MustCompile(`(?i)(` + sensitive + `["']?\s*(?::=|=>|[=:])\s*)(?:` + value + `)`), "${1}" + Masked},
	{sensitiveHints, regexp.MustCompile(`(?i)(-[a-z0-9-]*` + sensitive + `\s+)(?:"[^"\n]+"|'[^'\n]+'|[^\s"'&;,)}\]-][^\s"'&;,)}\]]{2}[^\s"'&;,)}\]]*)`), "${1}" + Masked},
}

// sensitiveName matches names of fields whose value is a credential.
var sensitiveName = regexp.MustCompile(`(?i)` + sensitive + `$`)

// Text gives s without the credentials that are found in it.
func (m *Masker) Text(s string) string {
	s = m.values.Load().Replace(strings.ToValidUTF8(s, "\uFFFD"))
	lower := strings.ToLower(s)
	for _, sh := range shapes {
		if slices.ContainsFunc(sh.hints, func(h string) bool { return strings.Contains(lower, h) }) {
			s = sh.pattern.ReplaceAllString(s, sh.with)
		}
	}
	return s
}

// Bounds of what is written down of arguments.
const (
	maxLogged  = 8 << 10  // bytes in all
	maxString  = 4 << 10  // bytes of one text
	maxScanned = 16 << 10 // bytes of one text that are searched for credentials
	maxFields  = 64       // of one object or list
	maxLevels  = 8
)

// Input gives the arguments of a call as they may be written down: JSON without
// credentials and of bounded size. What was cut says so.
func (m *Masker) Input(raw json.RawMessage) any {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	left := maxLogged
	if err := d.Decode(&v); err != nil {
		return m.bounded(string(raw[:min(len(raw), maxScanned+1)]), &left)
	}
	return m.value(v, maxLevels, &left)
}

// value masks and bounds a decoded value. left is how many bytes may still be
// written.
func (m *Masker) value(v any, levels int, left *int) any {
	if *left <= 0 || levels == 0 {
		return "…"
	}
	switch v := v.(type) {
	case string:
		return m.bounded(v, left)
	case json.Number:
		return m.bounded(v.String(), left)
	case []any:
		var out []any
		for i, e := range v {
			if i == maxFields || *left <= 0 {
				out = append(out, fmt.Sprintf("… %d more", len(v)-i))
				break
			}
			out = append(out, m.value(e, levels-1, left))
		}
		return out
	case map[string]any:
		return m.object(v, levels, left)
	}
	*left -= 5
	return v
}

func (m *Masker) object(v map[string]any, levels int, left *int) any {
	out := map[string]any{}
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, k := range keys {
		if i == maxFields || *left <= 0 {
			out["…"] = fmt.Sprintf("%d more", len(keys)-i)
			break
		}
		name := m.bounded(k, left)
		if s, text := v[k].(string); text && s != "" && sensitiveName.MatchString(k) {
			out[name] = Masked
			continue
		}
		out[name] = m.value(v[k], levels-1, left)
	}
	return out
}

// bounded masks a text and cuts it. It is cut before it is searched too, and of
// such a text the end is dropped: half a credential there would not be known.
func (m *Masker) bounded(s string, left *int) string {
	whole := len(s)
	long := whole > maxScanned
	if long {
		s = clip(s, maxScanned)
	}
	s = m.Text(s)
	room := min(maxString, *left)
	if long {
		room = min(room, max(len(s)-2<<10, 0))
	}
	if len(s) > room {
		s = fmt.Sprintf("%s… (%d bytes)", clip(s, max(room, 0)), whole)
	}
	*left -= len(s)
	return s
}

// clip shortens s to at most n bytes, at a character's end.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
