package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nanoclaw/internal/config"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// at are the folders of an installation below dir.
func at(dir string) config.Paths {
	return config.Paths{
		ConfigDir: filepath.Join(dir, "etc", "nanoclaw"), DataDir: filepath.Join(dir, "lib", "nanoclaw"),
		RuntimeDir: filepath.Join(dir, "lib", "nanoclaw", "run"), KeyDir: filepath.Join(dir, "lib", "nanoclaw-key"),
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// strange is the name of a file that an agent made.
const strange = "a\nb\\c  ü"

// installation makes one with everything that can be in the way.
func installation(t testing.TB) (config.Paths, Options) {
	t.Helper()
	p := at(t.TempDir())
	write(t, p.ConfigDir+"/config.jsonc", "{}")
	write(t, p.ConfigDir+"/groups/family/skills/x/SKILL.md", "skill")
	write(t, p.DataDir+"/audit.key", "secret")
	write(t, p.DataDir+"/nanoclaw.db", "the live store")
	write(t, p.DataDir+"/nanoclaw.db-wal", "its log")
	write(t, p.DataDir+"/nanoclaw.lock", "")
	write(t, p.DataDir+"/agents/claude", "a program")
	write(t, p.DataDir+"/run/x", "")
	write(t, p.DataDir+"/.backup-1/nanoclaw.db", "of one that was killed")
	write(t, p.KeyDir+"/key", "key")
	work := p.DataDir + "/groups/family/workspace"
	write(t, work+"/"+strange, "strange")
	write(t, work+"/run.sh", "echo")
	must(t, os.Chmod(work+"/run.sh", 0o755|fs.ModeSetuid))
	must(t, os.Symlink("/etc/passwd", work+"/passwd"))
	must(t, os.Symlink("..", work+"/up"))
	must(t, os.MkdirAll(work+"/empty", 0o750))
	must(t, unix.Mkfifo(work+"/fifo", 0o600)) // who opens it waits for ever
	must(t, os.Chtimes(work+"/run.sh", time.Unix(1e9, 0), time.Unix(1e9, 0)))
	return p, Options{
		Paths: p, Version: "1.2.3", Now: time.Unix(2e9, 0), Store: "nanoclaw.db", Skip: []string{"agents", "nanoclaw.lock"},
		Snapshot: func(_ context.Context, to string) error { return os.WriteFile(to, []byte("the copy"), 0o600) },
	}
}

func written(t testing.TB, o Options) ([]byte, Summary) {
	t.Helper()
	var b bytes.Buffer
	s, err := Write(t.Context(), &b, o)
	must(t, err)
	return b.Bytes(), s
}

// holds gives every name below dir with what it is.
func holds(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		must(t, err)
		rel, _ := filepath.Rel(dir, p)
		switch {
		case e.IsDir():
			out[rel] = fi.Mode().String()
		case fi.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			must(t, err)
			out[rel] = "-> " + to
		default:
			text, err := os.ReadFile(p)
			must(t, err)
			out[rel] = fi.Mode().String() + " " + string(text)
		}
		return nil
	}))
	return out
}

func fine(context.Context, string) error { return nil }

func TestThereAndBack(t *testing.T) {
	p, o := installation(t)
	text, s := written(t, o)
	if s.LeftOut != 1 || !strings.Contains(s.Left[0], "fifo") {
		t.Errorf("left out: %+v", s)
	}
	if left, _ := filepath.Glob(p.DataDir + "/.backup-*"); left != nil {
		t.Errorf("%v stays behind", left)
	}
	to := at(t.TempDir())
	got, err := Restore(t.Context(), bytes.NewReader(text), RestoreOptions{Paths: to, Now: time.Now(), Check: fine})
	if err != nil || got.Files != s.Files || got.Files == 0 || got.Aside != nil || !got.Made.Equal(o.Now) {
		t.Errorf("restored %+v, %v; written %+v", got, err, s)
	}
	if d := cmp.Diff(map[string]string{
		".": "drwx------", "config.jsonc": "-rw------- {}", "groups": "drwx------", "groups/family": "drwx------",
		"groups/family/skills": "drwx------", "groups/family/skills/x": "drwx------", "groups/family/skills/x/SKILL.md": "-rw------- skill",
	}, holds(t, to.ConfigDir)); d != "" {
		t.Error(d)
	}
	data := holds(t, to.DataDir)
	if marker := data[MarkerFile]; !strings.Contains(marker, `"version":"1.2.3"`) {
		t.Errorf("the marker is %q", marker)
	}
	delete(data, MarkerFile)
	work := "groups/family/workspace"
	if d := cmp.Diff(map[string]string{
		".": "drwx------", "audit.key": "-rw------- secret", "nanoclaw.db": "-rw------- the copy", "groups": "drwx------", "groups/family": "drwx------",
		work: "drwx------", work + "/" + strange: "-rw------- strange", work + "/run.sh": "-rwxr-xr-x echo", work + "/empty": "drwxr-x---",
		work + "/passwd": "-> /etc/passwd", work + "/up": "-> ..",
	}, data); d != "" {
		t.Error(d)
	}
	if fi, err := os.Stat(filepath.Join(to.DataDir, work, "run.sh")); err != nil || !fi.ModTime().Equal(time.Unix(1e9, 0)) {
		t.Errorf("a file's time is %v, %v", fi.ModTime(), err)
	}
	if _, err := os.Lstat(to.KeyDir); err == nil {
		t.Error("the key is in it, which nobody asked for")
	}
	o.Key = true
	text, _ = written(t, o)
	to = at(t.TempDir())
	if _, err := Restore(t.Context(), bytes.NewReader(text), RestoreOptions{Paths: to, Now: time.Now(), Check: fine}); err != nil || holds(t, to.KeyDir)["key"] != "-rw------- key" {
		t.Errorf("with the key: %v, %v", holds(t, to.KeyDir), err)
	}
}

// What is there is never lost, and nothing changes unless everything holds.
func TestRestoreReplaces(t *testing.T) {
	_, o := installation(t)
	text, _ := written(t, o)
	to := at(t.TempDir())
	write(t, to.ConfigDir+"/config.jsonc", "mine")
	write(t, to.DataDir+"/mine", "mine")
	before := holds(t, filepath.Dir(filepath.Dir(to.DataDir)))
	broken := errors.New("the store is damaged")
	for name, tt := range map[string]struct {
		text []byte
		o    RestoreOptions
		want error
	}{
		"not asked to":  {text, RestoreOptions{Check: fine}, ErrOccupied},
		"cut off":       {text[:len(text)-20], RestoreOptions{Check: fine, Replace: true}, ErrDamaged},
		"does not hold": {text, RestoreOptions{Check: func(context.Context, string) error { return broken }, Replace: true}, broken},
	} {
		tt.o.Paths, tt.o.Now = to, time.Unix(2e9, 0)
		if _, err := Restore(t.Context(), bytes.NewReader(tt.text), tt.o); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(before, holds(t, filepath.Dir(filepath.Dir(to.DataDir)))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	// The data is in its place already when the configuration cannot follow.
	vanishes := func(context.Context, string) error { return os.RemoveAll(to.ConfigDir + staging) }
	if _, err := Restore(t.Context(), bytes.NewReader(text), RestoreOptions{Paths: to, Now: time.Unix(2e9, 0), Check: vanishes, Replace: true}); err == nil {
		t.Error("it was restored without a configuration")
	}
	if d := cmp.Diff(before, holds(t, filepath.Dir(filepath.Dir(to.DataDir)))); d != "" {
		t.Errorf("half of it was restored: %s", d)
	}
	// What an earlier restore put aside, within the same second, stays there.
	aside := to.ConfigDir + ".before-restore-20330518T033320Z"
	write(t, aside+"/x", "older")
	defer func() {
		if got := holds(t, aside)["x"]; !strings.HasSuffix(got, "older") {
			t.Errorf("what was put aside before is now %q", got)
		}
	}()
	looked := ""
	out, err := Restore(t.Context(), bytes.NewReader(text), RestoreOptions{Paths: to, Now: time.Unix(2e9, 0), Replace: true, Check: func(_ context.Context, dir string) error {
		b, err := os.ReadFile(filepath.Join(dir, "nanoclaw.db"))
		looked = string(b)
		return err
	}})
	if err != nil || looked != "the copy" || len(out.Aside) != 2 {
		t.Fatalf("%+v, %v; the check saw %q", out, err, looked)
	}
	if got := holds(t, out.Aside[0])["mine"] + holds(t, out.Aside[1])["config.jsonc"]; got != "-rw------- mine-rw------- mine" {
		t.Errorf("what was there is now %q", got)
	}
}

// A backup with any byte changed, or any end cut off, is not restored as something
// else: what is restored is what was written.
func TestDamageIsSeen(t *testing.T) {
	_, o := installation(t)
	text, _ := written(t, o)
	whole := &record{}
	if _, _, err := read(bytes.NewReader(text), whole); err != nil {
		t.Fatal(err)
	}
	for i := range text {
		changed := bytes.Clone(text)
		changed[i] ^= 1 << (i % 8)
		for _, b := range [][]byte{changed, text[:i]} {
			got := &record{}
			if _, _, err := read(bytes.NewReader(b), got); err == nil {
				if d := cmp.Diff(whole.got, got.got); d != "" { // a bit in gzip's own header, such as its clock
					t.Fatalf("byte %d: %s", i, d)
				}
			}
		}
	}
}

// record is a sink that remembers.
type record struct{ got []string }

func (r *record) folder(h *tar.Header) error { r.got = append(r.got, h.Name); return nil }
func (r *record) link(h *tar.Header) error   { r.got = append(r.got, h.Name+h.Linkname); return nil }
func (r *record) file(h *tar.Header, in io.Reader) error {
	b, err := io.ReadAll(in)
	r.got = append(r.got, h.Name+string(b))
	return err
}

// forged is a backup with right sums that somebody else made.
func forged(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	a := newArchive(&b)
	must(t, a.text(aboutName, []byte(`{"format":1}`), time.Now()))
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			_, err := a.file(h, strings.NewReader(strings.Repeat("x", int(h.Size))))
			must(t, err)
			continue
		}
		must(t, a.entry(h))
	}
	must(t, a.close(time.Now()))
	return b.Bytes()
}

// Whoever made a backup cannot write elsewhere with it.
func TestForgedBackupStaysInside(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	must(t, os.Mkdir(outside, 0o700))
	reg := func(name string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: 1}
	}
	link := func(name, to string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}
	}
	for name, headers := range map[string][]*tar.Header{
		"above":                    {reg("data/../../outside/x")},
		"absolute":                 {reg(outside + "/x")},
		"another folder":           {reg("outside/x")},
		"no folder":                {reg("x")},
		"a file for a folder":      {reg("data")},
		"twice":                    {reg("data/x"), reg("data/x")},
		"through a link":           {link("data/l", outside), reg("data/l/x")},
		"a link in a file's place": {reg("data/l/x"), link("data/l", outside)},
		"a hard link":              {{Typeflag: tar.TypeLink, Name: "data/x", Linkname: outside}},
		"a device":                 {{Typeflag: tar.TypeChar, Name: "data/x", Devmajor: 1, Devminor: 3}},
		"odd spelling":             {reg("data//x")},
		"a folder of the root":     {link("config", outside)},
	} {
		t.Run(name, func(t *testing.T) {
			to := at(filepath.Join(t.TempDir(), "x"))
			_, err := Restore(t.Context(), bytes.NewReader(forged(t, headers...)), RestoreOptions{Paths: to, Now: time.Now(), Check: fine})
			if err == nil {
				t.Error("it was restored")
			}
			if _, err := os.Lstat(to.DataDir); err == nil {
				t.Error("something is in place")
			}
			if left, _ := os.ReadDir(outside); len(left) > 0 {
				t.Errorf("it wrote %v", left)
			}
		})
	}
	if _, _, err := read(bytes.NewReader(forged(t, reg("data/x"))), &record{}); err != nil {
		t.Errorf("a right one is refused too: %v", err)
	}
}

// FuzzRead: no file makes reading give a name outside of the folders.
func FuzzRead(f *testing.F) {
	_, o := installation(f)
	text, _ := written(f, o)
	plain, err := gzip.NewReader(bytes.NewReader(text))
	must(f, err)
	unzipped, err := io.ReadAll(plain)
	must(f, err)
	f.Add(unzipped)
	f.Fuzz(func(t *testing.T, b []byte) {
		var zipped bytes.Buffer
		gz := gzip.NewWriter(&zipped)
		gz.Write(b)
		gz.Close()
		got := &record{}
		read(&zipped, got)
		for _, name := range got.got {
			if top, _, _ := strings.Cut(name, "/"); !strings.HasPrefix(top, configName) && !strings.HasPrefix(top, dataName) && !strings.HasPrefix(top, keyName) || strings.HasPrefix(name, "/") {
				t.Fatalf("it gave %q", name)
			}
		}
	})
}

// What changes while it is read does not end the backup.
func TestShrinkingFile(t *testing.T) {
	var b bytes.Buffer
	a := newArchive(&b)
	must(t, a.text(aboutName, []byte(`{"format":1}`), time.Now()))
	short, err := a.file(&tar.Header{Name: "data/x", Size: 10}, strings.NewReader("abc"))
	if err != nil || !short {
		t.Errorf("short = %v, %v", short, err)
	}
	must(t, a.close(time.Now()))
	got := &record{}
	if _, _, err := read(&b, got); err != nil || len(got.got) != 1 || got.got[0] != "data/xabc\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%q, %v", got.got, err)
	}
}
