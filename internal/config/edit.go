package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Edit changes the file by f and keeps everything that f does not touch:
// comments, order and layout. The result is decoded and validated like at a
// start, then takes the place of the old file in one step, with its mode. If f
// or the check fails, the file stays as it is.
//
// One mistake is tolerated: a variable without a value, since the shell that
// edits need not have the variables of the place where nanoclaw starts.
//
// Edits of several processes wait for each other.
func Edit(file string, o Options, f func(*Document) error) error {
	abs, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	dir, err := walk(filepath.Dir(abs), os.Geteuid(), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", file, ErrNoConfig)
	}
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	defer unlock()

	data, before, err := read(file, os.Geteuid())
	if err != nil {
		return err
	}
	changed, err := EditBytes(file, data, o, f)
	if err != nil || bytes.Equal(changed, data) {
		return err
	}
	// An editor does not take the lock. This leaves it a window of
	// microseconds instead of one as long as f.
	if err := before.Check(file); err != nil {
		return fmt.Errorf("%s was changed by somebody else at the same moment: try again", file)
	}
	return replace(filepath.Join(dir, filepath.Base(abs)), changed, before.mode.Perm())
}

// replace writes the file anew in one step.
func replace(real string, data []byte, mode fs.FileMode) error {
	p, err := pending(real, mode)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	defer p.Cleanup()
	if _, err = p.Write(data); err == nil {
		err = p.CloseAtomicallyReplace()
	}
	if err == nil {
		err = syncDir(filepath.Dir(real))
	}
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}

// lockDir waits for other edits in the same folder. The lock is on the folder
// because the file itself is replaced.
func lockDir(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { d.Close() }, nil
}

// EditBytes is Edit on a text. The text is given back as it is if f changes
// nothing.
func EditBytes(file string, data []byte, o Options, f func(*Document) error) ([]byte, error) {
	s, ps := parse(file, data)
	if err := ps.err(); err != nil {
		return nil, err
	}
	d := &Document{source: s}
	if err := f(d); err != nil {
		return nil, err
	}
	if !d.changed {
		return data, nil
	}
	text := d.text
	if d.bom {
		text = append([]byte(utf8BOM), text...)
	}
	_, _, ps = decode(file, text, o)
	ps = slices.DeleteFunc(ps, func(p Problem) bool { return p.unresolved })
	if err := ps.err(); err != nil {
		return nil, fmt.Errorf("%w\nthe file was not changed", err)
	}
	return text, nil
}
