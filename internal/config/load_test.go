package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// stranger is a uid that no test runs as.
const stranger = 54321

// newFile writes a valid configuration and gives its path. The folder is
// without symbolic links, so that messages name it as the tests do.
func newFile(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "home", fileName)
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteDefault(file, []byte(example)); err != nil {
		t.Fatal(err)
	}
	return file
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// attacks change the surroundings of a good file so that it is no longer to be
// trusted. They need no rights but the owner's.
var attacks = []struct {
	name string
	act  func(t *testing.T, file string)
	want string // in the error; FILE and DIR are replaced
}{
	{"readable by the group", func(t *testing.T, f string) { must(t, os.Chmod(f, 0o640)) },
		"FILE can be read or changed by others (mode 0640), so what stands there cannot be trusted\nfix: chmod 600 FILE"},
	{"readable by all", func(t *testing.T, f string) { must(t, os.Chmod(f, 0o604)) }, "fix: chmod 600 FILE"},
	{"writable by all", func(t *testing.T, f string) { must(t, os.Chmod(f, 0o602)) }, "fix: chmod 600 FILE"},
	{"folder writable by all", func(t *testing.T, f string) { must(t, os.Chmod(filepath.Dir(f), 0o707)) },
		"DIR can be changed by everybody (mode 0707), so what stands there cannot be trusted\nfix: chmod o-w DIR"},
	{"folder above writable by all", func(t *testing.T, f string) { must(t, os.Chmod(filepath.Dir(filepath.Dir(f)), 0o703)) },
		"can be changed by everybody"},
	{"symbolic link", func(t *testing.T, f string) {
		must(t, os.Rename(f, f+".real"))
		must(t, os.Symlink(f+".real", f))
	}, "FILE is a symbolic link"},
	{"link to nothing", func(t *testing.T, f string) {
		must(t, os.Remove(f))
		must(t, os.Symlink("/nonexistent", f))
	}, "FILE is a symbolic link"},
	{"pipe", func(t *testing.T, f string) {
		must(t, os.Remove(f))
		must(t, syscall.Mkfifo(f, 0o600))
	}, "FILE is not a regular file"},
	{"folder", func(t *testing.T, f string) {
		must(t, os.Remove(f))
		must(t, os.Mkdir(f, 0o700))
	}, "FILE is not a regular file"},
	{"file in place of the folder", func(t *testing.T, f string) {
		must(t, os.RemoveAll(filepath.Dir(f)))
		must(t, os.WriteFile(filepath.Dir(f), nil, 0o600))
	}, "DIR is not a folder"},
	{"endless links", func(t *testing.T, f string) {
		must(t, os.RemoveAll(filepath.Dir(f)))
		must(t, os.Symlink("home", filepath.Dir(f)))
	}, "too many symbolic links"},
}

func TestLoadRefuses(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			file := newFile(t)
			_, before, err := Load(file, Options{})
			must(t, err)
			a.act(t, file)
			want := strings.NewReplacer("FILE", file, "DIR", filepath.Dir(file)).Replace(a.want)

			_, _, err = Load(file, Options{})
			wantError(t, err, want)
			if errors.Is(err, ErrNoConfig) {
				t.Error("it looks like a first start")
			}
			err = before.Check(file)
			wantError(t, err, want)
			if !errors.Is(err, ErrChanged) {
				t.Errorf("check gave %v", err)
			}
			if err := Edit(file, Options{}, func(d *Document) error { return d.Set("/version", 1) }); err == nil {
				t.Error("edit went ahead")
			}
		})
	}
}

func TestLoadAccepts(t *testing.T) {
	tests := []struct {
		name string
		act  func(t *testing.T, file string)
	}{
		{"as it is", func(*testing.T, string) {}},
		{"read-only", func(t *testing.T, f string) { must(t, os.Chmod(f, 0o400)) }},
		{"sticky folder above", func(t *testing.T, f string) {
			must(t, os.Chmod(filepath.Dir(filepath.Dir(f)), 0o777|fs.ModeSticky))
		}},
		{"folder that others may read", func(t *testing.T, f string) { must(t, os.Chmod(filepath.Dir(f), 0o755)) }},
		{"folder behind our own link", func(t *testing.T, f string) {
			must(t, os.Rename(filepath.Dir(f), filepath.Dir(f)+".real"))
			must(t, os.Symlink("./x/../home.real", filepath.Dir(f)))
			must(t, os.Mkdir(filepath.Join(filepath.Dir(f), "..", "x"), 0o700))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := newFile(t)
			test.act(t, file)
			if _, _, err := Load(file, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLoadWithoutFile(t *testing.T) {
	file := newFile(t)
	must(t, os.Remove(file))
	for _, f := range []string{file, filepath.Join(filepath.Dir(file), "no", "folder", fileName)} {
		if _, _, err := Load(f, Options{}); !errors.Is(err, ErrNoConfig) || !strings.Contains(err.Error(), f) {
			t.Errorf("error %v", err)
		}
	}
	must(t, os.WriteFile(file, nil, 0o600))
	if _, _, err := Load(file, Options{}); err == nil || errors.Is(err, ErrNoConfig) {
		t.Errorf("an empty file gave %v", err)
	}
}

// Only root can give files away, so these attacks are made by root against
// root, and against an ordinary user in TestAsOrdinaryUser.
func TestLoadRefusesStrangers(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the root run of the tests covers it
	}
	tests := []struct {
		name string
		act  func(t *testing.T, file string)
		want string
	}{
		{"file", func(t *testing.T, f string) { must(t, os.Chown(f, stranger, 0)) },
			"FILE belongs to uid 54321, so what stands there cannot be trusted\nfix: sudo chown 0 FILE"},
		{"folder", func(t *testing.T, f string) { must(t, os.Chown(filepath.Dir(f), stranger, 0)) },
			"DIR belongs to uid 54321, so what stands there cannot be trusted\nfix: sudo chown 0 DIR"},
		{"group of the folder", func(t *testing.T, f string) {
			must(t, os.Chown(filepath.Dir(f), 0, stranger))
			must(t, os.Chmod(filepath.Dir(f), 0o770))
		}, "DIR can be changed by group 54321 (mode 0770), so what stands there cannot be trusted\nfix: chmod g-w DIR"},
		{"name in a sticky folder", func(t *testing.T, f string) {
			must(t, os.Chmod(filepath.Dir(filepath.Dir(f)), 0o777|fs.ModeSticky))
			must(t, os.Chown(filepath.Dir(f), stranger, 0))
		}, "DIR belongs to uid 54321"},
		{"link to a good folder", func(t *testing.T, f string) {
			must(t, os.Rename(filepath.Dir(f), filepath.Dir(f)+".real"))
			must(t, os.Symlink("home.real", filepath.Dir(f)))
			must(t, os.Lchown(filepath.Dir(f), stranger, 0))
		}, "DIR is a symbolic link of uid 54321"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := newFile(t)
			test.act(t, file)
			_, _, err := Load(file, Options{})
			wantError(t, err, strings.NewReplacer("FILE", file, "DIR", filepath.Dir(file)).Replace(test.want))
		})
	}
	t.Run("group of root", func(t *testing.T) {
		file := newFile(t)
		must(t, os.Chmod(filepath.Dir(file), 0o770))
		if _, _, err := Load(file, Options{}); err != nil {
			t.Error(err)
		}
	})
}

// TestAsOrdinaryUser runs the tests that touch files once more as a user
// without rights, with files of root and of a stranger in its way.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Getenv("CONFIG_TEST_FOREIGN") != "" {
		foreignFiles(t, os.Getenv("CONFIG_TEST_FOREIGN"))
		return
	}
	if os.Geteuid() != 0 {
		return // all tests run as an ordinary user already
	}
	const uid = 54322
	foreign := filepath.Dir(newFile(t)) // of root, readable below
	for name, owner := range map[string]int{"root": 0, "stranger": stranger} {
		must(t, os.WriteFile(filepath.Join(foreign, name), []byte("{}"), 0o600))
		must(t, os.Chown(filepath.Join(foreign, name), owner, 0))
		must(t, os.Chmod(filepath.Join(foreign, name), map[int]fs.FileMode{0: 0o600, stranger: 0o644}[owner]))
	}
	must(t, os.Chmod(foreign, 0o755))
	must(t, os.Chmod(filepath.Dir(foreign), 0o755))
	must(t, os.Chmod(filepath.Dir(filepath.Dir(foreign)), 0o755))
	own := filepath.Join(foreign, "own")
	must(t, os.Mkdir(own, 0o700))
	must(t, os.Chown(own, uid, uid))
	self := copySelf(t, filepath.Join(foreign, "config.test"))

	cmd := exec.Command(self, "-test.v", "-test.run=^(TestLoad|TestFingerprint|TestWriteDefault|TestEnsureDirs|TestEditFile|TestAsOrdinaryUser)")
	cmd.Env = []string{"TMPDIR=" + own, "CONFIG_TEST_FOREIGN=" + foreign}
	cmd.Dir = own
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestLoadRefuses/symbolic_link") ||
		!strings.Contains(string(out), "--- PASS: TestAsOrdinaryUser") {
		t.Errorf("%v\n%s", err, out)
	}
}

func foreignFiles(t *testing.T, dir string) {
	_, _, err := Load(filepath.Join(dir, "root"), Options{})
	wantError(t, err, fmt.Sprintf("cannot be read by uid %d\nfix: sudo chown %d ", os.Geteuid(), os.Geteuid()))
	_, _, err = Load(filepath.Join(dir, "stranger"), Options{})
	wantError(t, err, "belongs to uid 54321")
	err = Paths{ConfigDir: dir, DataDir: dir, RuntimeDir: dir}.EnsureDirs()
	wantError(t, err, "belongs to uid 0 and not to us")
	err = Paths{ConfigDir: filepath.Join(dir, "new")}.EnsureDirs()
	wantError(t, err, "choose another place with NANOCLAW_HOME")
}

// copySelf puts the test program where an ordinary user can start it.
func copySelf(t *testing.T, to string) string {
	self, err := os.Executable()
	must(t, err)
	from, err := os.Open(self)
	must(t, err)
	defer from.Close()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	must(t, err)
	_, err = io.Copy(f, from)
	must(t, errors.Join(err, f.Chmod(0o755), f.Close()))
	return to
}

func TestFingerprint(t *testing.T) {
	tests := []struct {
		name string
		act  func(t *testing.T, file string)
		want string // "" for unchanged
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"touched", func(t *testing.T, f string) {
			info, err := os.Stat(f)
			must(t, err)
			must(t, os.Chtimes(f, info.ModTime().AddDate(0, 0, 1), info.ModTime().AddDate(0, 0, 1)))
		}, ""},
		{"written again with the same content", func(t *testing.T, f string) {
			must(t, os.Remove(f))
			must(t, WriteDefault(f, []byte(example)))
		}, ""},
		{"a comment", func(t *testing.T, f string) { must(t, os.WriteFile(f, []byte(example+"//"), 0o600)) }, "has another content"},
		{"replaced", func(t *testing.T, f string) {
			must(t, os.WriteFile(f+".new", []byte("{}"), 0o600))
			must(t, os.Rename(f+".new", f))
		}, "has another content"},
		{"broken", func(t *testing.T, f string) { must(t, os.WriteFile(f, []byte("{"), 0o600)) }, "has another content"},
		{"another mode", func(t *testing.T, f string) { must(t, os.Chmod(f, 0o400)) }, "has mode -r--------, not -rw-------"},
		{"gone", func(t *testing.T, f string) { must(t, os.Remove(f)) }, "is gone"},
		{"link to the same content", func(t *testing.T, f string) {
			must(t, os.Rename(f, f+".real"))
			must(t, os.Symlink(f+".real", f))
		}, "is a symbolic link"},
		{"folder opened to all", func(t *testing.T, f string) { must(t, os.Chmod(filepath.Dir(f), 0o777)) }, "can be changed by everybody"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := newFile(t)
			_, print, err := Load(file, Options{})
			must(t, err)
			test.act(t, file)
			err = print.Check(file)
			wantError(t, err, test.want)
			if err != nil && (!errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "restart nanoclaw")) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestFingerprintString(t *testing.T) {
	base := Fingerprint{owner: 1, mode: 0o600}
	if len(base.String()) != 64 || base.String() != (Fingerprint{owner: 1, mode: 0o600}).String() {
		t.Errorf("got %s", base)
	}
	for _, other := range []Fingerprint{
		{owner: 2, mode: 0o600}, {owner: 1, mode: 0o400}, {owner: 1, mode: 0o600, content: [32]byte{1}},
	} {
		if other.String() == base.String() {
			t.Errorf("%+v has the same text as %+v", other, base)
		}
	}
}

func TestWriteDefault(t *testing.T) {
	file := newFile(t) // uses WriteDefault
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := WriteDefault(file, []byte("{}")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
	must(t, os.Remove(file))
	must(t, os.Symlink("/nonexistent/x", file))
	if err := WriteDefault(file, []byte("{}")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a link: %v", err)
	}
	must(t, os.Remove(file))

	// Of many first starts at once, one writes.
	var wg sync.WaitGroup
	wrote := make(chan string, 16)
	for i := range cap(wrote) {
		wg.Go(func() {
			text := fmt.Sprintf("{} // %d", i)
			if err := WriteDefault(file, []byte(text)); err == nil {
				wrote <- text
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(wrote)
	text, err := os.ReadFile(file)
	must(t, err)
	if len(wrote) != 1 || string(text) != <-wrote {
		t.Errorf("%d wrote; the file is %q", len(wrote)+1, text)
	}
	wantAlone(t, file)
}

// wantAlone wants no left-over temporary files beside file.
func wantAlone(t *testing.T, file string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(file))
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("in the folder: %v", entries)
	}
}
