package filewatch

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Each way to make a name stand for something else is told, and what happens to
// another file beside it is not.
func TestEventsAreTold(t *testing.T) {
	tests := []struct {
		name string
		do   func(file, other string) error
	}{
		{"write", func(file, _ string) error { return os.WriteFile(file, []byte("x"), 0o600) }},
		{"rename over it", func(file, other string) error { return os.Rename(other, file) }},
		{"link", func(file, other string) error { return errors.Join(os.Remove(file), os.Symlink(other, file)) }},
		{"hard link", func(file, other string) error { return errors.Join(os.Remove(file), os.Link(other, file)) }},
		{"a second name", func(file, other string) error { return os.Link(file, other+"2") }},
		{"mode", func(file, _ string) error { return os.Chmod(file, 0o644) }},
		{"remove", func(file, _ string) error { return os.Remove(file) }},
		{"folder moved", func(file, _ string) error { return os.Rename(filepath.Dir(file), filepath.Dir(file)+"2") }},
		{"folder opened", func(file, _ string) error { return os.Chmod(filepath.Dir(file), 0o777) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			file, other := filepath.Join(dir, "policy"), filepath.Join(dir, "other")
			must(t, errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(file, nil, 0o600), os.WriteFile(other, nil, 0o600)))
			w, err := New(file, filepath.Join(dir, "absent", "file"))
			must(t, err)
			defer w.Close()
			must(t, os.WriteFile(other, []byte("another file, of which nothing is told"), 0o600))
			must(t, tt.do(file, other))
			<-w.Events
			must(t, w.Renew())
		})
	}
}

// A folder that was replaced is watched again.
func TestRenew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	file := filepath.Join(dir, "policy")
	must(t, os.Mkdir(dir, 0o700))
	w, err := New(file)
	must(t, err)
	must(t, os.Rename(dir, dir+".old"))
	<-w.Events
	must(t, errors.Join(os.Mkdir(dir, 0o700), w.Renew(), os.WriteFile(file, nil, 0o600)))
	<-w.Events
	must(t, w.Close())
	for range w.Events { // it ends
	}
}

// What is not ours is no event.
func TestOthersAreNotTold(t *testing.T) {
	dir := t.TempDir()
	w, err := New(filepath.Join(dir, "policy"))
	must(t, err)
	defer w.Close()
	must(t, os.WriteFile(filepath.Join(dir, "other"), []byte("x"), 0o600))
	buf := make([]byte, 0, 256)
	for id := range w.names {
		for _, name := range []string{"other", "policy", ""} {
			e := append([]byte{byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)}, make([]byte, 8)...)
			e = append(e, 16, 0, 0, 0)
			e = append(append(e, name...), make([]byte, 16-len(name))...)
			if got, want := w.ours(e), name != "other"; got != want {
				t.Errorf("%q: %v", name, got)
			}
			buf = append(buf, e...)
		}
	}
	for cut := range len(buf) { // whatever is cut off
		w.ours(buf[:cut])
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
