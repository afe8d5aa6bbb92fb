package runlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/chat"
)

var at = time.Date(2026, 3, 1, 12, 30, 45, 123_000_000, time.UTC)

func sample() Header {
	return Header{
		Run: "r1", Group: "family", Trigger: "message in wa:1 from wa:2, row 7", Mode: "host", Reason: "groups.family.mode",
		Agent: "claude", Engine: "native", Layers: []string{"namespaces", "seccomp"}, Mounts: []string{"rw /workspace/group = /data/groups/family/workspace"},
		InitPID: 42, Profile: "sha256:00", Session: "s1", Env: []string{"HOME", "PATH"}, Started: at,
	}
}

func TestHeader(t *testing.T) {
	h := sample()
	if got, want := h.Name(), "host-2026-03-01T12-30-45-123Z.log"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if s := h.String(); !strings.Contains(s, "exit:        not known") || strings.Contains(s, "duration") {
		t.Errorf("of a run that goes on:\n%s", s)
	}
	h.Mode, h.Container, h.Ended, h.Exit, h.Truncated, h.ToolCalls, h.Error, h.Warm = "container", "nanoclaw-x", at.Add(1500*time.Millisecond), "failed", true, 3, "it died\nof \x1b[2Jthis", true
	want := `run:         r1
group:       family
trigger:     message in wa:1 from wa:2, row 7
mode:        container (groups.family.mode)
agent:       claude
engine:      native
layers:      namespaces, seccomp
missing:     none
container:   nanoclaw-x
mount:       rw /workspace/group = /data/groups/family/workspace
init pid:    42
profile:     sha256:00
session:     s1 (warm)
environment: HOME, PATH
started:     2026-03-01T12:30:45.123Z
ended:       2026-03-01T12:30:46.623Z
duration:    1.5s
exit:        failed
tool calls:  3
truncated:   yes

error:
  it died
  of ?[2Jthis
`
	if got := h.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// Whatever a run says of itself is one line, and bounded.
func TestNothingForgesALine(t *testing.T) {
	h := sample()
	h.Trigger = "message\nexit:        succeeded"
	h.Ended, h.Exit = at, strings.Repeat("x", 1<<20)
	h.Answer = strings.Repeat("ä", maxText) + "\nerror:\n  no"
	s := h.String()
	head, rest, _ := strings.Cut(s, "\n\n")
	if n := strings.Count(head, "\nexit:"); n != 1 {
		t.Errorf("%d ends:\n%.2000s", n, head)
	}
	if len(s) > 2*maxText || strings.Contains(rest, "\nerror:") || !strings.Contains(rest, "[the rest is cut]") {
		t.Errorf("%d bytes", len(s))
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if all, err := List(dir, 10); err != nil || all != nil {
		t.Errorf("of no folder: %v, %v", all, err)
	}
	l, folder := Limits{Files: 3}, NewFolder(dir)
	for i := range 5 {
		h := sample()
		h.Run, h.Started = chat.RunID(fmt.Sprint("r", i)), at.Add(time.Duration(i)*time.Second)
		for range 2 { // begun and ended
			if err := folder.Write(h, l); err != nil {
				t.Fatal(err)
			}
			h.Ended, h.Exit = h.Started.Add(time.Second), "succeeded"
		}
	}
	all, err := List(dir, 2)
	if err != nil || len(all) != 2 || all[0].Run != "r4" || all[1].Run != "r3" || all[0].Fields["exit"] != "succeeded" {
		t.Errorf("the newest two: %+v, %v", all, err)
	}
	if _, _, err := Find(dir, "r1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an old one is there: %v", err)
	}
	name, text, err := Find(dir, "r2")
	if err != nil || !strings.HasSuffix(name, "47-123Z.log") || !strings.Contains(text, "duration:    1s") {
		t.Errorf("%s: %v\n%s", name, err, text)
	}
	if names := files(t, dir); len(names) != 3 {
		t.Errorf("%q", names)
	}
	fi, err := os.Stat(filepath.Join(dir, name))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}

// A folder that is full is looked at once for many runs, and is never beyond its limits.
func TestFullFolder(t *testing.T) {
	dir := t.TempDir()
	l, folder := Limits{Files: 32}, NewFolder(dir)
	looked := 0
	for i := range 100 {
		h := sample()
		h.Run, h.Started = chat.RunID(fmt.Sprint("r", i)), at.Add(time.Duration(i)*time.Second)
		before := folder.files
		if err := folder.Write(h, l); err != nil {
			t.Fatal(err)
		}
		names := files(t, dir)
		if len(names) != folder.files || len(names) > l.Files {
			t.Fatalf("%d files, known as %d, after %d runs", len(names), folder.files, i+1)
		}
		if folder.files <= before {
			looked++
		}
	}
	if looked == 0 || looked > 34 {
		t.Errorf("looked for old files %d times in 100 runs", looked)
	}
	if _, _, err := Find(dir, "r99"); err != nil {
		t.Error(err)
	}
}

// By age and by size too; the run that is written now stays in any case.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	write := func(i int, l Limits, answer string) {
		h := sample()
		h.Run, h.Started, h.Answer = chat.RunID(fmt.Sprint("r", i)), at.Add(time.Duration(i)*time.Second), answer
		if err := NewFolder(dir).Write(h, l); err != nil { // as after a restart

			t.Fatal(err)
		}
	}
	for i := range 4 {
		write(i, Limits{}, "")
	}
	old := time.Now().Add(-48 * time.Hour)
	for _, name := range files(t, dir)[:2] {
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	write(4, Limits{Keep: 24 * time.Hour}, "")
	if n := len(files(t, dir)); n != 3 {
		t.Errorf("%d files after a day", n)
	}
	write(5, Limits{Size: 1000}, strings.Repeat("x", 5000))
	if names := files(t, dir); len(names) != 1 || !strings.Contains(names[0], "50-123Z") {
		t.Errorf("%q", names)
	}
	write(6, Limits{}, "")
	if err := Forget(dir); err != nil {
		t.Fatal(err)
	}
	if names := files(t, dir); len(names) != 1 || !strings.Contains(names[0], "51-123Z") {
		t.Errorf("what holds words is still there: %q", names)
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}
