package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"nanoclaw/internal/chat"
)

// Closing is in the payload of the entry that ends a run. It binds the run's
// entries before it: a part of the log by itself proves that its entries are in
// the log, and not that none was left out.
type Closing struct {
	// Entries is how many there are, Digest their RunDigest in hex.
	Entries int64  `json:"entries,omitempty"`
	Digest  string `json:"digest,omitempty"`
}

// Ending is the payload of an entry that ends a run.
type Ending interface {
	// Close gives the payload with the Closing of the run's entries before it.
	Close(c Closing) any
}

var (
	_ Ending = RunEndedData{}
	_ Ending = RunRefusedData{}
)

// Close implements Ending.
func (d RunEndedData) Close(c Closing) any { d.Closing = c; return d }

// Close implements Ending.
func (d RunRefusedData) Close(c Closing) any { d.Closing = c; return d }

// RunDigest is SHA-256 over a name for this use, and over id and commitment of
// each entry of a run, in the order of their ids.
type RunDigest struct {
	h hash.Hash
	n int64
}

// NewRunDigest begins a digest.
func NewRunDigest() *RunDigest {
	d := &RunDigest{h: sha256.New()}
	d.h.Write([]byte("nanoclaw audit run v1\x00"))
	return d
}

// Add adds the next entry.
func (d *RunDigest) Add(id int64, commitment tlog.Hash) {
	d.n++
	d.h.Write(binary.BigEndian.AppendUint64(nil, uint64(id)))
	d.h.Write(commitment[:])
}

// Closing is the digest of what was added.
func (d *RunDigest) Closing() Closing { return Closing{d.n, hex.EncodeToString(d.h.Sum(nil))} }

// Receipt is what a verified receipt proves.
type Receipt struct {
	Report
	Run chat.RunID `json:"run"`
	// Later is how many entries came after the run's end: of the delivery of its
	// words. More of them may follow.
	Later int64 `json:"later"`
}

// VerifyReceipt checks a receipt offline: an Export of one run alone, that has
// ended. It holds every entry of the run up to its end, unchanged; see
// VerifyExport for known and for what signed means. Each row is given to see
// once it is checked; that none is missing is certain only at the end.
func VerifyReceipt(r io.Reader, known note.Verifier, see func(Row)) (Receipt, error) {
	var rec Receipt
	sum := NewRunDigest()
	var end *Row
	var err error
	rec.Report, err = readExport(r, known, func(r Row) error {
		switch {
		case end != nil:
			rec.Later++
		case r.Kind == RunEnded || r.Kind == RunRefused:
			end, rec.Run = &r, r.Run
		default:
			sum.Add(r.ID, r.Commitment)
		}
		see(r)
		return nil
	})
	if err != nil {
		return rec, err
	}
	bad := func(entry int64, format string, args ...any) (Receipt, error) {
		return rec, &BadError{Entry: entry, Leaf: -1, Why: fmt.Sprintf(format, args...)}
	}
	switch p := rec.Part; {
	case p == nil || p.Run == "" || len(p.Kinds) > 0 || p.Group != "" || p.Session != "" || !p.Since.IsZero() || !p.Until.IsZero():
		return bad(0, "it is an export, and not the receipt of one run")
	case end == nil:
		return bad(0, "the end of the run is missing, or it has not ended")
	case end.Erased():
		return bad(end.ID, "the words of the run's end were erased, and with them what tells that no entry is missing")
	}
	var said Closing
	if err := json.Unmarshal(end.Payload, &said); err != nil || said.Digest == "" {
		return bad(end.ID, "it does not say which entries the run had: an older version wrote it")
	}
	if got := sum.Closing(); got != said {
		return bad(end.ID, "the run had %d entries before its end, and here are %d, or others", said.Entries, got.Entries)
	}
	return rec, nil
}
