package audit

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"nanoclaw/internal/chat"
)

// MaxPayload bounds the stored JSON of one entry, in bytes. What is longer is
// cut, with a mark, so that a flood of words does not become a flood of log; what
// must not be cut has a brief, see Entry.Split.
const MaxPayload = 64 << 10

// saltSize is the length of the random salt that hides a payload behind its
// commitment: 128 bits, so that even a one-word payload cannot be guessed from
// the log once payload and salt are erased.
const saltSize = 16

// Row is an entry as it is stored.
type Row struct {
	// ID is given by the store, grows with each commit, and is never used twice.
	ID      int64
	At      time.Time
	Kind    Kind
	Group   chat.Group
	Run     chat.RunID
	Session chat.SessionID
	// Payload is the JSON of Entry.Data; nil once erased, and Salt with it.
	Payload []byte
	Salt    []byte
	// Commitment binds Salt and Payload, see Commit.
	Commitment tlog.Hash
	// Leaf is the row's place in the log, from 0; -1 if it is not sequenced yet.
	Leaf int64
}

// Erased reports whether the words of the entry were erased.
func (r Row) Erased() bool { return r.Payload == nil && r.Salt == nil }

// Seal makes the row of an entry: its payload as bounded JSON, a fresh salt and
// the commitment. The store gives it its ID.
func Seal(e Entry) (Row, error) {
	if e.At.IsZero() || e.Kind == "" {
		return Row{}, errors.New("audit: an entry needs a time and a kind; this is a fault of the caller")
	}
	payload, err := encodePayload(e.Data)
	if err != nil {
		return Row{}, fmt.Errorf("audit: encode the payload of a %q entry: %w", e.Kind, err)
	}
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails: crypto/rand ends the program instead
	return Row{
		At:         time.Unix(0, e.At.UnixNano()).UTC(),
		Kind:       Kind(clean(string(e.Kind))),
		Group:      chat.Group(clean(string(e.Group))),
		Run:        chat.RunID(clean(string(e.Run))),
		Session:    chat.SessionID(clean(string(e.Session))),
		Payload:    payload,
		Salt:       salt,
		Commitment: Commit(salt, payload),
		Leaf:       -1,
	}, nil
}

// clean keeps names printable as JSON, which an export needs byte for byte.
func clean(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// Commit is the commitment to a payload: SHA-256 over a name for this use, the
// salt and the payload, each preceded by its length so that no two pairs
// encode alike.
func Commit(salt, payload []byte) tlog.Hash { return new(hasher).commit(salt, payload) }

// hasher hashes entries, one after the other, in the same memory.
type hasher struct{ buf []byte }

// commit is Commit.
func (h *hasher) commit(salt, payload []byte) tlog.Hash {
	b := appendField(h.buf[:0], "nanoclaw audit payload v1")
	b = appendField(b, salt)
	h.buf = appendField(b, payload)
	return sha256.Sum256(h.buf)
}

// leaf is the hash of a row's leaf (RFC 6962, section 2.1): tlog.RecordHash of its
// Record.
func (h *hasher) leaf(r *Row) tlog.Hash {
	h.buf = r.appendRecord(append(h.buf[:0], 0x00))
	return sha256.Sum256(h.buf)
}

// Record is the canonical encoding of a row that the log's leaf hash covers:
// a name for this use, id, time in nanoseconds, kind, group, run, session and
// commitment, each preceded by its length.
func (r Row) Record() []byte { return r.appendRecord(nil) }

func (r *Row) appendRecord(b []byte) []byte {
	b = appendField(b, "nanoclaw audit leaf v1")
	b = appendNumber(b, uint64(r.ID))
	b = appendNumber(b, uint64(r.At.UnixNano()))
	b = appendField(b, r.Kind)
	b = appendField(b, r.Group)
	b = appendField(b, r.Run)
	b = appendField(b, r.Session)
	return appendField(b, r.Commitment[:])
}

// leafHash is the hash of the row's leaf.
func (r Row) leafHash() tlog.Hash { return new(hasher).leaf(&r) }

// checkPayload says what is wrong between payload, salt and commitment.
func (h *hasher) checkPayload(r *Row) error {
	switch {
	case r.Erased():
		return nil
	case r.Payload == nil || r.Salt == nil:
		return errors.New("half erased: payload and salt go together")
	case h.commit(r.Salt, r.Payload) != r.Commitment:
		return errors.New("its payload is not what was committed")
	}
	return nil
}

func appendField[T ~string | ~[]byte](b []byte, field T) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(field)))
	return append(b, field...)
}

// appendNumber is appendField of a number in eight bytes.
func appendNumber(b []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, 8), n)
}

// encodePayload marshals data and, if it is too long, cuts its long strings.
func encodePayload(data any) ([]byte, error) {
	if data == nil {
		return []byte("{}"), nil
	}
	b, err := json.Marshal(data)
	if err != nil || len(b) <= MaxPayload {
		return b, err
	}
	// Shorten the long strings first, so that the entry keeps its shape.
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	for limit := 16 << 10; limit >= 64; limit /= 4 {
		short, err := json.Marshal(cutStrings(v, limit))
		if err != nil {
			return nil, err
		}
		if len(short) <= MaxPayload {
			return short, nil
		}
	}
	// Too many parts: keep the beginning as text. Each byte may take six as JSON.
	return json.Marshal(cutPayload{Cut: len(b), Head: cut(string(b), MaxPayload/8)})
}

// cutPayload stands for a payload that was too long in every part.
type cutPayload struct {
	Cut  int    `json:"cut"`  // its length in bytes
	Head string `json:"head"` // how it began
}

// cutStrings gives v with every string of more than limit bytes cut.
func cutStrings(v any, limit int) any {
	switch v := v.(type) {
	case string:
		return cut(v, limit)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = cutStrings(v[i], limit)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[cut(k, limit)] = cutStrings(x, limit)
		}
		return out
	}
	return v
}

// cut shortens s to about limit bytes at a character, and says so.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	i := limit
	for i > 0 && !utf8.RuneStart(s[i]) {
		i--
	}
	return fmt.Sprintf("%s… [cut: %d bytes in all]", s[:i], len(s))
}
