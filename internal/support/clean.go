// Package support makes of what a daemon knows about itself a bundle that somebody else
// may read: files with what is private taken out, which are shown before they are written.
//
// It promises that nothing passes but what is known to be harmless: numbers, words of
// closed lists, the names of groups and programs; and of texts, those that say what went
// wrong, without credentials, numbers of telephones, addresses of people, quotations, and
// whatever it was told to hide. A text that holds something private in other words than
// these passes: so the owner reads the bundle first.
//
// What is gathered, and from where, is for others.
package support

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/watch"
)

// Hidden stands in the place of what was taken out.
const Hidden = "[hidden]"

// Cleaner takes out what is private.
type Cleaner struct {
	mask *watch.Masker
	home string
}

// NewCleaner makes one for the owner with this home.
func NewCleaner(home string) *Cleaner {
	return &Cleaner{mask: watch.NewMasker(), home: strings.TrimSuffix(home, "/")}
}

// Hide tells it of texts that are private as they are: credentials, names of people and
// chats, messages. Of a text of several lines each is hidden, and short ones, which are
// in everything, are not.
func (c *Cleaner) Hide(texts ...string) {
	var all []string
	for _, t := range texts {
		for line := range strings.Lines(t) {
			if line = strings.TrimSpace(line); line != "" && !slices.Contains(all, line) {
				all = append(all, line)
			}
		}
	}
	c.mask.Learn(all...)
}

// Shapes of what is private in any text. Compiled patterns, read-only.
var (
	mail     = regexp.MustCompile(`[\w.+-]+@[\w-]+(?:\.[\w-]+)*`)
	phone    = regexp.MustCompile(`\+\d[\d ().\-/]{5,}\d|\(0\d+\)[\d ./-]{4,}\d|\b0\d{2,4}[ ./-]\d[\d ./-]{3,}\d|\b\d{3}[-. ]\d{3}[-. ]\d{4}\b|\b\d{7,}\b`)
	address  = regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}\b`)
	homes    = regexp.MustCompile(`(/home/|/Users/)[^/\s"']+`)
	quoted   = regexp.MustCompile("\"(?:[^\"\\\\\n]|\\\\.)*\"|'[^'\n]{2,}'|`[^`\n]+`|“[^”\n]*”|«[^»\n]*»")
	quantity = regexp.MustCompile(`^\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d|B|[KMGT]i?B?)(?:\d+(?:\.\d+)?(?:ms|s|m|h))*$`)
	plain    = regexp.MustCompile(`^[\w.:/ -]{1,40}$`)
)

// Text gives a text of ours without what is private.
func (c *Cleaner) Text(s string) string {
	s = c.mask.Text(s)
	if c.home != "" {
		s = c.mask.Text(strings.ReplaceAll(s, c.home, "~")) // as the owner writes it
	}
	s = homes.ReplaceAllString(s, "${1}"+Hidden)
	s = mail.ReplaceAllString(s, Hidden)
	s = phone.ReplaceAllString(s, Hidden)
	return address.ReplaceAllStringFunc(s, func(a string) string {
		if ip, err := netip.ParseAddr(a); err != nil || ip.IsLoopback() || ip.IsUnspecified() {
			return a
		}
		return Hidden
	})
}

// Words is Text for what programs and networks said went wrong, which quotes.
func (c *Cleaner) Words(s string) string {
	return c.Text(quoted.ReplaceAllString(c.mask.Text(s), Hidden))
}

// Value gives a value of ours, as JSON has it, with each text in it clean.
func (c *Cleaner) Value(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var x any
	if err := json.Unmarshal(b, &x); err != nil {
		return err.Error()
	}
	return c.each(x, c.Words)
}

func (c *Cleaner) each(v any, text func(string) string) any {
	switch v := v.(type) {
	case string:
		if _, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return v
		}
		return text(v)
	case []any:
		for i := range v {
			v[i] = c.each(v[i], text)
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[c.Text(k)] = c.each(x, text)
		}
		return out
	}
	return v
}

// Only gives of an object the fields with these names. Their texts stay if they are
// short and have no odd character, as words of closed lists do; the rest is hidden.
func (c *Cleaner) Only(object map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for _, k := range names {
		if v, ok := object[k]; ok {
			out[k] = c.each(v, c.short)
		}
	}
	return out
}

func (c *Cleaner) short(s string) string {
	if s == "" || plain.MatchString(s) {
		return c.Text(s)
	}
	return Hidden
}

// closed are the fields of the configuration whose values are words of closed lists, or
// names of models and programs of ours.
var closed = []string{
	"kind", "executionMode", "engine", "mode", "modes", "permissionMode", "trigger", "confirm", "agent", "effort", "model", "fallbackModel",
	"type", "form", "answer", "globalMcpInheritance", "role", "provider", "serverTools", "metrics", "group", "groups", "prepared",
}

// people are the maps of the configuration whose keys are people, chats or hosts.
var people = []string{"people", "hosts", "senders", "roles"}

// Config gives a configuration, as its JSON, with its shape, its numbers and its words of
// closed lists alone.
func (c *Cleaner) Config(raw []byte) any {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err.Error()
	}
	return c.config("", v)
}

func (c *Cleaner) config(field string, v any) any {
	switch v := v.(type) {
	case string:
		if shown(field, v) {
			return c.Text(v)
		}
		return Hidden
	case []any:
		for i := range v {
			v[i] = c.config(field, v[i])
		}
	case map[string]any:
		out := map[string]any{}
		i := 0
		for _, k := range sortedKeys(v) {
			name := c.Text(k)
			if i++; slices.Contains(people, field) {
				name = Hidden + " " + string(rune('0'+i%10)) + strings.Repeat("'", i/10)
			}
			out[name] = c.config(k, v[k])
		}
		return out
	}
	return v
}

// Private gives the texts of a configuration, as its JSON, that Config does not show.
func (c *Cleaner) Private(raw []byte) []string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil
	}
	var out []string
	var visit func(field string, v any)
	visit = func(field string, v any) {
		switch v := v.(type) {
		case string:
			if !shown(field, v) && !ordinary.MatchString(v) {
				out = append(out, v)
			}
		case []any:
			for _, x := range v {
				visit(field, x)
			}
		case map[string]any:
			for k, x := range v {
				if slices.Contains(people, field) {
					out = append(out, k)
				}
				visit(k, x)
			}
		}
	}
	visit("", v)
	return out
}

// value is a text of a file in JSON, but for names of fields.
var value = regexp.MustCompile(`"((?:[^"\\\n]|\\.)*)"\s*([,\]}/\n]|$)`)

// Unread is Private for a configuration that cannot be understood: all its values.
func (c *Cleaner) Unread(text []byte) (out []string) {
	for _, m := range value.FindAllSubmatch(text, -1) {
		out = append(out, string(m[1]))
	}
	return out
}

// ordinary is what stands in many configurations and in many lines: it tells nothing.
var ordinary = regexp.MustCompile(`^(?:/usr|/opt|/bin|/sbin|/etc)(?:/[\w.-]+)?$|^localhost/nanoclaw-agent:latest$`)

// shown says that a text of the configuration tells nothing private.
func shown(field, s string) bool {
	return s == "" || quantity.MatchString(s) || slices.Contains(closed, field) && plain.MatchString(s)
}

func sortedKeys(m map[string]any) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
