package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Trust model. The file decides what agents may touch and can hold
// credentials, so whoever can change it, or put another in its place, owns the
// machine's agents. We trust root and the user we run as, and nobody else: not
// other users, not members of a shared group, not an agent (which has a uid of
// its own, or cannot see these paths).
//
// A path is walked from the root. Each folder must belong to one of the two
// and be writable by nobody else, so that when a name has been looked at,
// nobody else can change what it stands for. That makes the walk free of races
// against everybody who is not trusted anyway. Symbolic links are followed for
// folders, as part of the walk; the last element, the file, must not be one.

// insecureError is a refusal because of who could change something. Its text
// ends with the fix.
type insecureError struct{ path, why, fix string }

func (e *insecureError) Error() string {
	return fmt.Sprintf("%s %s, so what stands there cannot be trusted\nfix: %s", e.path, e.why, e.fix)
}

// What the mode of a file must not have: anything for others, or, in a folder that
// others cannot enter, writing by everybody.
const (
	private fs.FileMode = 0o077
	public  fs.FileMode = 0o002
)

// openTrusted opens the file if only root and uid can have written it, and
// only they can read it. The descriptor is the file that was checked.
func openTrusted(file string, uid int) (*os.File, fs.FileInfo, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, nil, err
	}
	dir, err := walk(filepath.Dir(abs), uid, nil)
	if err != nil {
		return nil, nil, err
	}
	real := filepath.Join(dir, filepath.Base(abs))
	// NONBLOCK, so that a pipe put in its place cannot hold us up.
	f, err := os.OpenFile(real, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK):
		return nil, nil, fmt.Errorf("%s is a symbolic link\nfix: put the file itself in its place", file)
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, fmt.Errorf("%s cannot be read by uid %d\nfix: sudo chown %d %s", file, uid, uid, shellQuote(file))
	case err != nil:
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = checkFile(file, info, uid, private)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// checkFile looks at the file itself, by its descriptor. A second name of it may
// lie in a folder that an agent can write to, so there must be none.
func checkFile(file string, info fs.FileInfo, uid int, deny fs.FileMode) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file\nfix: move it away; nanoclaw then writes a new one", file)
	}
	if owner := ownerOf(info); owner != 0 && owner != uid {
		return &insecureError{file, fmt.Sprintf("belongs to uid %d", owner), fmt.Sprintf("sudo chown %d %s", uid, shellQuote(file))}
	}
	if n := linksOf(info); n > 1 {
		return &insecureError{file, fmt.Sprintf("has %d names (hard links), and who can write to another one changes this one too", n),
			fmt.Sprintf("cp -p %s %[1]s.own && mv %[1]s.own %[1]s", shellQuote(file))}
	}
	switch perm := info.Mode().Perm(); {
	case perm&deny == 0:
		return nil
	case deny == private:
		return &insecureError{file, fmt.Sprintf("can be read or changed by others (mode %04o)", perm), "chmod 600 " + shellQuote(file)}
	default:
		return &insecureError{file, fmt.Sprintf("can be changed by everybody (mode %04o)", perm), "chmod o-w " + shellQuote(file)}
	}
}

// checkDir looks at one folder on the way.
func checkDir(dir string, info fs.FileInfo, uid int) error {
	if owner := ownerOf(info); owner != 0 && owner != uid {
		return &insecureError{dir, fmt.Sprintf("belongs to uid %d", owner),
			fmt.Sprintf("sudo chown %d %s, or choose another place with NANOCLAW_HOME", uid, shellQuote(dir))}
	}
	// In a sticky folder such as /tmp others can add names, but not touch ours;
	// whose the next name is, is checked next.
	if info.Mode()&fs.ModeSticky != 0 {
		return nil
	}
	switch perm := info.Mode().Perm(); {
	case perm&0o002 != 0:
		return &insecureError{dir, fmt.Sprintf("can be changed by everybody (mode %04o)", perm), "chmod o-w " + shellQuote(dir)}
	case perm&0o020 != 0 && groupOf(info) != 0:
		return &insecureError{dir, fmt.Sprintf("can be changed by group %d (mode %04o)", groupOf(info), perm), "chmod g-w " + shellQuote(dir)}
	}
	return nil
}

// walk checks every folder from the root to dir and gives dir without symbolic
// links. For a folder that does not exist it calls missing, which may make it;
// nil means that this is an error.
func walk(dir string, uid int, missing func(string) error) (string, error) {
	const maxLinks = 40 // as the kernel
	real, rest, links := "/", elements(dir), 0
	for {
		info, err := os.Lstat(real)
		if errors.Is(err, fs.ErrNotExist) && missing != nil {
			if err = missing(real); err == nil {
				info, err = os.Lstat(real)
			}
		}
		if err != nil {
			return "", err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if owner := ownerOf(info); owner != 0 && owner != uid {
				return "", &insecureError{real, fmt.Sprintf("is a symbolic link of uid %d", owner), "rm " + shellQuote(real)}
			}
			target, err := os.Readlink(real)
			if err != nil {
				return "", err
			}
			if links++; links > maxLinks {
				return "", fmt.Errorf("%s: too many symbolic links", dir)
			}
			real = filepath.Dir(real)
			if filepath.IsAbs(target) {
				real = "/"
			}
			rest = append(elements(target), rest...)
		case !info.IsDir():
			return "", fmt.Errorf("%s is not a folder\nfix: move it away", real)
		default:
			if err := checkDir(real, info, uid); err != nil {
				return "", err
			}
		}
		if len(rest) == 0 {
			return real, nil
		}
		real, rest = filepath.Join(real, rest[0]), rest[1:]
	}
}

// elements splits a path. ".." stays, and walk's Join resolves it against a
// path that has no links left.
func elements(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == filepath.Separator })
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
func groupOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Gid) }

// linksOf is how many names the file has. The type differs between systems.
func linksOf(info fs.FileInfo) uint64 { return uint64(info.Sys().(*syscall.Stat_t).Nlink) }

// shellQuote writes a path so that the fix can be pasted into a shell.
func shellQuote(p string) string {
	if strings.ContainsFunc(p, func(r rune) bool {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@%", r)
		return !plain
	}) {
		return "'" + strings.ReplaceAll(p, "'", `'\''`) + "'"
	}
	return p
}
