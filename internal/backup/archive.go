package backup

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// The entries of the file that are its own.
const (
	aboutName = "about.json"
	sumsName  = "SHA256SUMS"
)

// format is the version of the file's form.
const format = 1

// About says what made a backup.
type About struct {
	Format  int       `json:"format"`
	Version string    `json:"version"` // of nanoclaw
	Made    time.Time `json:"made"`
	System  string    `json:"system"` // operating system and architecture
	Key     bool      `json:"key"`    // the key of the stored credentials is in it
}

// archive writes entries and remembers their sums.
type archive struct {
	gz   *gzip.Writer
	tar  *tar.Writer
	sums strings.Builder

	files int
	bytes int64
}

func newArchive(w io.Writer) *archive {
	gz, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is a constant that exists
	return &archive{gz: gz, tar: tar.NewWriter(gz)}
}

// file adds a file of a size. What r has beyond it is left out; what it lacks,
// since the file became shorter meanwhile, is zeros, and short says so.
func (a *archive) file(h *tar.Header, r io.Reader) (short bool, err error) {
	h.Typeflag, h.Format = tar.TypeReg, tar.FormatPAX
	if err := a.tar.WriteHeader(h); err != nil {
		return false, err
	}
	sum := sha256.New()
	w := io.MultiWriter(a.tar, sum)
	n, err := io.CopyN(w, r, h.Size)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if short = n < h.Size; short {
		if _, err := io.CopyN(w, zeros{}, h.Size-n); err != nil {
			return true, err
		}
	}
	a.files, a.bytes = a.files+1, a.bytes+h.Size
	a.note(h.Name, sum)
	return short, nil
}

// entry adds a folder or a link.
func (a *archive) entry(h *tar.Header) error {
	h.Format = tar.FormatPAX
	return a.tar.WriteHeader(h)
}

// text adds a file of ours.
func (a *archive) text(name string, text []byte, made time.Time) error {
	_, err := a.file(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text)), ModTime: made}, strings.NewReader(string(text)))
	return err
}

// note adds a sum in the form of sha256sum(1), which puts a backslash before a
// line whose name has one, or a line's end.
func (a *archive) note(name string, sum hash.Hash) {
	escaped := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(name)
	if escaped != name {
		a.sums.WriteByte('\\')
	}
	fmt.Fprintf(&a.sums, "%x  %s\n", sum.Sum(nil), escaped)
}

// close adds the sums and ends the file.
func (a *archive) close(made time.Time) error {
	if err := a.text(sumsName, []byte(a.sums.String()), made); err != nil {
		return err
	}
	return errors.Join(a.tar.Close(), a.gz.Close())
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// ErrDamaged is in the chain of errors about a file that is not whole.
var ErrDamaged = errors.New("the backup is damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// sink takes what is read from a backup.
type sink interface {
	folder(h *tar.Header) error
	file(h *tar.Header, r io.Reader) error
	link(h *tar.Header) error
}

// read gives each entry of a backup to a sink and checks all sums. Until it
// returned without an error nothing of what the sink got is to be believed.
func read(r io.Reader, to sink) (About, Summary, error) {
	var about About
	gz, err := gzip.NewReader(r)
	if err != nil {
		return about, Summary{}, damaged("it does not begin like one (%v)", err)
	}
	in := reader{tar: tar.NewReader(gz), to: to, got: map[string]string{}}
	if err := in.about(&about); err != nil {
		return about, in.Summary, err
	}
	for !in.ended {
		if err := in.next(); err != nil {
			return about, in.Summary, err
		}
	}
	// The sum of gzip itself is checked at its end.
	if _, err := io.Copy(io.Discard, gz); err != nil {
		return about, in.Summary, damaged("%v", err)
	}
	in.Made, in.Version = about.Made, about.Version
	return about, in.Summary, nil
}

// reader reads entries.
type reader struct {
	tar   *tar.Reader
	to    sink
	got   map[string]string // the line of SHA256SUMS by name, "" for what is no file
	ended bool
	Summary
}

// about reads the first entry.
func (in *reader) about(about *About) error {
	h, err := in.tar.Next()
	if err != nil || h.Name != aboutName || h.Size > 1<<16 {
		return damaged("it does not begin with %s", aboutName)
	}
	text, err := in.text(h)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, about); err != nil {
		return damaged("%s: %v", aboutName, err)
	}
	if about.Format != format {
		return fmt.Errorf("the backup has format %d, this program knows %d: use nanoclaw %s", about.Format, format, about.Version)
	}
	return nil
}

// text reads a small entry that is our own.
func (in *reader) text(h *tar.Header) ([]byte, error) {
	var b strings.Builder
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(&b, sum), in.tar); err != nil {
		return nil, damaged("%s: %v", h.Name, err)
	}
	a := archive{}
	a.note(h.Name, sum)
	in.got[h.Name] = a.sums.String()
	return []byte(b.String()), nil
}

func (in *reader) next() error {
	h, err := in.tar.Next()
	if err != nil {
		return damaged("it ends too early (%v)", err)
	}
	if h.Name == sumsName {
		in.ended = true
		return in.check(h)
	}
	name, err := checkName(h)
	if err != nil {
		return err
	}
	if _, twice := in.got[name]; twice {
		return damaged("%q is in it twice", h.Name)
	}
	in.got[name] = ""
	h.Name = name
	switch h.Typeflag {
	case tar.TypeDir:
		return in.to.folder(h)
	case tar.TypeSymlink:
		return in.to.link(h)
	}
	sum := sha256.New()
	if err := in.to.file(h, io.TeeReader(in.tar, sum)); err != nil {
		return err
	}
	a := archive{}
	a.note(name, sum)
	in.got[name] = a.sums.String()
	in.Files, in.Bytes = in.Files+1, in.Bytes+h.Size
	return nil
}

// checkName refuses names that are not in one of our folders.
func checkName(h *tar.Header) (string, error) {
	name := strings.TrimSuffix(h.Name, "/")
	top, _, _ := strings.Cut(name, "/")
	switch {
	case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir && h.Typeflag != tar.TypeSymlink,
		!filepath.IsLocal(name), path.Clean(name) != name, !fs.ValidPath(strings.ToValidUTF8(name, "_")):
		return "", damaged("the entry %q is none that a backup has", h.Name)
	case top != configName && top != dataName && top != keyName, top == name && h.Typeflag != tar.TypeDir:
		return "", damaged("the entry %q is in none of its folders", h.Name)
	}
	return name, nil
}

// check compares the sums with those of what was read.
func (in *reader) check(h *tar.Header) error {
	text, err := in.text(h)
	if err != nil {
		return err
	}
	delete(in.got, sumsName)
	left := len(in.got)
	want := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		want[line] = true
	}
	for name, line := range in.got {
		if line == "" {
			left--
		} else if !want[line] {
			return damaged("%q is not what was written", name)
		}
	}
	if len(want) != left {
		return damaged("%d files were written, and it holds %d", len(want), left)
	}
	return nil
}
