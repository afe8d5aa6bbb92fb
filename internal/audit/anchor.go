package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"
)

// An anchor is a checkpoint that is kept elsewhere: on another disk, on paper, in
// the owner's chat. Whoever can write the data folder can put back an older
// store with its older checkpoint, or cut the log and sign again with the key;
// neither agrees with an anchor that they cannot reach.

const (
	// maxAnchors is the size at which an anchor file makes room for a new one, in
	// bytes: some ten thousand anchors.
	maxAnchors = 4 << 20
	// maxAnchor bounds one line.
	maxAnchor = 4 << 10
)

// anchorLine is a line of an anchor file.
type anchorLine struct {
	At         time.Time `json:"at"`
	Checkpoint string    `json:"checkpoint"`
}

// AppendAnchor adds the newest checkpoint of the log to the file at path, which
// is made if it is not there; nothing if it is its last one. It gives the
// number of entries that the checkpoint covers. What is in the file stays; a
// file that has grown too large is renamed to PATH.1.
//
// The path is the owner's, in a folder that is in no grant; a link at its end is
// refused.
func AppendAnchor(ctx context.Context, src Source, path string, last int64, at time.Time) (int64, error) {
	head, err := src.Head(ctx)
	if err != nil || head.Size == last || len(head.Checkpoint) == 0 {
		return last, err
	}
	line, err := json.Marshal(anchorLine{at.UTC(), string(head.Checkpoint)})
	if err != nil {
		return last, err
	}
	if fi, err := os.Lstat(path); err == nil && fi.Size() > maxAnchors {
		if err := os.Rename(path, path+".1"); err != nil {
			return last, err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return last, err
	}
	_, err = f.Write(append(line, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return last, err
	}
	return head.Size, nil
}

// Anchored is what a comparison with anchors found.
type Anchored struct {
	// Anchors is how many the log agrees with, Last how many entries the largest
	// of them covers.
	Anchors int   `json:"anchors"`
	Last    int64 `json:"last"`
}

// CheckAnchorFile compares a store's log with every anchor of a file, and of the
// older one beside it. The log may have grown since, and nothing else. The error
// is a *BadError if it does not lead to an anchor, or if the file was changed.
func CheckAnchorFile(ctx context.Context, src Source, v note.Verifier, path string) (Anchored, error) {
	var sum Anchored
	for _, p := range []string{path + ".1", path} {
		f, err := os.OpenFile(p, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) && p != path {
			continue
		}
		if err != nil {
			return sum, err
		}
		err = checkAnchors(ctx, src, v, f, &sum)
		f.Close()
		var bad *BadError
		if errors.As(err, &bad) {
			bad.Why = p + ": " + bad.Why
		}
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// checkAnchors reads the lines of one file. A last line that was cut off, as by
// a full disk, is left out: it was never more than a promise to come.
func checkAnchors(ctx context.Context, src Source, v note.Verifier, r io.Reader, sum *Anchored) error {
	in := bufio.NewReaderSize(r, maxAnchor)
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		bad := func(why string) error { return &BadError{Leaf: -1, Line: n, Why: why} }
		if errors.Is(err, bufio.ErrBufferFull) {
			return bad("it is no line of an anchor file")
		}
		if err != nil {
			return fmt.Errorf("read the anchors: %w", err)
		}
		var l anchorLine
		if !decodeExact(bytes.TrimSuffix(line, []byte("\n")), &l) {
			return bad("it is no line of an anchor file")
		}
		c, err := OpenCheckpoint([]byte(l.Checkpoint), v)
		if err != nil {
			return bad(err.Error())
		}
		if err := CheckAnchor(ctx, src, c); err != nil {
			var no *BadError
			if errors.As(err, &no) {
				return bad(fmt.Sprintf("%s, anchored %s", no.Why, l.At.Format(time.RFC3339)))
			}
			return err
		}
		sum.Anchors++
		sum.Last = max(sum.Last, c.Size)
	}
}

// CheckAnchor compares a store's log with one checkpoint, whose signature was
// checked before or which came by a way that needs none. It rests on the stored
// hashes: Verify proves that they are those of the entries.
func CheckAnchor(ctx context.Context, src Source, c Checkpoint) error {
	head, err := src.Head(ctx)
	if err != nil {
		return err
	}
	if c.Size > head.Size {
		return &BadError{Leaf: -1, Why: fmt.Sprintf("the log had %d entries and has %d: it was cut, or an older store was put back", c.Size, head.Size)}
	}
	root, err := tlog.TreeHash(c.Size, tlog.HashReaderFunc(func(ix []int64) ([]tlog.Hash, error) { return src.ReadHashes(ctx, ix) }))
	if err != nil {
		return err
	}
	if root != c.Root {
		return &BadError{Leaf: -1, Why: fmt.Sprintf("its first %d entries are not those that were anchored: the log was written anew", c.Size)}
	}
	return nil
}

// Words is a checkpoint in the form that a person can copy: SIZE:ROOT.
func (c Checkpoint) Words() string { return fmt.Sprintf("%d:%s", c.Size, c.Root) }

// ParseWords reads Words.
func ParseWords(s string) (Checkpoint, error) {
	size, root, ok := strings.Cut(strings.TrimSpace(s), ":")
	n, err := strconv.ParseInt(size, 10, 64)
	h, hashErr := tlog.ParseHash(root)
	if !ok || err != nil || n < 1 || hashErr != nil {
		return Checkpoint{}, fmt.Errorf("%.80q is no anchor: it is written SIZE:ROOT, as in a notice of nanoclaw", s)
	}
	return Checkpoint{Size: n, Root: h}, nil
}
