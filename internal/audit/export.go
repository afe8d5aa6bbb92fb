package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"nanoclaw/internal/chat"
)

// exportFormat names the format in its first line.
const exportFormat = "nanoclaw audit export v1"

// MaxLine bounds a line of an export, in bytes with its newline.
const MaxLine = MaxPayload + 16<<10

// exportHeader is the first line of an export.
type exportHeader struct {
	Format string `json:"format"`
	// Key is the public key, for reading; a verifier should be given the key by
	// another way, since whoever can change the file can change this too.
	Key string `json:"key"`
	// Checkpoint is the signed note.
	Checkpoint string `json:"checkpoint"`
	// Filter is there if the export holds only the entries that it chooses. Then
	// every line carries its proof.
	Filter *Filter `json:"filter,omitempty"`
}

// exportLine is any other line: one entry. All of it is bound by the
// checkpoint: the names by the leaf, payload and salt by the commitment, the
// commitment by the leaf, the leaf by the tree.
type exportLine struct {
	Leaf       int64           `json:"leaf"`
	ID         int64           `json:"id"`
	At         string          `json:"at"` // RFC 3339 with nanoseconds, UTC
	Kind       Kind            `json:"kind"`
	Group      chat.Group      `json:"group,omitempty"`
	Run        chat.RunID      `json:"run,omitempty"`
	Session    chat.SessionID  `json:"session,omitempty"`
	Payload    json.RawMessage `json:"payload,omitempty"`
	Salt       []byte          `json:"salt,omitempty"`
	Commitment []byte          `json:"commitment"`
	// Hash is the leaf's hash, in a full export: it lets a verifier name the entry
	// that was changed, where the root alone would only say that one was.
	Hash []byte `json:"hash,omitempty"`
	// Proof leads from the leaf to the root, in an export of a part.
	Proof tlog.RecordProof `json:"proof,omitempty"`
}

// Export writes the log as JSON lines, as far as the newest checkpoint reaches:
// first a line with the checkpoint, then a line for each entry that f matches.
// With the zero Filter the export is full, and deleting any of it shows. It
// gives the number of entries written.
func Export(ctx context.Context, w io.Writer, src Source, public string, f Filter) (int64, error) {
	v, public, err := parsePublic(public)
	if err != nil {
		return 0, err
	}
	head, err := src.Head(ctx)
	if err != nil {
		return 0, err
	}
	if head.Size == 0 {
		return 0, errEmpty
	}
	if _, err := OpenCheckpoint(head.Checkpoint, v); err != nil {
		return 0, fmt.Errorf("%w: an export could not be verified", err)
	}
	h := exportHeader{Format: exportFormat, Key: public, Checkpoint: string(head.Checkpoint)}
	f.Newest = false
	if !f.all() {
		f.Since, f.Until = f.Since.UTC(), f.Until.UTC()
		h.Filter = &f
	}
	out := bufio.NewWriterSize(w, 64<<10)
	if err := writeLine(out, h); err != nil {
		return 0, err
	}
	n, err := exportRows(ctx, out, src, head, f, h.Filter != nil)
	if err != nil {
		return n, err
	}
	return n, out.Flush()
}

func exportRows(ctx context.Context, out *bufio.Writer, src Source, head Head, f Filter, part bool) (int64, error) {
	read := tlog.HashReaderFunc(func(ix []int64) ([]tlog.Hash, error) { return src.ReadHashes(ctx, ix) })
	var n int64
	for r, err := range src.Rows(ctx, f) {
		if err != nil {
			return n, err
		}
		if r.ID > head.LastID {
			break // not covered by this checkpoint
		}
		l := lineOf(r)
		if part {
			if l.Proof, err = tlog.ProveRecord(head.Size, r.Leaf, read); err != nil {
				return n, fmt.Errorf("prove entry %d: %w: run nanoclaw audit verify", r.ID, err)
			}
		} else {
			h := r.leafHash()
			l.Hash = h[:]
		}
		if err := writeLine(out, l); err != nil {
			return n, fmt.Errorf("write entry %d: %w", r.ID, err)
		}
		n++
	}
	return n, nil
}

func lineOf(r Row) exportLine {
	return exportLine{Leaf: r.Leaf, ID: r.ID, At: r.At.UTC().Format(time.RFC3339Nano), Kind: r.Kind, Group: r.Group,
		Run: r.Run, Session: r.Session, Payload: r.Payload, Salt: r.Salt, Commitment: r.Commitment[:]}
}

func writeLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
