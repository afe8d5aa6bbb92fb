package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
)

// The form of a Header or Message on the wire: one byte with Version, then the
// value as its type has it. Both ends are built together, so nothing names the
// fields.
//
//	bool            a byte, 0 or 1
//	int, uint       a varint, as in package encoding/binary
//	string, []byte  the length as a uint, and the bytes
//	slice           the number of elements as a uint, and they
//	struct          its fields, in their order
//	pointer         a bool, and if it is true what it leads to
//
// A slice of no elements is nil at the other end. JSON would do as well, were it
// not that the first use of it in a program takes as long as half of what an init
// does else until it is ready.

// flatten appends a value.
func flatten(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case reflect.Int, reflect.Int64:
		return binary.AppendVarint(b, v.Int())
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return binary.AppendUvarint(b, v.Uint())
	case reflect.String:
		b = binary.AppendUvarint(b, uint64(v.Len()))
		return append(b, v.String()...)
	case reflect.Slice:
		b = binary.AppendUvarint(b, uint64(v.Len()))
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return append(b, v.Bytes()...)
		}
		for i := range v.Len() {
			b = flatten(b, v.Index(i))
		}
		return b
	case reflect.Struct:
		for i := range v.NumField() {
			b = flatten(b, v.Field(i))
		}
		return b
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, 0)
		}
		return flatten(append(b, 1), v.Elem())
	}
	panic("wire: " + v.Type().String() + " cannot be sent")
}

// reader takes values from what a peer sent. What is made of n bytes is no more
// than a small multiple of n, and of no more than maxValues elements.
type reader struct {
	b    []byte
	left int // elements that may still come
	err  error
}

func (r *reader) fail(v reflect.Value, why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s for %s", ErrMessage, why, v.Type())
	}
	r.b = nil
}

// take gives the next n bytes.
func (r *reader) take(v reflect.Value, n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail(v, "too few bytes")
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) uint(v reflect.Value) uint64 {
	u, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(v, "no number")
		return 0
	}
	r.b = r.b[n:]
	return u
}

func (r *reader) bool(v reflect.Value) bool {
	b := r.take(v, 1)
	if len(b) == 1 && b[0] > 1 {
		r.fail(v, "neither true nor false")
	}
	return len(b) == 1 && b[0] == 1
}

// read sets v, which is zero, to the next value. After an error what it sets is
// of no use, and it does no harm.
func (r *reader) read(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.bool(v))
	case reflect.Int, reflect.Int64:
		i, n := binary.Varint(r.b)
		if n <= 0 || v.OverflowInt(i) {
			r.fail(v, "no number that fits")
			return
		}
		r.b = r.b[n:]
		v.SetInt(i)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		u := r.uint(v)
		if v.OverflowUint(u) {
			r.fail(v, "no number that fits")
			return
		}
		v.SetUint(u)
	case reflect.String:
		v.SetString(string(r.take(v, r.uint(v))))
	case reflect.Slice:
		r.slice(v)
	case reflect.Struct:
		for i := range v.NumField() {
			r.read(v.Field(i))
		}
	case reflect.Pointer:
		if r.bool(v) {
			v.Set(reflect.New(v.Type().Elem()))
			r.read(v.Elem())
		}
	default:
		r.fail(v, "no form")
	}
}

func (r *reader) slice(v reflect.Value) {
	n := r.uint(v)
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if b := r.take(v, n); len(b) > 0 {
			v.SetBytes(append([]byte(nil), b...))
		}
		return
	}
	// Each element takes a byte at least.
	if n > uint64(len(r.b)) || n > uint64(r.left) || n > math.MaxInt32 {
		r.fail(v, "too many elements")
		return
	}
	if n == 0 {
		return
	}
	r.left -= int(n)
	v.Set(reflect.MakeSlice(v.Type(), int(n), int(n)))
	for i := range int(n) {
		r.read(v.Index(i))
	}
}
