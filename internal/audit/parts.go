package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxWhole bounds the JSON of a payload that is kept in parts, in bytes. Of what
// is longer the hash alone is kept, beside the brief.
const maxWhole = 4 << 20

// partSize is how much of it one entry holds. As text within JSON each byte may
// take two, since what would take more is escaped already.
const partSize = MaxPayload/2 - 1<<10

// Parted stands in the payload of an entry whose data did not fit into it. The
// data lies in as many entries of the kind Part right before.
type Parted struct {
	Entries int    `json:"entries"`
	Bytes   int    `json:"bytes"`
	SHA256  string `json:"sha256"` // of the JSON as a whole, in hex
}

// PartData belongs to Part.
type PartData struct {
	SHA256 string `json:"sha256"` // which payload it belongs to, as in Parted
	Part   int    `json:"part"`   // from 1
	Text   string `json:"text"`
}

// partedKey is the field of a payload that holds a Parted.
const partedKey = "parted"

// Split gives the entries that an entry is stored as: itself, or, if its Data is
// too long and it has a Brief, the parts of the data and after them the brief with
// a Parted. They belong into one transaction, in this order.
func (e Entry) Split() ([]Entry, error) {
	if e.Brief == nil {
		return []Entry{e}, nil
	}
	whole, err := json.Marshal(e.Data)
	if err != nil || len(whole) <= MaxPayload {
		return []Entry{e}, err
	}
	sum := sha256.Sum256(whole)
	p := Parted{Bytes: len(whole), SHA256: hex.EncodeToString(sum[:])}
	var out []Entry
	if len(whole) > maxWhole {
		whole = nil
	}
	for text := string(whole); text != ""; {
		n := min(partSize, len(text))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		p.Entries++
		part := e
		part.Kind, part.Brief, part.Data = Part, nil, PartData{SHA256: p.SHA256, Part: p.Entries, Text: text[:n]}
		out, text = append(out, part), text[n:]
	}
	brief := make(map[string]json.RawMessage)
	if b, err := json.Marshal(e.Brief); err != nil {
		return nil, err
	} else if len(b) <= MaxPayload-1<<10 {
		if err := json.Unmarshal(b, &brief); err != nil {
			return nil, fmt.Errorf("audit: the brief of a %q entry is no object: %w", e.Kind, err)
		}
	}
	if brief[partedKey], err = json.Marshal(p); err != nil {
		return nil, err
	}
	e.Data, e.Brief = brief, nil
	return append(out, e), nil
}

// PartedOf tells whether the data of a payload lies in parts.
func PartedOf(payload []byte) (p Parted, ok bool) {
	if !bytes.Contains(payload, []byte(`"`+partedKey+`"`)) {
		return p, false
	}
	var d struct {
		Parted *Parted `json:"parted"`
	}
	if json.Unmarshal(payload, &d) != nil || d.Parted == nil || d.Parted.Entries <= 0 || d.Parted.Entries > maxWhole/partSize+1 {
		return p, false
	}
	return *d.Parted, true
}

// Join gives the JSON that was split, from the entries before. It fails if one of
// them is missing or was erased, and if what they hold is not what was split.
func (p Parted) Join(rows []Row) (json.RawMessage, error) {
	var whole []byte
	for i, r := range rows {
		var d PartData
		if r.Kind != Part || r.Erased() || json.Unmarshal(r.Payload, &d) != nil || d.SHA256 != p.SHA256 || d.Part != i+1 {
			return nil, fmt.Errorf("part %d of it is missing or was erased", i+1)
		}
		whole = append(whole, d.Text...)
	}
	if sum := sha256.Sum256(whole); hex.EncodeToString(sum[:]) != p.SHA256 {
		return nil, errors.New("its parts are not what was written")
	}
	return whole, nil
}
