package hosttools

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// parse reads arguments strictly, into a struct with JSON names. An argument that
// nobody knows is a mistake or an attempt, and is refused either way. So is what
// two readers could read in two ways: a name that is there twice, or in another
// case (encoding/json would take both), and text that is no UTF-8 (RFC 8259,
// 8.1), since what the audit keeps must be what was done.
func parse(args json.RawMessage, into any) error {
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	err := unambiguous(args, namesOf(into))
	if err == nil {
		err = decode(args, into)
	}
	if err != nil {
		return refuse("the arguments are not understood: %s", clip(strings.TrimPrefix(err.Error(), "json: "), 200))
	}
	return nil
}

func decode(args json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(args))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows them")
	}
	return nil
}

// unambiguous fails unless args is an object in UTF-8 whose names are among these,
// each at most once.
func unambiguous(args json.RawMessage, names map[string]bool) error {
	if !utf8.Valid(args) {
		return errors.New("they are no UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(args))
	if t, err := d.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return errors.New("they are no object")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		switch {
		case !ok || !names[name]:
			return fmt.Errorf("unknown field %q", clip(fmt.Sprint(t), 100))
		case seen[name]:
			return fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
	}
	return nil
}

// namesOf are the JSON names of a struct's fields.
func namesOf(into any) map[string]bool {
	names := map[string]bool{}
	t := reflect.TypeOf(into).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names[name] = true
	}
	return names
}
