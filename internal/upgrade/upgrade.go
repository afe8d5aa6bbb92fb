// Package upgrade takes a released file for what its signature says it is, and puts
// the program in it into the place of the one that is there.
//
// Trust model. FILE and the two files beside it (SHA256SUMS and its minisign
// signature) are whatever somebody downloaded: nothing of them is believed but what a
// known key signed. Each is read once, into memory, and what is written later is what
// was checked; whoever swaps a file meanwhile is too late. The name of FILE says
// nothing: its hash finds its line in the signed list, and that line says version,
// system and architecture. A program that was built for another machine, or is none of
// ours, is refused even if it was signed by mistake.
//
// It promises that the place holds a whole program at every moment, the former or the
// new one, whenever it is killed; that the former is kept beside it as NAME.old; and
// that two upgrades do not meet. It leaves to its caller which key is known, whether
// the program may be replaced at all, the daemon, the backup, and whether the new one
// is any good on this machine: until that is known, Back undoes it.
package upgrade

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"aead.dev/minisign"
	"golang.org/x/mod/semver"
)

// The files that a release has beside each program.
const (
	SumsName      = "SHA256SUMS"          // in the form of sha256sum(1)
	SignatureName = SumsName + ".minisig" // in the form of minisign(1)
)

// Bounds of what is read, in bytes. A program has about 40 MB.
const (
	maxFile = 256 << 20
	maxSums = 1 << 20
)

// main is the package that a program of ours was built from.
const mainPackage = "nanoclaw/cmd/nanoclaw"

// programName is what the program is called in an archive.
const programName = "nanoclaw"

// ErrNotSigned is in the chain of errors about what no known key vouches for.
var ErrNotSigned = errors.New("it is not what the release key signed")

// Offer is a program that a known key signed.
type Offer struct {
	Name    string // in the signed list, such as "nanoclaw_v1.2.0_linux_amd64.tar.gz"
	Version string // "v1.2.0"
	System  string // as GOOS
	Arch    string // as GOARCH

	program []byte
}

// released is the name of what holds a program, in a release.
var released = regexp.MustCompile(`^nanoclaw_(v[0-9][^_/]*)_([a-z0-9]+)_([a-z0-9]+)(\.tar\.gz)?$`)

// Open reads a released file, and the signed list beside it, and gives the program in
// it if key signed it. It changes nothing.
func Open(file string, key minisign.PublicKey) (*Offer, error) {
	dir := filepath.Dir(file)
	sums, err := read(filepath.Join(dir, SumsName), maxSums)
	if err != nil {
		return nil, beside(err)
	}
	signature, err := read(filepath.Join(dir, SignatureName), maxSums)
	if err != nil {
		return nil, beside(err)
	}
	if !minisign.Verify(key, sums, signature) {
		return nil, fmt.Errorf("%s: %w (%s)\nfix: fetch the release again, from where it is published; do not use this one",
			filepath.Join(dir, SumsName), ErrNotSigned, signer(signature, key))
	}
	content, err := read(file, maxFile)
	if err != nil {
		return nil, err
	}
	o, err := find(sums, content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if o.program, err = unpack(o.Name, content); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := o.inspect(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return o, nil
}

// read gives a file, whole, once.
func read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d MB", name, limit>>20)
	}
	return data, err
}

func beside(err error) error {
	return fmt.Errorf("%w\nfix: put %s and %s of the release beside the file", err, SumsName, SignatureName)
}

// signer says whose a signature that does not hold claims to be.
func signer(text []byte, key minisign.PublicKey) string {
	var s minisign.Signature
	switch {
	case s.UnmarshalText(text) != nil:
		return SignatureName + " is no signature"
	case s.KeyID != key.ID():
		return fmt.Sprintf("it is signed with key %016X, and this program knows %016X", s.KeyID, key.ID())
	}
	return "the list was changed after it was signed"
}

// find gives the line of the signed list that is about content.
func find(sums, content []byte) (*Offer, error) {
	sum := sha256.Sum256(content)
	want, name := hex.EncodeToString(sum[:]), ""
	for line := range strings.Lines(string(sums)) {
		hash, rest, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if !ok || hash != want {
			continue
		}
		if name != "" {
			return nil, fmt.Errorf("the signed list has it twice: %w", ErrNotSigned)
		}
		name = strings.TrimLeft(rest, " *")
	}
	if name == "" {
		return nil, fmt.Errorf("no line of the signed list has its sum, %s: %w\nfix: fetch the file again; it may have been cut off or changed", want, ErrNotSigned)
	}
	m := released.FindStringSubmatch(name)
	if m == nil || !semver.IsValid(m[1]) {
		return nil, fmt.Errorf("it is %s of the release, and no program\nfix: take nanoclaw_VERSION_SYSTEM_ARCHITECTURE.tar.gz; a .deb is for apt", name)
	}
	return &Offer{Name: name, Version: m[1], System: m[2], Arch: m[3]}, nil
}

// unpack gives the program in what was signed.
func unpack(name string, content []byte) ([]byte, error) {
	if !strings.HasSuffix(name, ".tar.gz") {
		return content, nil
	}
	gz, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	for in := tar.NewReader(gz); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("no program is in it")
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg || filepath.Base(h.Name) != programName {
			continue
		}
		if h.Size > maxFile {
			return nil, fmt.Errorf("the program in it has more than %d MB", maxFile>>20)
		}
		return io.ReadAll(in)
	}
}

// inspect looks whether the program is what its name says.
func (o *Offer) inspect() error {
	info, err := buildinfo.Read(bytes.NewReader(o.program))
	if err != nil {
		return fmt.Errorf("what is in it is no program of Go: %w", err)
	}
	is := map[string]string{}
	for _, s := range info.Settings {
		is[s.Key] = s.Value
	}
	if info.Path != mainPackage || is["GOOS"] != o.System || is["GOARCH"] != o.Arch {
		return fmt.Errorf("it is signed as nanoclaw for %s/%s, and what is in it is %q for %s/%s", o.System, o.Arch, info.Path, is["GOOS"], is["GOARCH"])
	}
	return nil
}

// Have is the program that would be replaced.
type Have struct {
	Version string
	System  string // as GOOS
	Arch    string // as GOARCH
	// OwnBuild accepts a Version that is none of a release, such as that of "make
	// build", with which no other can be compared.
	OwnBuild bool
}

// ErrSame says that there is nothing to do.
var ErrSame = errors.New("that version is here already")

// Replaces says whether the offer may take the place of what is there. An older one
// may not: the store moves on with versions and never back.
func (o *Offer) Replaces(h Have) error {
	if o.System != h.System || o.Arch != h.Arch {
		return fmt.Errorf("%s is for %s/%s, and this machine is %s/%s\nfix: take the file for %[4]s_%s", o.Name, o.System, o.Arch, h.System, h.Arch)
	}
	if !semver.IsValid(h.Version) {
		if h.OwnBuild {
			return nil
		}
		return fmt.Errorf("this nanoclaw is %q, which is no version of a release, so nobody can say whether %s is older\nfix: say --from-own-build if you know that it is not", h.Version, o.Version)
	}
	switch n := semver.Compare(o.Version, h.Version); {
	case n < 0:
		return fmt.Errorf("%s is older than %s, which is here: the store moves on with versions and never back\nfix: to go back, install the older program by hand and restore the backup of its time (nanoclaw restore)", o.Version, h.Version)
	case n == 0:
		return fmt.Errorf("%s: %w", o.Version, ErrSame)
	}
	return nil
}
