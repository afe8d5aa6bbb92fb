package hostlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func messages(lines []Line) (out []string) {
	for _, l := range lines {
		out = append(out, l.Message)
	}
	return out
}

// Lines come back as they were written, without what clean takes out, in files that
// nobody else reads.
func TestWriteAndRead(t *testing.T) {
	dir := Folder(t.TempDir())
	clean := func(s string) string { return strings.ReplaceAll(s, "hunter2", "[masked]") }
	h, c, err := Open(dir, slog.LevelInfo, clean)
	must(t, err)
	log := slog.New(h)
	log.Debug("not this")
	log.Info("began with hunter2", "run", "r1", "group", "family", "ms", 12)
	log.With("run", "r2").Warn("said", "err", errors.New("the key hunter2 is bad"), "what", []string{"a"}, "took", 1500*time.Millisecond)
	must(t, c.Close())
	lines, err := Last(dir, Filter{}, 10)
	must(t, err)
	for i := range lines {
		if lines[i].Time.IsZero() {
			t.Error("a line has no time")
		}
		lines[i].Time, lines[i].Raw = time.Time{}, nil
	}
	if diff := cmp.Diff([]Line{
		{Level: slog.LevelInfo, Message: "began with [masked]", Attrs: []Attr{{"run", "r1"}, {"group", "family"}, {"ms", "12"}}},
		{Level: slog.LevelWarn, Message: "said", Attrs: []Attr{{"run", "r2"}, {"err", "the key [masked] is bad"}, {"what", `["a"]`}, {"took", "1.5s"}}},
	}, lines); diff != "" {
		t.Error(diff)
	}
	for p, want := range map[string]os.FileMode{dir: 0o700, File(dir): 0o600} {
		if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want mode %o", p, fi.Mode(), err, want)
		}
	}
}

// A filter chooses by run, group, level and time, over all files, the oldest first.
func TestFilter(t *testing.T) {
	dir := t.TempDir()
	line := func(minute int, level, msg, run string) string {
		return fmt.Sprintf(`{"time":"2026-03-01T12:%02d:00Z","level":%q,"msg":%q,"run":%q,"group":"g%s"}`+"\n", minute, level, msg, run, run)
	}
	for n, text := range map[string]string{
		"nanoclaw-2026-03-01T12-02-00.000.log": line(0, "INFO", "a", "1") + line(1, "WARN", "b", "2"),
		"nanoclaw-2026-03-01T12-04-00.000.log": line(2, "INFO", "c", "1") + "cut off {" + "\n" + line(3, "ERROR", "d", "1"),
		"nanoclaw.log":                         line(4, "INFO", "e", "2") + strings.Repeat("x", maxLine+10) + "\n" + line(5, "INFO", "f", "1") + `{"time":"2026-03-01T12:06:00Z","lev`,
		"other.log":                            line(6, "ERROR", "not ours", "1"),
	} {
		must(t, os.WriteFile(filepath.Join(dir, n), []byte(text), 0o600))
	}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		f    Filter
		n    int
		want string
	}{
		{Filter{}, 100, "a b c d e f"},
		{Filter{}, 3, "d e f"},
		{Filter{Run: "1"}, 100, "a c d f"},
		{Filter{Run: "1"}, 2, "d f"},
		{Filter{Group: "g2"}, 100, "b e"},
		{Filter{Level: slog.LevelWarn}, 100, "b d"},
		{Filter{Since: noon.Add(3 * time.Minute)}, 100, "d e f"},
		{Filter{Run: "3"}, 100, ""},
	} {
		got, err := Last(dir, c.f, c.n)
		if err != nil || strings.Join(messages(got), " ") != c.want {
			t.Errorf("%+v, at most %d: %q, %v; want %q", c.f, c.n, messages(got), err, c.want)
		}
	}
	if got, err := Last(filepath.Join(dir, "none"), Filter{}, 5); err != nil || len(got) > 0 {
		t.Errorf("of a folder that is not there: %v %v", got, err)
	}
}

// Who follows sees each line once and in order, of a file that is not there yet, is
// written in pieces, and is put aside.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	lines, ended := make(chan string, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- Follow(ctx, dir, Filter{Level: slog.LevelInfo}, 10, func(l Line) error { lines <- l.Message; return nil })
	}()
	see := func(want string) {
		t.Helper()
		select {
		case got := <-lines:
			if got != want {
				t.Fatalf("saw %q, want %q", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("did not see %q", want)
		}
	}
	write := func(text string) {
		t.Helper()
		f, err := os.OpenFile(File(dir), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		must(t, err)
		_, err = f.WriteString(text)
		must(t, err)
		must(t, f.Close())
	}
	line := func(msg string) string {
		return fmt.Sprintf(`{"time":%q,"level":"INFO","msg":%q}`+"\n", time.Now().Format(time.RFC3339Nano), msg)
	}
	write(line("first"))
	see("first")
	whole := line("second")
	write(whole[:20])
	write(whole[20:] + strings.Replace(line("debug"), "INFO", "DEBUG", 1) + line("third"))
	see("second")
	see("third")
	write(line("last of the old"))
	must(t, os.Rename(File(dir), filepath.Join(dir, "nanoclaw-2026-03-01T12-02-00.000.log")))
	write(line("first of the new"))
	see("last of the old")
	see("first of the new")
	cancel()
	must(t, <-ended)
	var again []string
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := errors.New("enough")
	if err := Follow(ctx, dir, Filter{}, 3, func(l Line) error {
		if again = append(again, l.Message); len(again) == 3 {
			return done
		}
		return nil
	}); err != done {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"third", "last of the old", "first of the new"}, again); diff != "" {
		t.Error(diff)
	}
}

// What is shown holds nothing that a terminal obeys.
func TestText(t *testing.T) {
	l, err := Parse([]byte(`{"time":"2026-03-01T12:00:00Z","level":"ERROR","msg":"bad \u001b[2J","k ":"two words","e":""}`))
	must(t, err)
	got := l.Text(func(s string) string { return strings.ReplaceAll(s, "\x1b[2J", "") })
	if want := `ERROR bad  k ="two words" e=""`; !strings.HasSuffix(got, want) {
		t.Errorf("%q, want %q at the end", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"time":"2026-03-01T12:00:00Z","level":"INFO","msg":"a","b":{"c":[1]}}`))
	f.Add([]byte(`{"level":1,"msg":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := Parse(raw)
		if err == nil && !strings.Contains(string(l.Raw), "{") {
			t.Errorf("%q is a line", raw)
		}
		_ = l.Text(func(s string) string { return s })
	})
}
