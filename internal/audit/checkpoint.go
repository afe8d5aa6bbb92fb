package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is a promise about the log: with Size leaves its root is Root.
type Checkpoint struct {
	// Origin names the log; it is also the name of the key.
	Origin string
	Size   int64
	Root   tlog.Hash
}

// text is the form that is signed (C2SP tlog-checkpoint): origin, size, root.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

func (c Checkpoint) sign(s note.Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: c.text()}, s)
}

// OpenCheckpoint checks the signature of a signed checkpoint and reads it. It
// takes exactly the bytes that signing gives, so that no two texts mean the same.
func OpenCheckpoint(signed []byte, v note.Verifier) (Checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("the checkpoint is not signed by %s: %w", v.Name(), err)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return Checkpoint{}, errors.New("the checkpoint carries other signatures than the log's own")
	}
	sig := n.Sigs[0].Base64
	if _, err := base64.StdEncoding.Strict().DecodeString(sig); err != nil {
		return Checkpoint{}, errors.New("the checkpoint's signature is not written in its one form")
	}
	if string(signed) != n.Text+"\n— "+v.Name()+" "+sig+"\n" {
		return Checkpoint{}, errors.New("the checkpoint is not written in its one form")
	}
	return parseCheckpoint(n.Text, v.Name())
}

func parseCheckpoint(text, origin string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		return Checkpoint{}, errors.New("the checkpoint is not the three lines origin, size, root")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return Checkpoint{}, errors.New("the checkpoint's size is not a number")
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return Checkpoint{}, errors.New("the checkpoint's root is not a hash")
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: root}
	if c.Origin != origin {
		return Checkpoint{}, fmt.Errorf("the checkpoint is of the log %q, the key of %q", c.Origin, origin)
	}
	if c.text() != text {
		return Checkpoint{}, errors.New("the checkpoint is not written in its one form")
	}
	return c, nil
}
