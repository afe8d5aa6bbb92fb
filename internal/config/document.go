package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tailscale/hujson"
)

// Document is a configuration file under change. Its methods take JSON
// pointers (RFC 6901), such as /groups/main/mode, and values that are written
// as JSON; a ${ in a value is taken literally.
//
// A change is spliced into the text, which is then parsed anew: what was not
// asked for cannot change, because it is not touched.
type Document struct {
	*source
	changed bool
}

// Pointer makes a JSON pointer of keys.
func Pointer(keys ...string) string {
	var b strings.Builder
	for _, k := range keys {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(k))
	}
	return b.String()
}

// splitPointer gives the pointer of the parent, and the last key.
func splitPointer(pointer string) (parent, key string, err error) {
	i := strings.LastIndexByte(pointer, '/')
	if i < 0 {
		return "", "", fmt.Errorf("%s is not a pointer such as /groups/main/mode", quote(pointer))
	}
	return pointer[:i], strings.NewReplacer("~1", "/", "~0", "~").Replace(pointer[i+1:]), nil
}

// Has says whether there is a value.
func (d *Document) Has(pointer string) bool { return d.tree.Find(pointer) != nil }

// Set gives the value at pointer another content, or adds it at the end of its
// object. Objects on the way are made.
func (d *Document) Set(pointer string, value any) error {
	v, err := toTree(value)
	if err != nil {
		return fmt.Errorf("%s: %w", pointer, err)
	}
	if old := d.tree.Find(pointer); old != nil {
		return d.splice(old.StartOffset, old.EndOffset, d.layout().render(v, d.indentAt(old.StartOffset)))
	}
	parent, key, err := splitPointer(pointer)
	if err != nil {
		return err
	}
	if !d.Has(parent) {
		return d.Set(parent, map[string]any{key: value})
	}
	container := d.tree.Find(parent)
	object, ok := container.Value.(*hujson.Object)
	if !ok {
		return fmt.Errorf("%s is not an object", parent)
	}
	items := make([]item, len(object.Members))
	for i, m := range object.Members {
		items[i] = item{m.Name.StartOffset, m.Value.EndOffset, m.Value.AfterExtra}
	}
	return d.add(container, items, string(hujson.String(key))+": ", v)
}

// Append adds value at the end of the list at pointer, which is made if it is
// not there.
func (d *Document) Append(pointer string, value any) error {
	container := d.tree.Find(pointer)
	if container == nil {
		return d.Set(pointer, []any{value})
	}
	array, ok := container.Value.(*hujson.Array)
	if !ok {
		return fmt.Errorf("%s is not a list", pointer)
	}
	v, err := toTree(value)
	if err != nil {
		return fmt.Errorf("%s: %w", pointer, err)
	}
	items := make([]item, len(array.Elements))
	for i, e := range array.Elements {
		items[i] = item{e.StartOffset, e.EndOffset, e.AfterExtra}
	}
	return d.add(container, items, "", v)
}

// Remove takes a value away, with the comments that belong to it: those on its
// line and directly above. Which these are, hujson decides.
func (d *Document) Remove(pointer string) error {
	parent, _, err := splitPointer(pointer)
	if err != nil {
		return err
	}
	if !d.Has(pointer) {
		return fmt.Errorf("there is no %s", pointer)
	}
	// The patch works on a text of its own: it writes into what it was parsed from.
	tree, err := hujson.Parse(bytes.Clone(d.text))
	if err != nil {
		return err
	}
	container := tree.Find(parent)
	comma := endsWithComma(container)
	patch, err := json.Marshal([]map[string]string{{"op": "remove", "path": pointer}})
	if err == nil {
		err = tree.Patch(patch)
	}
	if err != nil {
		return err
	}
	tidyEnd(container, d.indentAt(container.StartOffset), comma)
	return d.replace(tree.Pack())
}

// endsWithComma says whether a comma follows the last item.
func endsWithComma(container *hujson.Value) bool {
	last, _ := end(container)
	return last != nil && last.AfterExtra != nil
}

// tidyEnd puts right what a removal does to the end of a container: the indent
// of the closing bracket, and the comma after the last item.
func tidyEnd(container *hujson.Value, indent string, comma bool) {
	last, extra := end(container)
	if comma && last != nil && last.AfterExtra == nil {
		last.AfterExtra = hujson.Extra{}
	}
	if i := bytes.LastIndexByte(*extra, '\n'); i >= 0 && len(bytes.TrimLeft((*extra)[i+1:], " \t")) == 0 {
		*extra = append(slices.Clip((*extra)[:i+1]), indent...)
	}
}

// end gives the last value of a container, nil if it is empty, and what stands
// before the closing bracket.
func end(container *hujson.Value) (last *hujson.Value, extra *hujson.Extra) {
	switch t := container.Value.(type) {
	case *hujson.Object:
		if n := len(t.Members); n > 0 {
			last = &t.Members[n-1].Value
		}
		return last, &t.AfterExtra
	case *hujson.Array:
		if n := len(t.Elements); n > 0 {
			last = &t.Elements[n-1]
		}
		return last, &t.AfterExtra
	}
	return nil, new(hujson.Extra)
}

// item is a member or element: where it begins and ends, and what stands
// between it and its comma (nil if it is last and has none).
type item struct {
	start, end int
	after      hujson.Extra
}

// add puts a new item at the end of a container, after all comments.
func (d *Document) add(container *hujson.Value, items []item, name string, v hujson.Value) error {
	open, closing := container.StartOffset, container.EndOffset-1
	inner := d.text[open+1 : closing]
	lay := d.layout()
	outer := d.indentAt(open)
	indent := outer + lay.unit
	if len(items) > 0 && d.beginsLine(items[0].start) {
		indent = d.indentAt(items[0].start)
	}
	composite := v.Value.Kind() == '{' || v.Value.Kind() == '['

	switch {
	case len(bytes.TrimSpace(inner)) == 0 && (composite || container.Value.Kind() == '{'):
		return d.splice(open+1, closing, lay.newline+indent+name+lay.render(v, indent)+","+lay.newline+outer)
	case len(bytes.TrimSpace(inner)) == 0:
		return d.splice(open+1, closing, name+lay.inline(v))
	}
	// The new item follows the last thing inside, be it a comment.
	at := open + 1 + len(bytes.TrimRight(inner, " \t\r\n"))
	text := " " + name + lay.inline(v)
	if bytes.ContainsRune(inner, '\n') {
		text = lay.newline + indent + name + lay.render(v, indent)
	}
	if len(items) == 0 {
		return d.splice(at, at, text)
	}
	last := items[len(items)-1]
	if last.after != nil { // the list ends with a comma, and shall again
		return d.splice(at, at, text+",")
	}
	return d.splice(last.end, at, ","+string(d.text[last.end:at])+text)
}

// splice replaces a part of the text.
func (d *Document) splice(from, to int, with string) error {
	if string(d.text[from:to]) == with {
		return nil
	}
	text := make([]byte, 0, len(d.text)+len(with))
	text = append(append(append(text, d.text[:from]...), with...), d.text[to:]...)
	return d.replace(text)
}

func (d *Document) replace(text []byte) error {
	s, ps := parse(d.file, text)
	if err := ps.err(); err != nil {
		return fmt.Errorf("the change would break the file: %w", err)
	}
	s.bom = d.bom
	d.source, d.changed = s, true
	return nil
}

// beginsLine says whether only white space stands before offset on its line.
func (d *Document) beginsLine(offset int) bool {
	start := bytes.LastIndexByte(d.text[:offset], '\n') + 1
	return len(bytes.TrimLeft(d.text[start:offset], " \t")) == 0
}

// indentAt is the white space that begins the line of offset.
func (d *Document) indentAt(offset int) string {
	line := d.text[bytes.LastIndexByte(d.text[:offset], '\n')+1 : offset]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// layout is how the owner writes: the end of a line and one step of indent.
type layout struct{ newline, unit string }

func (d *Document) layout() layout {
	l := layout{"\n", "  "}
	if bytes.Contains(d.text, []byte("\r\n")) {
		l.newline = "\r\n"
	}
	if object, ok := d.tree.Value.(*hujson.Object); ok && len(object.Members) > 0 {
		first := object.Members[0].Name.StartOffset
		if indent := d.indentAt(first); indent != "" && d.beginsLine(first) {
			l.unit = indent
		}
	}
	return l
}

// maxInline is the longest object or list that stays on one line.
const maxInline = 80

// render writes v for a place whose line is indented so: small things on one
// line, others with one item a line.
func (l layout) render(v hujson.Value, indent string) string {
	if s := l.inline(v); !nested(v) && utf8.RuneCountInString(s) <= maxInline {
		return s
	}
	var b strings.Builder
	line := func(s string) { b.WriteString(l.newline + indent + l.unit + s + ",") }
	switch t := v.Value.(type) {
	case *hujson.Object:
		b.WriteByte('{')
		for _, m := range t.Members {
			line(m.Name.String() + ": " + l.render(m.Value, indent+l.unit))
		}
		b.WriteString(l.newline + indent + "}")
	case *hujson.Array:
		b.WriteByte('[')
		for _, e := range t.Elements {
			line(l.render(e, indent+l.unit))
		}
		b.WriteString(l.newline + indent + "]")
	default:
		return v.String()
	}
	return b.String()
}

// inline writes v on one line.
func (l layout) inline(v hujson.Value) string {
	var parts []string
	switch t := v.Value.(type) {
	case *hujson.Object:
		for _, m := range t.Members {
			parts = append(parts, m.Name.String()+": "+l.inline(m.Value))
		}
		if parts == nil {
			return "{}"
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	case *hujson.Array:
		for _, e := range t.Elements {
			parts = append(parts, l.inline(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return v.String()
}

// nested says whether v holds objects or lists that are not empty.
func nested(v hujson.Value) bool {
	switch t := v.Value.(type) {
	case *hujson.Object:
		for _, m := range t.Members {
			if k := m.Value.Value.Kind(); k == '{' || k == '[' {
				return true
			}
		}
	case *hujson.Array:
		for _, e := range t.Elements {
			if e.Value.Kind() == '{' {
				return true
			}
		}
	}
	return false
}
