package config

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/tailscale/hujson"
)

// Options are what this package takes from its surroundings.
type Options struct {
	// Getenv looks up a variable; "" is "not set". Nil has no variables.
	Getenv func(string) string
	// UID is the user whose paths Locate gives. Load and EnsureDirs go by the
	// user of the process instead, which no caller can get wrong.
	UID int
	// CheckHost says what is wrong with one egress entry. The syntax belongs to
	// the grant package; nil leaves it to be checked there.
	CheckHost func(entry string) error
	// CheckDeny and CheckTerms do the same for an entry of egress.deny and for how
	// a host is treated.
	CheckDeny  func(entry string) error
	CheckTerms func(entry string, h EgressHost) error
	// CheckRule does it for a rule about tools, of the level "deny", "ask" or "allow".
	CheckRule func(level, rule string) error
}

// Decode reads the text of a configuration. What the text does not say has the
// value of Default. The error is of type Problems and tells every mistake with
// its place; file is only a name for it.
func Decode(file string, data []byte, o Options) (*Config, error) {
	c, _, ps := decode(file, data, o)
	if len(ps) > 0 {
		return nil, ps
	}
	return c, nil
}

// decode is Decode, and gives the tree too. Problems of single values do not
// keep the others from being checked.
func decode(file string, data []byte, o Options) (*Config, *source, Problems) {
	s, ps := parse(file, data)
	if len(ps) > 0 {
		return nil, nil, ps
	}
	c := Default()
	d := decoder{source: s, getenv: o.Getenv}
	d.value(&s.tree, reflect.ValueOf(&c).Elem(), false)
	if _, ok := c.Groups[mainGroup]; !ok {
		c.Groups[mainGroup] = Group{}
	}
	all := d.problems
	for _, p := range s.locate(c.Validate(o)) {
		// A value that could not be read has been told about already.
		told := slices.ContainsFunc(d.problems, func(q Problem) bool { return p.Field.within(q.Field) })
		if !told {
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &c, s, all
}

// decoder writes a tree into a struct. It is strict: a key that is not known,
// a key given twice, a null and a value of another type are problems. After
// the first maxProblems it stops looking.
type decoder struct {
	*source
	getenv   func(string) string
	path     Path
	problems Problems
}

func (d *decoder) full() bool { return len(d.problems) > maxProblems }

// report adds a problem with the value at the current path.
func (d *decoder) report(offset int, p Problem) {
	if p.Field == nil {
		p.Field = slices.Clone(d.path)
	}
	d.problems = append(d.problems, d.problemAt(offset, p))
}

// mismatch reports a value of the wrong type. A secret's value is not shown.
func (d *decoder) mismatch(v *hujson.Value, expected string, secret bool) {
	found := describe(v.Value)
	if secret {
		found = "something else"
	}
	d.report(v.StartOffset, Problem{Expected: expected, Found: found})
}

// value decodes v into dst, which is settable. The depth of the recursion is
// bounded by the types, and by scan.
func (d *decoder) value(v *hujson.Value, dst reflect.Value, secret bool) {
	switch into := dst.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		d.text(v, dst, into)
		return
	case *Text:
		if s, ok := d.string(v, "a text", true); ok {
			// string has found a literal; only a variable makes it another text
			*into = Text{value: s, variable: refers(v.Value.(hujson.Literal).String())}
		}
		return
	}
	switch dst.Kind() {
	case reflect.Struct:
		d.structure(v, dst)
	case reflect.Map:
		d.dictionary(v, dst, secret)
	case reflect.Slice:
		d.list(v, dst)
	case reflect.String:
		if s, ok := d.string(v, "a text", secret); ok {
			dst.SetString(s)
		}
	case reflect.Bool:
		switch v.Value.Kind() {
		case 't', 'f':
			dst.SetBool(v.Value.Kind() == 't')
		default:
			d.mismatch(v, "true or false", secret)
		}
	case reflect.Int:
		d.integer(v, dst)
	default:
		panic("config: a field has type " + dst.Type().String() + ", which the decoder does not know")
	}
}

// string gives a text with its variables replaced.
func (d *decoder) string(v *hujson.Value, expected string, secret bool) (string, bool) {
	literal, _ := v.Value.(hujson.Literal)
	if literal.Kind() != '"' {
		d.mismatch(v, expected, secret)
		return "", false
	}
	s, err := expand(literal.String(), d.getenv)
	if err != nil {
		if secret && !err.unresolved {
			err.found = "something else"
		}
		d.report(v.StartOffset, Problem{Expected: err.expected, Found: err.found, Hint: err.hint, unresolved: err.unresolved})
		return "", false
	}
	return s, true
}

// text decodes a value with a text form of its own.
func (d *decoder) text(v *hujson.Value, dst reflect.Value, into encoding.TextUnmarshaler) {
	form := textForms[dst.Type()]
	s, ok := d.string(v, form, false)
	if !ok {
		return
	}
	if err := into.UnmarshalText([]byte(s)); err != nil {
		_, hint, _ := strings.Cut(err.Error(), ": ")
		d.report(v.StartOffset, Problem{Expected: form, Found: quote(s), Hint: hint})
	}
}

// textForms says in words what the types with a text form expect.
var textForms = map[reflect.Type]string{
	reflect.TypeFor[Duration](): durationForm,
	reflect.TypeFor[Size]():     sizeForm,
	reflect.TypeFor[USD]():      usdForm,
}

func (d *decoder) integer(v *hujson.Value, dst reflect.Value) {
	literal, _ := v.Value.(hujson.Literal)
	if literal.Kind() != '0' {
		d.mismatch(v, "a whole number", false)
		return
	}
	n, err := strconv.ParseInt(string(literal), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && dst.OverflowInt(n):
		d.report(v.StartOffset, Problem{Expected: "a smaller number", Found: clip(string(literal))})
	case err != nil:
		d.report(v.StartOffset, Problem{Expected: "a whole number", Found: clip(string(literal))})
	default:
		dst.SetInt(n)
	}
}

// structure decodes an object whose keys are the fields of a struct.
func (d *decoder) structure(v *hujson.Value, dst reflect.Value) {
	object, ok := v.Value.(*hujson.Object)
	if !ok {
		d.mismatch(v, "an object", false)
		return
	}
	fields := fieldsOf(dst.Type())
	d.members(object, func(m *hujson.ObjectMember, key string) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
		if i < 0 {
			d.report(m.Name.StartOffset, Problem{
				Expected: "a known key",
				Found:    quote(key),
				Hint:     didYouMean(key, keysOf(fields)),
			})
			return
		}
		d.value(&m.Value, dst.Field(fields[i].index), fields[i].secret)
	})
}

// dictionary decodes an object whose keys are names that the owner chose. It
// replaces the default as a whole.
func (d *decoder) dictionary(v *hujson.Value, dst reflect.Value, secret bool) {
	object, ok := v.Value.(*hujson.Object)
	if !ok {
		d.mismatch(v, "an object", false)
		return
	}
	dst.Set(reflect.MakeMap(dst.Type()))
	d.members(object, func(m *hujson.ObjectMember, key string) {
		element := reflect.New(dst.Type().Elem()).Elem()
		d.value(&m.Value, element, secret)
		dst.SetMapIndex(reflect.ValueOf(key), element)
	})
}

// members calls f for each member, with the path set, and reports keys that
// are there already.
func (d *decoder) members(object *hujson.Object, f func(*hujson.ObjectMember, string)) {
	first := make(map[string]int, len(object.Members))
	for i := range object.Members {
		if d.full() {
			return
		}
		m := &object.Members[i]
		key := memberName(*m)
		d.path = append(d.path, key)
		if offset, twice := first[key]; twice {
			line, column := d.position(offset)
			d.report(m.Name.StartOffset, Problem{
				Expected: "each key once",
				Found:    quote(key) + " again",
				Hint:     fmt.Sprintf("the first is at line %d, column %d: remove one", line, column),
			})
		} else {
			first[key] = m.Name.StartOffset
			f(m, key)
		}
		d.path = d.path[:len(d.path)-1]
	}
}

// list decodes an array. It replaces the default as a whole.
func (d *decoder) list(v *hujson.Value, dst reflect.Value) {
	array, ok := v.Value.(*hujson.Array)
	if !ok {
		d.mismatch(v, "a list in [ ]", false)
		return
	}
	dst.Set(reflect.MakeSlice(dst.Type(), len(array.Elements), len(array.Elements)))
	for i := range array.Elements {
		if d.full() {
			return
		}
		d.path = append(d.path, i)
		d.value(&array.Elements[i], dst.Index(i), false)
		d.path = d.path[:len(d.path)-1]
	}
}

// field is one field of a struct as the file knows it.
type field struct {
	key    string
	index  int
	secret bool
}

// fieldsOf lists the fields of a struct in order, but for those that are no keys.
func fieldsOf(t reflect.Type) []field {
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "-" {
			continue
		}
		fields = append(fields, field{key, i, f.Tag.Get("secret") == "true"})
	}
	return fields
}

func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

// describe names a value in a message.
func describe(v hujson.ValueTrimmed) string {
	switch v := v.(type) {
	case *hujson.Object:
		return "an object"
	case *hujson.Array:
		return "a list"
	case hujson.Literal:
		switch v.Kind() {
		case '"':
			return "the text " + quote(v.String())
		case '0':
			return "the number " + clip(string(v))
		case 'n':
			return "null"
		default:
			return string(v)
		}
	}
	return "nothing"
}
