package hostlog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxLine bounds a line. A longer one is left out.
const maxLine = 64 << 10

// Line is one of the log.
type Line struct {
	Time    time.Time
	Level   slog.Level
	Message string
	// Attrs are the rest, in their order. A value that is no text is as JSON has it.
	Attrs []Attr
	// Raw is the line as it was written, without its end.
	Raw []byte
}

// Attr is a value and its name.
type Attr struct{ Key, Value string }

// Get is the value of a name, "" for none.
func (l Line) Get(key string) string {
	for _, a := range l.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

// Parse reads a line.
func Parse(raw []byte) (Line, error) {
	l := Line{Raw: raw}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return l, errors.New("no line of the log")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return l, err
		}
		key, _ := t.(string)
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return l, err
		}
		value := string(v)
		var text string
		if json.Unmarshal(v, &text) == nil {
			value = text
		}
		switch key {
		case slog.TimeKey:
			if l.Time, err = time.Parse(time.RFC3339Nano, value); err != nil {
				return l, err
			}
		case slog.LevelKey:
			if err := l.Level.UnmarshalText([]byte(value)); err != nil {
				return l, err
			}
		case slog.MessageKey:
			l.Message = value
		default:
			l.Attrs = append(l.Attrs, Attr{key, value})
		}
	}
	return l, nil
}

// Filter chooses lines. What is not set chooses all.
type Filter struct {
	Run, Group string
	Level      slog.Leveler
	Since      time.Time
}

// fits says whether a line is chosen.
func (f Filter) fits(l Line) bool {
	return (f.Run == "" || l.Get("run") == f.Run) && (f.Group == "" || l.Get("group") == f.Group) &&
		(f.Level == nil || l.Level >= f.Level.Level()) && !l.Time.Before(f.Since)
}

// files are those of a folder, the oldest first.
func files(dir string) ([]string, error) {
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	stem, ext, _ := strings.Cut(name, ".")
	var old []string
	current := false
	for _, e := range found {
		switch n := e.Name(); {
		case n == name:
			current = true
		case strings.HasPrefix(n, stem+"-") && strings.HasSuffix(n, "."+ext):
			old = append(old, filepath.Join(dir, n))
		}
	}
	slices.Sort(old)
	if current {
		old = append(old, File(dir))
	}
	return old, nil
}

// Last gives the last lines of a folder that a filter chooses, at most n, the oldest
// first. What is no line, such as one that was cut off by a full disk, is left out.
func Last(dir string, f Filter, n int) ([]Line, error) { return last(dir, f, n, nil) }

// last is Last. Of a file that is followed it reads no more than was read of it, and
// nothing of one that came after it; nil if none is.
func last(dir string, f Filter, n int, followed *tail) (out []Line, err error) {
	list, err := files(dir)
	if err != nil {
		return nil, err
	}
	for _, p := range slices.Backward(list) {
		t := &tail{dir: dir}
		defer t.close()
		if err := t.open(p); errors.Is(err, fs.ErrNotExist) {
			continue // it was put aside, or removed, meanwhile
		} else if err != nil {
			return nil, err
		}
		switch {
		case followed == nil:
		case followed.same(t):
			if t.until = followed.at; t.until == 0 {
				continue
			}
		case p == File(dir):
			continue
		}
		var lines []Line
		early := false // so are all that are older
		err := t.read(func(l Line) error {
			early = early || l.Time.Before(f.Since)
			if f.fits(l) {
				if lines = append(lines, l); len(lines) > 2*n {
					lines = slices.Clone(lines[len(lines)-n:])
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if out = append(lines, out...); len(out) >= n || early {
			break
		}
	}
	return out[max(0, len(out)-n):], nil
}

// pause is how often a file is looked at that is followed.
const pause = 150 * time.Millisecond

// Follow gives the last lines as Last does, and then each that is written, until ctx
// ends or show fails. When the file is put aside it goes on with the next; it waits for
// one that is not there yet. Should two be filled between two looks, the first of them
// is left out.
func Follow(ctx context.Context, dir string, f Filter, n int, show func(Line) error) error {
	t := &tail{dir: dir}
	defer t.close()
	// Where the file that is followed ends now is decided first, so that no line is
	// shown twice and none falls in between.
	if err := t.openCurrent(); err == nil {
		if err := t.read(func(Line) error { return nil }); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	before, err := last(dir, f, n, t)
	if err != nil {
		return err
	}
	for _, l := range before {
		if err := show(l); err != nil {
			return err
		}
	}
	chosen := func(l Line) error {
		if f.fits(l) {
			return show(l)
		}
		return nil
	}
	for {
		if err := t.next(chosen); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// tail reads a file that grows.
type tail struct {
	dir   string
	file  *os.File
	info  os.FileInfo
	at    int64 // of what was read, whole lines alone
	until int64 // 0: to the end
}

func (t *tail) open(p string) error {
	t.close()
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	if t.info, err = f.Stat(); err != nil {
		f.Close()
		return err
	}
	t.file, t.at = f, 0
	return nil
}

func (t *tail) openCurrent() error { return t.open(File(t.dir)) }

func (t *tail) close() {
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}

func (t *tail) same(other *tail) bool {
	return t.file != nil && other.file != nil && os.SameFile(t.info, other.info)
}

// read gives the lines that are there and were not read yet.
func (t *tail) read(show func(Line) error) error {
	if _, err := t.file.Seek(t.at, io.SeekStart); err != nil {
		return err
	}
	var from io.Reader = t.file
	if t.until > 0 {
		from = io.LimitReader(t.file, t.until-t.at)
	}
	r := bufio.NewReaderSize(from, maxLine)
	for {
		raw, err := r.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !long {
			if err == io.EOF {
				err = nil // what is not a whole line yet is read next time
			}
			return err
		}
		size := int64(len(raw))
		raw = slices.Clone(bytes.TrimSuffix(raw, []byte("\n")))
		for long { // the rest of a line that is too long
			var more []byte
			more, err = r.ReadSlice('\n')
			size += int64(len(more))
			if long = errors.Is(err, bufio.ErrBufferFull); err != nil && !long {
				if err == io.EOF {
					err = nil
				}
				return err
			}
		}
		t.at += size
		if l, err := Parse(raw); err == nil {
			if err := show(l); err != nil {
				return err
			}
		}
	}
}

// next gives what was written since, also of a file that was put aside meanwhile.
func (t *tail) next(show func(Line) error) error {
	if t.file != nil {
		if err := t.read(show); err != nil {
			return err
		}
	}
	now, err := os.Stat(File(t.dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if t.file != nil && os.SameFile(now, t.info) {
		return nil
	}
	if t.file != nil { // what came between the last look and the change of names
		if err := t.read(show); err != nil {
			return err
		}
	}
	if err := t.openCurrent(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return t.read(show)
}

// Text is a line for people, with clean asked for each text in it.
func (l Line) Text(clean func(string) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-5s %s", l.Time.Local().Format("2006-01-02 15:04:05"), l.Level, clean(l.Message))
	for _, a := range l.Attrs {
		v := clean(a.Value)
		if v == "" || strings.ContainsAny(v, " \"=") {
			v = fmt.Sprintf("%q", v)
		}
		fmt.Fprintf(&b, " %s=%s", clean(a.Key), v)
	}
	return b.String()
}
