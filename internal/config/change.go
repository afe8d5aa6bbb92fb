package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Change is one value that a configuration has and another one has not.
type Change struct {
	// Field is where, Groups which groups it is about; empty: all of them.
	Field  Path     `json:"field"`
	Groups []string `json:"groups,omitempty"`
	// Was and Is are the values as JSON, without secrets; "" for one that is not there.
	Was string `json:"was,omitempty"`
	Is  string `json:"is,omitempty"`
	// Security says that only a restart accepts it.
	Security bool `json:"security"`
	// Sense says whether it gives or takes rights.
	Sense Sense `json:"sense"`
}

// Sense is what a change does to what agents, or people, may do.
type Sense string

// The senses. What cannot be told is Turns: it is another thing than before, and
// whoever reads of it should look as if it gave a right.
const (
	Grows   Sense = "grows"
	Shrinks Sense = "shrinks"
	Turns   Sense = "changes"
)

// String gives the change on one line.
func (c Change) String() string {
	switch {
	case c.Was == "":
		return fmt.Sprintf("%s: added %s", c.Field, c.Is)
	case c.Is == "":
		return fmt.Sprintf("%s: removed %s", c.Field, c.Was)
	case c.Was == c.Is:
		return fmt.Sprintf("%s: another value, which is secret", c.Field)
	}
	return fmt.Sprintf("%s: %s → %s", c.Field, c.Was, c.Is)
}

// Changes compares two configurations, each as FromCanonical gives it, with secrets
// hidden by the same salt. Those that touch security come first.
func Changes(was, is *Config) []Change {
	rest := was.WithRest(is)
	var out []Change
	for _, step := range []struct {
		from, to *Config
		security bool
	}{{rest, is, true}, {was, rest, false}} {
		d := differ{was: was, is: is, security: step.security}
		d.walk(nil, nil, reflect.ValueOf(*step.from), reflect.ValueOf(*step.to), false)
		slices.SortStableFunc(d.out, func(a, b Change) int { return cmp.Compare(a.Field.String(), b.Field.String()) })
		out = append(out, d.out...)
	}
	return out
}

// differ walks two values of the same type.
type differ struct {
	was, is  *Config
	security bool
	out      []Change
}

// add notes one change. place is the field with "*" for each name that the owner chose.
func (d *differ) add(field Path, place []string, was, is string, sense Sense) {
	d.out = append(d.out, Change{
		Field: slices.Clone(field), Groups: d.groups(field), Was: was, Is: is, Security: d.security, Sense: sense,
	})
}

// groups are those that a field is about, nil for all.
func (d *differ) groups(field Path) []string {
	if len(field) < 2 {
		return nil
	}
	name := fmt.Sprint(field[1])
	switch field[0] {
	case "groups":
		return []string{name}
	case "mcpServers":
		var out []string
		for _, c := range []*Config{d.was, d.is} {
			for _, g := range slices.Sorted(maps.Keys(c.Groups)) {
				if s, ok := c.MCPServers[name]; ok && s.For(g) && !slices.Contains(out, g) {
					out = append(out, g)
				}
			}
		}
		return out
	}
	return nil
}

func (d *differ) walk(field Path, place []string, a, b reflect.Value, secret bool) {
	if reflect.DeepEqual(a.Interface(), b.Interface()) || empty(a) && empty(b) {
		return
	}
	switch {
	case a.Kind() == reflect.Struct && a.Type() != reflect.TypeFor[Text]():
		for _, f := range fieldsOf(a.Type()) {
			d.walk(field.plus(f.key), append(slices.Clip(place), f.key), a.Field(f.index), b.Field(f.index), secret || f.secret)
		}
	case a.Kind() == reflect.Map:
		d.dictionary(field, place, a, b, secret)
	case a.Kind() == reflect.Slice:
		d.list(field, place, a, b, secret)
	default:
		d.add(field, place, show(a, secret), show(b, secret), sense(place, a, b))
	}
}

func (d *differ) dictionary(field Path, place []string, a, b reflect.Value, secret bool) {
	keys := map[string]bool{}
	for _, m := range []reflect.Value{a, b} {
		for _, k := range m.MapKeys() {
			keys[k.String()] = true
		}
	}
	within := append(slices.Clip(place), "*")
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		was, is := a.MapIndex(reflect.ValueOf(key)), b.MapIndex(reflect.ValueOf(key))
		here := field.plus(key)
		switch {
		case !was.IsValid():
			d.add(here, within, "", show(is, secret), ruleOf(within).added())
		case !is.IsValid():
			d.add(here, within, show(was, secret), "", ruleOf(within).removed())
		default:
			d.walk(here, within, was, is, secret)
		}
	}
}

// list compares elements as a set; only another order is one change of the whole.
func (d *differ) list(field Path, place []string, a, b reflect.Value, secret bool) {
	r := ruleOf(place)
	if r == only && (a.Len() == 0 || b.Len() == 0) {
		s := Grows
		if a.Len() == 0 {
			s = Shrinks
		}
		d.add(field, place, show(a, secret), show(b, secret), s)
		return
	}
	before := len(d.out)
	each := func(x, y reflect.Value, found func(text string)) {
		for i := range x.Len() {
			in := false
			for j := range y.Len() {
				in = in || reflect.DeepEqual(x.Index(i).Interface(), y.Index(j).Interface())
			}
			if !in {
				found(show(x.Index(i), secret))
			}
		}
	}
	each(a, b, func(text string) { d.add(field, place, text, "", r.removed()) })
	each(b, a, func(text string) { d.add(field, place, "", text, r.added()) })
	if len(d.out) == before {
		d.add(field, place, show(a, secret), show(b, secret), Turns)
	}
}

// empty says that a list or a dictionary has nothing in it, made or not.
func empty(v reflect.Value) bool {
	return (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0
}

// maxShown bounds one value in a plan.
const maxShown = 400

// show writes a value as JSON without its secrets.
func show(v reflect.Value, secret bool) string {
	if v.Kind() == reflect.Slice && v.Len() == 0 {
		return "[]"
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v.Interface()) != nil {
		return "a value"
	}
	var tree any
	if json.Unmarshal(b.Bytes(), &tree) != nil {
		return "a value"
	}
	b.Reset()
	if e.Encode(hideSecrets(tree, v.Type(), secret, shownSecret)) != nil {
		return "a value"
	}
	text := string(bytes.TrimSpace(b.Bytes()))
	if r := []rune(text); len(r) > maxShown {
		text = string(r[:maxShown]) + "…"
	}
	return text
}
