package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/google/renameio/v2"
)

// maxFile bounds a file of a bundle, in bytes. Of a longer one the end is kept, since that
// is what happened last.
const maxFile = 2 << 20

// File is one of a bundle.
type File struct {
	Name  string
	About string // what it holds, for whoever decides
	Data  []byte
}

// Bundle is what is written.
type Bundle struct{ Files []File }

// Add puts a text in.
func (b *Bundle) Add(name, about, text string) {
	data := []byte(text)
	if len(data) > maxFile {
		data = data[len(data)-maxFile:]
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			data = data[i+1:]
		}
	}
	b.Files = append(b.Files, File{name, about, data})
}

// AddJSON puts a value in.
func (b *Bundle) AddJSON(name, about string, v any) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		out.WriteString(err.Error() + "\n")
	}
	b.Add(name, about, out.String())
}

// Get gives a file by its name.
func (b *Bundle) Get(name string) (File, bool) {
	for _, f := range b.Files {
		if f.Name == name {
			return f, true
		}
	}
	return File{}, false
}

// Write packs them into a folder of one name.
func (b *Bundle) Write(w io.Writer, folder string, at time.Time) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	for _, f := range b.Files {
		h := &tar.Header{Name: folder + "/" + f.Name, Mode: 0o600, Size: int64(len(f.Data)), ModTime: at, Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.Data); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

// Save writes them into a new file that is the owner's alone, whole or not at all.
func (b *Bundle) Save(path, folder string, at time.Time) error {
	f, err := renameio.NewPendingFile(path, renameio.WithStaticPermissions(0o600))
	if err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	defer f.Cleanup()
	if err := b.Write(f, folder, at); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return f.CloseAtomicallyReplace()
}
