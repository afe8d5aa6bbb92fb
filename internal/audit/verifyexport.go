package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// VerifyExport checks an export offline. It reads the file once and keeps one
// line in memory. known is the key that must have signed it, such as that of
// audit.pub; nil takes the export's own word for the key (Report.Key tells
// which), and then shows only that the file is consistent.
//
// The file is hostile input. A line must be exactly what Export writes, to the
// byte: so there are no two files that mean the same, and no bit of a verified
// one can be changed. The error is a *BadError if it does not verify.
func VerifyExport(r io.Reader, known note.Verifier) (Report, error) {
	return readExport(r, known, nil)
}

// readExport is VerifyExport that gives each row to see once it is checked. In
// a full export it is bound to the signature only when the last line was read.
func readExport(r io.Reader, known note.Verifier, see func(Row) error) (Report, error) {
	c := &exportCheck{in: bufio.NewReaderSize(r, MaxLine), tree: newTree(), see: see}
	if err := c.header(known); err != nil {
		return c.rep, err
	}
	err := c.entries()
	return c.rep, err
}

// exportCheck is one pass over an export.
type exportCheck struct {
	in       *bufio.Reader
	n        int // lines read
	rep      Report
	want     Checkpoint
	tree     *tree
	hash     hasher
	lastID   int64
	lastLeaf int64
	see      func(Row) error
}

func (c *exportCheck) bad(entry, leaf int64, format string, args ...any) error {
	return &BadError{Entry: entry, Leaf: leaf, Line: c.n, Why: fmt.Sprintf(format, args...)}
}

// line gives the next line without its newline; io.EOF at the end.
func (c *exportCheck) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	c.n++
	switch {
	case err == nil:
		return line[:len(line)-1], nil
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, c.bad(0, -1, "it is longer than %d bytes", MaxLine)
	case !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("read the export: %w", err)
	case len(line) > 0:
		return nil, c.bad(0, -1, "it is cut off")
	}
	return nil, io.EOF
}

func (c *exportCheck) header(known note.Verifier) error {
	line, err := c.line()
	if errors.Is(err, io.EOF) {
		return c.bad(0, -1, "the file is empty")
	}
	if err != nil {
		return err
	}
	var h exportHeader
	if !decodeExact(line, &h) || h.Format != exportFormat {
		return c.bad(0, -1, "it is not the first line of an audit export")
	}
	own, key, err := parsePublic(h.Key)
	if err != nil {
		return c.bad(0, -1, "%v", err)
	}
	if known == nil {
		known = own
	}
	if known.Name() != own.Name() || known.KeyHash() != own.KeyHash() {
		return c.bad(0, -1, "it was made with the key %s, not with the one that was given", own.Name())
	}
	if c.want, err = OpenCheckpoint([]byte(h.Checkpoint), known); err != nil {
		return c.bad(0, -1, "%v", err)
	}
	c.rep = Report{Origin: c.want.Origin, Size: c.want.Size, Root: c.want.Root.String(), Key: key, Part: h.Filter}
	c.lastLeaf = -1
	return nil
}

// decodeExact decodes a line and reports whether it is written in its one form.
func decodeExact(line []byte, v any) bool {
	if err := json.Unmarshal(line, v); err != nil {
		return false
	}
	again, err := json.Marshal(v)
	return err == nil && bytes.Equal(again, line)
}

// entries checks all lines after the first.
func (c *exportCheck) entries() error {
	for {
		line, err := c.line()
		if errors.Is(err, io.EOF) {
			return c.end()
		}
		if err != nil {
			return err
		}
		if err := c.entry(line); err != nil {
			return err
		}
	}
}

func (c *exportCheck) entry(line []byte) error {
	var l exportLine
	if !scanLine(line, &l) {
		l = exportLine{}
		if !decodeExact(line, &l) {
			return c.bad(0, -1, "it is not an entry as an export writes it")
		}
	}
	r, err := l.row()
	if err != nil {
		return c.bad(l.ID, l.Leaf, "%v", err)
	}
	if r.ID <= c.lastID || r.Leaf <= c.lastLeaf || r.Leaf >= c.want.Size {
		return c.bad(r.ID, r.Leaf, "it is not at its place")
	}
	if err := c.hash.checkPayload(&r); err != nil {
		return c.bad(r.ID, r.Leaf, "%v", err)
	}
	c.lastID, c.lastLeaf = r.ID, r.Leaf
	c.rep.Entries++
	if r.Erased() {
		c.rep.Erased++
	}
	if c.rep.Part != nil {
		if l.Hash != nil {
			return c.bad(r.ID, r.Leaf, "in a part an entry carries a proof alone")
		}
		if err := c.proven(r, l.Proof); err != nil {
			return err
		}
		return c.show(r)
	}
	if l.Proof != nil {
		return c.bad(r.ID, r.Leaf, "in a full export an entry carries no proof")
	}
	if r.Leaf != c.tree.size {
		return c.bad(r.ID, r.Leaf, "before it %d entries are missing", r.Leaf-c.tree.size)
	}
	h := c.hash.leaf(&r)
	if !bytes.Equal(l.Hash, h[:]) {
		return c.bad(r.ID, r.Leaf, "it is not what was sequenced")
	}
	c.tree.append(h)
	return c.show(r)
}

// show gives an entry that was checked to who asked for it.
func (c *exportCheck) show(r Row) error {
	if c.see == nil {
		return nil
	}
	r.Payload = bytes.Clone(r.Payload) // it may lie in the buffer of the line
	return c.see(r)
}

// proven checks an entry of a part: it is in the log, and it is of this part.
func (c *exportCheck) proven(r Row, p tlog.RecordProof) error {
	if !c.rep.Part.Match(r) {
		return c.bad(r.ID, r.Leaf, "it does not belong to what the first line announces")
	}
	if err := tlog.CheckRecord(p, c.want.Size, c.want.Root, r.Leaf, r.leafHash()); err != nil {
		return c.bad(r.ID, r.Leaf, "it is not what was signed")
	}
	return nil
}

// row reads a line back. Its time must be in the range that nanoseconds hold.
func (l exportLine) row() (Row, error) {
	r := Row{ID: l.ID, Kind: l.Kind, Group: l.Group, Run: l.Run, Session: l.Session,
		Payload: l.Payload, Salt: l.Salt, Leaf: l.Leaf}
	var err error
	var form [len(time.RFC3339Nano) + 8]byte
	if r.At, err = time.Parse(time.RFC3339Nano, l.At); err != nil ||
		!time.Unix(0, r.At.UnixNano()).Equal(r.At) || string(r.At.UTC().AppendFormat(form[:0], time.RFC3339Nano)) != l.At {
		return r, errors.New("its time is not written in its one form")
	}
	if len(l.Commitment) != len(r.Commitment) || r.ID < 1 || r.Leaf < 0 {
		return r, errors.New("it is not an entry as an export writes it")
	}
	r.Commitment = tlog.Hash(l.Commitment)
	return r, nil
}

func (c *exportCheck) end() error {
	if c.rep.Part != nil {
		return nil
	}
	if c.tree.size != c.want.Size {
		return c.bad(0, -1, "%d entries at the end are missing", c.want.Size-c.tree.size)
	}
	if c.tree.root() != c.want.Root {
		return c.bad(0, -1, "every line agrees with itself, but together they are not what was signed: somebody changed entries and their hashes")
	}
	return nil
}
