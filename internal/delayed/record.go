package delayed

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Record is what a session's folders were like before it. It lies on the disk
// for as long as the session lives, so that a daemon that was killed compares
// after its next start: the agent died with it.
type Record struct {
	Source
	Folders []Folder `json:"folders"`
}

// Folder is one folder of a record.
type Folder struct {
	Path   string // on this machine
	Before Scanned
}

// recorded is a place as it is stored. Paths may be any bytes.
type recorded struct {
	Place
	Path []byte   `json:"path"`
	Link []byte   `json:"link,omitempty"`
	Via  [][]byte `json:"via,omitempty"`
	Of   []byte   `json:"of,omitempty"`
}

type recordedFolder struct {
	Path   []byte     `json:"path"`
	ID     Identity   `json:"id"`
	Places []recorded `json:"places"`
}

// MarshalJSON keeps what Compare needs.
func (f Folder) MarshalJSON() ([]byte, error) {
	out := recordedFolder{Path: []byte(f.Path), ID: f.Before.Folder}
	for _, p := range f.Before.Places {
		r := recorded{Place: p, Path: []byte(p.Path), Link: []byte(p.Link), Of: []byte(p.Of)}
		for _, v := range p.Via {
			r.Via = append(r.Via, []byte(v))
		}
		out.Places = append(out.Places, r)
	}
	return json.Marshal(out)
}

// UnmarshalJSON is the other way round.
func (f *Folder) UnmarshalJSON(b []byte) error {
	var in recordedFolder
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	f.Path, f.Before = string(in.Path), Scanned{Folder: in.ID}
	for _, r := range in.Places {
		p := r.Place
		p.Path, p.Link, p.Of = string(r.Path), string(r.Link), string(r.Of)
		for _, v := range r.Via {
			p.Via = append(p.Via, string(v))
		}
		f.Before.Places = append(f.Before.Places, p)
	}
	return nil
}

const recordSuffix = ".session.json"

// Save stores a record below dir, durably, before its session may begin.
func (r Record) Save(dir string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	name := filepath.Join(dir, r.Session+recordSuffix)
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Forget removes the record of a session that was compared.
func Forget(dir, session string) error {
	err := os.Remove(filepath.Join(dir, session+recordSuffix))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Left gives the records of sessions that nobody compared. One that cannot be
// read is an error beside the others.
func Left(dir string) ([]Record, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+recordSuffix))
	if err != nil {
		return nil, err
	}
	var out []Record
	var bad []error
	for _, name := range names {
		var r Record
		text, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err == nil && r.Session != strings.TrimSuffix(filepath.Base(name), recordSuffix) {
			err = errors.New("it names another session")
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", name, err))
			continue
		}
		out = append(out, r)
	}
	return out, errors.Join(bad...)
}
