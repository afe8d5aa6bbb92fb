package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
)

// MountAllowlistFile is the owner's list of folders that may be lent to groups,
// beside the configuration. NanoClaw version 1 had it at the same place and in
// the same form: ~/.config/nanoclaw/mount-allowlist.json.
const MountAllowlistFile = "mount-allowlist.json"

// mountAllowlist is how its fields are called in a plan: mountAllowlist.allowedRoots.
const mountAllowlist = "mountAllowlist"

// maxAllowlist bounds that file, in bytes.
const maxAllowlist = 1 << 20

// MountAllowlist bounds the folders that groups are lent, whatever the rest of
// the configuration says. It gives nothing by itself.
type MountAllowlist struct {
	// AllowedRoots are the folders below which something may be lent. The first that
	// holds a folder is the one that counts for it.
	AllowedRoots []AllowedRoot `json:"allowedRoots"`
	// BlockedPatterns are names that may be no part of a lent folder's path, beside
	// the built-in ones.
	BlockedPatterns []string `json:"blockedPatterns"`
	// NonMainReadOnly lets groups but main only read what they are lent.
	NonMainReadOnly bool `json:"nonMainReadOnly"`
	// Broken says why the file could not be used, "" if it could. Then nothing may
	// be lent.
	Broken string `json:"broken,omitempty"`
}

// AllowedRoot is one folder of the list.
type AllowedRoot struct {
	// Path on this machine; "~/" is the owner's home.
	Path string `json:"path"`
	// AllowReadWrite permits lending what is below for writing.
	AllowReadWrite bool `json:"allowReadWrite"`
	// Description is for whoever reads the file.
	Description string `json:"description,omitempty"`
}

// ReadMountAllowlist reads the list beside the configuration in dir, and says what
// the file was. fs.ErrNotExist says that there is none. Any other error comes with
// a list by which nothing may be lent.
func ReadMountAllowlist(dir string) (*MountAllowlist, Fingerprint, error) {
	data, print, err := ReadBeside(dir, MountAllowlistFile, maxAllowlist+1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, print, err
	}
	var l *MountAllowlist
	if err == nil {
		l, err = ParseMountAllowlist(data)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Join(dir, MountAllowlistFile), err)
		return &MountAllowlist{Broken: err.Error()}, print, err
	}
	return l, print, nil
}

// ParseMountAllowlist reads the list. Its three fields must be there and of the
// right type, as version 1 demanded; what it did not know is not looked at.
func ParseMountAllowlist(data []byte) (*MountAllowlist, error) {
	if len(data) > maxAllowlist {
		return nil, fmt.Errorf("it is longer than %d bytes", maxAllowlist)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("it is no JSON object: %w", err)
	}
	var l MountAllowlist
	var roots []map[string]json.RawMessage
	for _, f := range []struct {
		name, want string
		into       any
	}{
		{"allowedRoots", "a list of objects with a path", &roots},
		{"blockedPatterns", "a list of names", &l.BlockedPatterns},
		{"nonMainReadOnly", "true or false", &l.NonMainReadOnly},
	} {
		if !holds(fields, f.name, f.into) {
			return nil, fmt.Errorf("%s must be there and be %s", f.name, f.want)
		}
	}
	for i, fields := range roots {
		var r AllowedRoot
		if !holds(fields, "path", &r.Path) || !filepath.IsAbs(r.Path) && r.Path != "~" && !strings.HasPrefix(r.Path, "~/") {
			return nil, fmt.Errorf("allowedRoots[%d].path must be an absolute path, or one below ~/", i)
		}
		if _, there := fields["allowReadWrite"]; there && !holds(fields, "allowReadWrite", &r.AllowReadWrite) {
			return nil, fmt.Errorf("allowedRoots[%d].allowReadWrite must be true or false", i)
		}
		holds(fields, "description", &r.Description) // of any form: nobody goes by it
		l.AllowedRoots = append(l.AllowedRoots, r)
	}
	for i, p := range l.BlockedPatterns {
		if strings.Trim(p, "/ ") == "" {
			return nil, fmt.Errorf("blockedPatterns[%d] must be a name", i)
		}
	}
	return &l, nil
}

// holds reads one field, and says whether it is there with a value of its type.
func holds(fields map[string]json.RawMessage, name string, into any) bool {
	raw, ok := fields[name]
	return ok && string(raw) != "null" && json.Unmarshal(raw, into) == nil
}

// MountAllowlistChanges compares two lists; nil is one that is not there, which
// bounds nothing.
func MountAllowlistChanges(was, is *MountAllowlist) []Change {
	whole := Change{Field: Path{mountAllowlist}, Security: true}
	switch {
	case was == nil && is == nil:
		return nil
	case was == nil:
		whole.Is, whole.Sense = show(reflect.ValueOf(*is), false), Shrinks
		return []Change{whole}
	case is == nil:
		whole.Was, whole.Sense = show(reflect.ValueOf(*was), false), Grows
		return []Change{whole}
	}
	d := differ{security: true}
	d.walk(whole.Field, []string{mountAllowlist}, reflect.ValueOf(*was), reflect.ValueOf(*is), false)
	return d.out
}
