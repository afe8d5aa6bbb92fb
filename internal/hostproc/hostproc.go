// Package hostproc starts programs of the host: a fixed list of them, for a
// fixed purpose: to be asked for their version, or for an act of the owner's on the
// service (manage.go). Beside internal/boundary it is the only package of the host
// side that starts a process at all, and the two never do each other's work.
//
// What is promised: a program is one of Known, or that of an Act, found in a folder that only root
// can change, started with arguments written down here, with an environment
// written down here, without standard input, for a bounded time, with bounded
// output. Nothing that an agent, a chat or a file of a group says can reach a
// program from here, because no function takes such a value. One program more is
// started, with the owner's own rights: NanoClaw itself in another version, for an
// upgrade (Self).
//
// What is left to others: what the answers mean (internal/doctor), and
// everything that is done on behalf of an agent (internal/boundary).
package hostproc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Program names one host program.
type Program string

// The programs, each an engine that could enforce a grant.
const (
	Bubblewrap     Program = "bubblewrap"
	SandboxRuntime Program = "srt"
	Docker         Program = "docker"
	Podman         Program = "podman"
	AppleContainer Program = "apple-container"
)

// Known lists the programs in the order in which they are reported.
func Known() []Program {
	return []Program{Bubblewrap, Podman, Docker, AppleContainer, SandboxRuntime}
}

// command gives the file name of a program and the arguments that make it
// print its version without doing anything else: no daemon is asked, no
// storage opened. srt is never started through npx, which would download it.
func command(p Program) (name string, args []string, ok bool) {
	version := []string{"--version"}
	switch p {
	case Bubblewrap:
		return "bwrap", version, true
	case Podman:
		return "podman", version, true
	case Docker:
		return "docker", version, true
	case AppleContainer:
		return "container", version, true
	case SandboxRuntime:
		return "srt", version, true
	}
	return "", nil, false
}

// Bounds of one start.
const (
	timeout    = 5 * time.Second
	killDelay  = 500 * time.Millisecond
	maxOutput  = 4 << 10
	maxVersion = 120
)

// directories is where programs are looked for. The PATH of whoever started us
// is not asked: it may lead to folders that an agent can write.
var directories = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// environment is all that a program gets. A HOME that does not exist keeps it
// from reading the owner's settings, which could make it run other programs.
var environment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/nonexistent",
	"LANG=C.UTF-8",
}

// Found is what was learnt of one program.
type Found struct {
	Program Program `json:"program"`
	// Path is where it is, "" if it is not installed.
	Path string `json:"path,omitempty"`
	// Version is the first line that it printed, cut and freed of everything
	// that is not printable ASCII.
	Version string `json:"version,omitempty"`
	// Problem says why a program that is there cannot be used.
	Problem string `json:"problem,omitempty"`
}

// Look finds every known program and asks each for its version, all at the
// same time. It takes no longer than the slowest may take.
func Look(ctx context.Context) []Found {
	return look(ctx, directories)
}

// Locate finds one known program and asks it for its version. A program that is
// not installed has no Path; one with a Problem is not to be started.
func Locate(ctx context.Context, p Program) Found {
	return ask(ctx, p, directories)
}

// Installed says whether a known program is there, and asks it nothing.
func Installed(p Program) bool {
	name, _, ok := command(p)
	if !ok {
		return false
	}
	path, err := find(name, directories)
	return err == nil && path != ""
}

func look(ctx context.Context, dirs []string) []Found {
	known := Known()
	found := make([]Found, len(known))
	var wg sync.WaitGroup
	for i, p := range known {
		wg.Go(func() { found[i] = ask(ctx, p, dirs) })
	}
	wg.Wait()
	return found
}

// ask finds one program and runs it for its version.
func ask(ctx context.Context, p Program, dirs []string) Found {
	found := Found{Program: p}
	name, args, ok := command(p)
	if !ok {
		found.Problem = fmt.Sprintf("%q is not a program that may be started", p)
		return found
	}
	path, err := find(name, dirs)
	if err != nil {
		found.Problem = err.Error()
		return found
	}
	if path == "" {
		return found
	}
	found.Path = path
	out, err := run(ctx, path, name, args)
	if err != nil {
		found.Problem = err.Error()
		return found
	}
	found.Version = firstLine(out)
	return found
}

// find gives the file behind the first entry called name, with no symbolic
// link left in its path. It is "" if there is none. A program that somebody
// other than root could change is an error: whoever may replace it would run
// with our rights.
func find(name string, dirs []string) (string, error) {
	for _, dir := range dirs {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("cannot follow %s: %w", filepath.Join(dir, name), err)
		}
		return path, trust(path)
	}
	return "", nil
}

// trust checks that only root can change a file or replace it, by walking from
// it to the root. The path holds no symbolic link.
func trust(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is not a program", path)
	}
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok || stat.Uid != 0 {
			return fmt.Errorf("%s is not started: %s does not belong to root", path, at)
		}
		if writable(info, stat) {
			return fmt.Errorf("%s is not started: others than root can change %s", path, at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// writable says that others than root may change it. The sticky bit does not
// excuse a folder: new names can still be made in it, and a program looks for
// its libraries and settings beside itself.
func writable(info fs.FileInfo, stat *syscall.Stat_t) bool {
	perm := info.Mode().Perm()
	return perm&0o002 != 0 || perm&0o020 != 0 && stat.Gid != 0
}

// run starts a trusted program and gives what it printed. The program gets a
// process group of its own, so that ending it ends its children too.
func run(ctx context.Context, path, name string, args []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Args[0] = name
	cmd.Dir = "/"
	cmd.Env = environment
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killDelay
	out := &bounded{limit: maxOutput}
	cmd.Stdout = out
	cmd.Stderr = out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s did not answer in time", path, strings.Join(args, " "))
		}
		if said := firstLine(out.kept); said != "" {
			return nil, fmt.Errorf("%s %s: %w: %s", path, strings.Join(args, " "), err, said)
		}
		return nil, fmt.Errorf("%s %s: %w", path, strings.Join(args, " "), err)
	}
	return out.kept, nil
}

// bounded keeps the beginning of what is written to it and drops the rest, so
// that a flood costs its writer and not us.
// The buffer is not embedded: its ReadFrom would be found and would take
// everything.
type bounded struct {
	kept  []byte
	limit int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), b.limit-len(b.kept))]...)
	return len(p), nil
}

// firstLine gives the first line that is not empty, fit to be shown anywhere.
func firstLine(out []byte) string {
	for line := range strings.Lines(string(out)) {
		line = strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1
			}
			return r
		}, line)
		if line = strings.TrimSpace(line); line != "" {
			return line[:min(len(line), maxVersion)]
		}
	}
	return ""
}
