package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// entry is what stands in an archive: a file, or a folder if it has no content.
type entry struct {
	data []byte
	mode int64
	dir  bool
	uid  int // and its group
}

// tarball writes entries by name, each with the folders above it, all of one time
// and of root where it is not said otherwise.
func tarball(entries map[string]entry, at time.Time) ([]byte, error) {
	entries = maps.Clone(entries)
	for name := range maps.Clone(entries) {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, there := entries[dir]; !there {
				entries[dir] = entry{mode: 0o755, dir: true}
			}
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := entries[name]
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: e.mode, Size: int64(len(e.data)), ModTime: at, Uid: e.uid, Gid: e.uid, Format: tar.FormatUSTAR}
		if e.dir {
			h.Typeflag, h.Name = tar.TypeDir, name+"/"
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// zip compresses, without a name or a time.
func zip(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

// archive writes the program, with its documents, manual and completions, in one folder.
func (r *release) archive(p platform, program []byte, docs, texts map[string][]byte) error {
	top := strings.TrimSuffix(r.name(p, ""), "/")
	entries := map[string]entry{top + "/nanoclaw": {data: program, mode: 0o755}}
	for name, text := range docs {
		entries[top+"/"+name] = entry{data: text, mode: 0o644}
	}
	for kind, text := range texts {
		name := top + "/completions/nanoclaw." + kind
		if kind == manual {
			name = top + "/man/nanoclaw.1"
		}
		entries[name] = entry{data: text, mode: 0o644}
	}
	data, err := tarball(entries, r.epoch)
	if err != nil {
		return err
	}
	if data, err = zip(data); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, r.name(p, ".tar.gz")), data, 0o644)
}
