package upgrade

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// The names beside the program: the former, and those that are there only while
// something is done. A later upgrade removes what a killed one left of these.
const (
	oldSuffix  = ".old"
	newPrefix  = ".new-"
	linkPrefix = ".link-"
)

// Place is where a program stands, held against a second upgrade.
type Place struct {
	program string // without symbolic links
	dir     *os.File
	former  fs.FileInfo

	waiting  bool // something is staged
	switched bool
	// reached is told of each step before it is done. Tests end the process there.
	reached func(step string)
}

// ErrBusy says that another upgrade is at work in the same folder.
var ErrBusy = errors.New("another upgrade is at work here\nfix: wait until it has ended")

// Hold takes the place of a program. It changes nothing but what a killed upgrade
// left over. Close gives it back.
func Hold(program string) (*Place, error) {
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		return nil, err
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, err
	}
	info, err := os.Lstat(real)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", real)
	}
	dir, err := os.Open(filepath.Dir(real))
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		dir.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("lock %s: %w", filepath.Dir(real), err)
	}
	p := &Place{program: real, dir: dir, former: info, reached: func(string) {}}
	for _, name := range []string{p.staged(), p.link()} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.Close()
			return nil, fmt.Errorf("%w\nfix: upgrade as the user whom %s belongs to", err, real)
		}
	}
	return p, nil
}

// Program is the file that is replaced.
func (p *Place) Program() string { return p.program }

// Old is where the former program is kept.
func (p *Place) Old() string { return p.program + oldSuffix }

func (p *Place) staged() string { return p.beside(newPrefix) }
func (p *Place) link() string   { return p.beside(linkPrefix) }

func (p *Place) beside(prefix string) string {
	return filepath.Join(filepath.Dir(p.program), prefix+filepath.Base(p.program))
}

// Stage writes the offered program beside the one that is there, under a name of its
// own, with the same owner and mode, and gives that name. What was written is read
// again before it is believed.
func (p *Place) Stage(o *Offer) (string, error) {
	p.reached("stage")
	name := p.staged()
	// It is new, so it is no link that somebody laid there. Nobody starts it until it is whole.
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return "", fmt.Errorf("%w\nfix: upgrade as the user whom %s belongs to", err, p.program)
	}
	err = p.write(f, o.program)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(name)
		return "", fmt.Errorf("writing the new program: %w", err)
	}
	p.waiting = true
	return name, nil
}

// write fills the file and has it on the disk.
func (p *Place) write(f *os.File, program []byte) error {
	if _, err := io.Copy(f, bytes.NewReader(program)); err != nil {
		return err
	}
	p.reached("staged content")
	stat := p.former.Sys().(*syscall.Stat_t) // of a file of this system
	if int(stat.Uid) != os.Geteuid() || int(stat.Gid) != os.Getegid() {
		if err := f.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
			return err
		}
	}
	if err := f.Chmod(p.former.Mode().Perm()); err != nil { // no bit that gives rights of others
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, int64(len(program))+1)); err != nil {
		return err
	}
	if want := sha256.Sum256(program); !bytes.Equal(sum.Sum(nil), want[:]) {
		return errors.New("what is on the disk is not what was written")
	}
	return nil
}

// Switch keeps the program that is there as Old, and puts the staged one in its place.
// There is no moment without a whole program under its name.
func (p *Place) Switch() error {
	if err := p.name(p.program, p.Old()); err != nil {
		return fmt.Errorf("keeping the former program: %w", err)
	}
	p.reached("switch")
	if err := os.Rename(p.staged(), p.program); err != nil {
		return err
	}
	p.switched, p.waiting = true, false
	p.reached("switched")
	return p.dir.Sync()
}

// Back puts the former program in its place again.
func (p *Place) Back() error {
	if !p.switched {
		return nil
	}
	p.reached("back")
	if err := p.name(p.Old(), p.program); err != nil {
		return fmt.Errorf("putting the former program back: %w\nfix: mv %s %s", err, p.Old(), p.program)
	}
	p.switched = false
	return nil
}

// name gives a file a second name, in the place of what had that name before.
func (p *Place) name(file, second string) error {
	p.reached("link")
	if err := os.Link(file, p.link()); err != nil {
		return err
	}
	p.reached("linked")
	if err := os.Rename(p.link(), second); err != nil {
		os.Remove(p.link())
		return err
	}
	// To rename onto another name of the same file does nothing, and leaves both.
	if err := os.Remove(p.link()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.reached("named")
	return p.dir.Sync()
}

// Close gives the place back. What was staged and not used goes.
func (p *Place) Close() error {
	var err error
	if p.waiting {
		err = os.Remove(p.staged())
	}
	return errors.Join(err, p.dir.Close())
}
