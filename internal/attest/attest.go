// Package attest keeps what a probe found as a signed record, so that a start on
// a machine that was tried already need not try again (I1).
//
// A finding holds for its Basis: the engine, the kernel and its boot, our own
// program, the programs that the engine runs, and the shape of the grant. If one
// of them differs, the record is of something else and does not count. Only a
// finding that held is kept: a boundary that did not hold is tried at each start.
//
// Trust: a record lies where the store lies, which no grant can hold. Its
// signature is the audit key's, so whoever can forge one can forge the log too.
// What the owner's own account may do to the owner's files is not defended
// against here: whoever can replace our program needs no record.
//
// It leaves to others: trying (package boundary), and keeping (the store).
package attest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// Basis is what a finding depends on.
type Basis struct {
	Engine string `json:"engine"`
	// Kernel is its release and build, Boot the boot's random number.
	Kernel string `json:"kernel"`
	Boot   string `json:"boot"`
	// Program is our own executable, Tools are the programs that the engine runs;
	// see File.
	Program string   `json:"program"`
	Tools   []string `json:"tools,omitempty"`
	// Shape is the grant's; see Shape.
	Shape string `json:"shape"`
}

// Machine fills in what does not change while this process lives.
func Machine() (Basis, error) {
	var b Basis
	var err error
	if b.Kernel, b.Boot, err = kernel(); err != nil {
		return b, err
	}
	program, err := self()
	if err == nil {
		b.Program, err = File(program)
	}
	return b, err
}

// File names a file by what the kernel says of it: device, inode, size, and the
// times of its last change and last write. Whatever replaces or edits it changes
// one of them, and reading them costs microseconds where a hash costs tens of
// milliseconds.
func File(path string) (string, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", path, err)
	}
	if !fi.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no file", path)
	}
	return path + " " + identity(fi), nil
}

func identity(fi fs.FileInfo) string {
	return strconv.FormatInt(fi.Size(), 10) + " " + strconv.FormatInt(fi.ModTime().UnixNano(), 10) + " " + inode(fi)
}

// Shape names what kind of boundary a grant asks for: which kinds of mount there
// are and with what rights, which endpoints, and whether the group has a uid of
// its own. Two grants of one shape take the same way through an engine; which
// hosts, variables or amounts they grant makes no difference to that.
func Shape(g grant.Grant, ownUID bool, landlockFloor int) string {
	var lines []string
	for _, m := range g.Mounts {
		target := m.Target
		if rest, ok := strings.CutPrefix(target, grant.Extra+"/"); ok && rest != "" {
			target = grant.Extra + "/*"
		}
		lines = append(lines, fmt.Sprintf("mount %s write=%t exec=%t file=%t foreign=%t", target, m.Write, m.Exec, m.File, m.Foreign))
	}
	for _, e := range g.Endpoints {
		lines = append(lines, "endpoint "+e.Name)
	}
	if g.Image != "" {
		lines = append(lines, "image "+g.Image)
	}
	lines = append(lines, fmt.Sprintf("uid=%t landlock=%d", ownUID, landlockFloor))
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(lines), "\n")))
	return hex.EncodeToString(sum[:8])
}

// Record is one probe that held.
type Record struct {
	Basis
	At       time.Time      `json:"at"`
	Attempts []wire.Attempt `json:"attempts"`
	Layers   []string       `json:"layers"`
	Missing  []string       `json:"missing,omitempty"`
}

// Sealer signs; it is the audit key.
type Sealer interface {
	Seal(kind, text string) ([]byte, error)
	Unseal(kind string, signed []byte) (string, error)
}

// kind is what the signature says that it is about.
const kind = "attestation"

// Seal signs a record. id is its short name, by which sessions refer to it.
func Seal(key Sealer, r Record) (signed, id string, err error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", "", err
	}
	b, err := key.Seal(kind, string(text))
	if err != nil {
		return "", "", err
	}
	return string(b), name(b), nil
}

// ErrOther says that a record is of another basis.
var ErrOther = errors.New("the record is of another machine state")

// Open checks a signed record and gives it if it is of this basis.
func Open(key Sealer, signed string, b Basis) (r Record, id string, err error) {
	text, err := key.Unseal(kind, []byte(signed))
	if err != nil {
		return r, "", err
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, "", fmt.Errorf("read an attestation: %w", err)
	}
	if !r.Basis.Equal(b) {
		return r, "", ErrOther
	}
	if len(r.Attempts) == 0 {
		return r, "", errors.New("the attestation holds no attempt")
	}
	for _, a := range r.Attempts {
		if a.Broke {
			return r, "", fmt.Errorf("the attestation says that something got out: %s", a.Name)
		}
	}
	return r, name([]byte(signed)), nil
}

// Equal compares.
func (b Basis) Equal(o Basis) bool {
	return b.Engine == o.Engine && b.Kernel == o.Kernel && b.Boot == o.Boot && b.Program == o.Program &&
		b.Shape == o.Shape && slices.Equal(b.Tools, o.Tools)
}

// name is a signed record's short name.
func name(signed []byte) string {
	sum := sha256.Sum256(signed)
	return hex.EncodeToString(sum[:8])
}
