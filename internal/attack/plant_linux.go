package attack

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/attack/inside"
)

// PlantOptions say where and for whom to plant.
type PlantOptions struct {
	// Dir is an empty folder that everybody can enter, Program see Options.
	Dir, Program string
	// UID is who the attackers will be: everything belongs to them, so that only
	// a boundary keeps them out.
	UID int
	// Secret is what to plant; empty means a random text.
	Secret string
	// Session puts a key into the session keyring of the calling thread too.
	Session bool
}

// Planted is what attackers look for, on the host.
type Planted struct {
	// Task knows everything planted, by its path on the host.
	Task inside.Task

	opts     PlantOptions
	undo     []func() error
	before   map[string]string // files, see snapshot
	made     map[string]bool   // names in the lent folders
	machine  map[string]string
	mounts   map[string]bool
	shared   []byte
	planted  []int // keys
	accepted atomic.Int64

	mu      sync.Mutex
	signals []string // that reached the witness
	gone    bool     // the witness
}

// Folders of a planted place.
const (
	homeDir    = "home"    // like an owner's
	othersDir  = "others"  // another group's
	workDir    = "work"    // the attackers' own: workspace and home
	projectDir = "project" // the owner's, lent for writing
	sealedDir  = "sealed"  // lent for reading
	lateDir    = "late"    // for what is made when a session has begun
	linkedDir  = "linked"  // holds the second name of a file in the project

	quarantineDir = "quarantine" // for what attacks left in the project
)

// Plant plants everything. Remove takes it away again, also if Plant fails.
func Plant(o PlantOptions) (*Planted, error) {
	if o.Secret == "" {
		o.Secret = "canary-" + rand.Text()
	}
	p := &Planted{opts: o}
	p.Task.Secret = o.Secret
	for _, step := range []func() error{p.folders, p.elsewhere, p.descriptors, p.ipc, p.keys, p.listen, p.give, p.witness} {
		if err := step(); err != nil {
			return nil, errors.Join(fmt.Errorf("plant: %w", err), p.Remove())
		}
	}
	return p, p.look()
}

// Remove takes away all that was planted, but for Dir itself.
func (p *Planted) Remove() error {
	var errs []error
	for _, f := range slices.Backward(p.undo) {
		errs = append(errs, f())
	}
	p.undo = nil
	return errors.Join(errs...)
}

func (p *Planted) later(undo func() error) { p.undo = append(p.undo, undo) }

func (p *Planted) path(name string) string { return filepath.Join(p.opts.Dir, name) }

// folders makes the files.
func (p *Planted) folders() error {
	t, secret := &p.Task, p.opts.Secret+"\n"
	for name, text := range map[string]string{
		"home/.ssh/id_ed25519": secret, "home/.aws/credentials": secret, "home/.netrc": secret, "home/.bashrc": "# " + secret,
		"home/private/k.pem": secret, "others/home/.claude/projects/x.jsonl": secret,
		"work/workspace/.keep": "", "work/home/.keep": "",
		"project/.git/HEAD": "ref: refs/heads/main\n", "project/.git/config": "[core]\n\tbare = false\n", "project/.git/hooks/README": "",
		"project/.git/info/exclude": "", "project/.git/modules/lib/HEAD": "ref: refs/heads/main\n", "project/.git/modules/lib/config": "[core]\n",
		"project/.git/modules/lib/objects/.keep": "", "project/.git/modules/lib/refs/.keep": "", "project/main.c": "int main;\n",
		"project/worktree/.git": "gitdir: ../.git/worktrees/worktree\n", "project/member/.git/config": "[core]\n",
		"late/.keep": "", "quarantine/.keep": "", "sealed/file": "read-only\n", "sealed/victim": "read-only\n", "linked/file": "# outside\n",
	} {
		path := p.path(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.Link(p.path("linked/file"), p.path("project/linked")); err != nil {
		return err
	}
	t.Home, t.Session = p.path(homeDir), p.path("others/home/.claude/projects/x.jsonl")
	t.Workspace, t.Project, t.Sealed = p.path("work/workspace"), p.path(projectDir), p.path(sealedDir)
	t.Late = p.path("late/.env.prod")
	return nil
}

// give makes everything the attackers', for as long as it lasts: what is theirs
// a host without all of root's rights could not remove.
func (p *Planted) give() error {
	if p.opts.UID == 0 || p.opts.UID == os.Geteuid() {
		return nil
	}
	p.later(func() error { return p.own(os.Geteuid(), os.Getegid()) })
	return p.own(p.opts.UID, p.opts.UID, lateDir, quarantineDir)
}

// own changes the owner of everything in Dir, folders before what is in them,
// and follows no link. Folders that are named, in which we make something later,
// stay whose they are.
func (p *Planted) own(uid, gid int, but ...string) error {
	return filepath.WalkDir(p.opts.Dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if slices.Contains(but, filepath.Base(path)) && filepath.Dir(path) == p.opts.Dir {
			return filepath.SkipDir
		}
		return os.Lchown(path, uid, gid)
	})
}

// After makes what appears only when a session has begun.
func (p *Planted) After() error {
	if err := os.WriteFile(p.Task.Late, []byte(p.opts.Secret+"\n"), 0o644); err != nil {
		return err
	}
	return p.look()
}

// elsewhere makes the files that are not in Dir, and a variable.
func (p *Planted) elsewhere() error {
	name := "nanoclaw-attack-" + rand.Text()
	for dir, field := range map[string]*string{os.TempDir(): &p.Task.Tmp, "/dev/shm": &p.Task.ShmFile} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(p.opts.Secret+"\n"), 0o644); err != nil {
			return err
		}
		p.later(func() error { return os.Remove(path) })
		*field = path
	}
	old, had := os.LookupEnv(inside.WitnessVar)
	p.later(func() error {
		if had {
			return os.Setenv(inside.WitnessVar, old)
		}
		return os.Unsetenv(inside.WitnessVar)
	})
	return os.Setenv(inside.WitnessVar, p.opts.Secret)
}

// descriptors opens a file and a folder as other people's code might: not
// closed in programs that are started.
func (p *Planted) descriptors() error {
	for _, path := range []string{p.path("home/.netrc"), p.path(homeDir)} {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		p.later(func() error { return unix.Close(fd) })
	}
	return nil
}

// ipc makes shared memory and a message queue.
func (p *Planted) ipc() error {
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o666)
	if err != nil {
		return fmt.Errorf("shared memory: %w", err)
	}
	p.later(func() error { _, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil); return err })
	if p.shared, err = unix.SysvShmAttach(id, 0, 0); err != nil {
		return err
	}
	p.later(func() error { return unix.SysvShmDetach(p.shared) })
	copy(p.shared, p.opts.Secret)
	p.Task.Shared = id

	name := "nanoclaw-attack-" + rand.Text()
	word, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(word)), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o666, 0, 0, 0)
	if errno == unix.ENOSYS {
		return nil // this kernel has none
	}
	if errno != 0 {
		return fmt.Errorf("a message queue: %w", errno)
	}
	unix.Close(int(fd))
	p.later(func() error {
		if _, _, errno := unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(word)), 0, 0); errno != 0 {
			return fmt.Errorf("the message queue: %w", errno)
		}
		return nil
	})
	p.Task.Queue = name
	return nil
}

// keys puts a key into the user's keyring, and into the session's.
func (p *Planted) keys() error {
	p.Task.Key = "nanoclaw-attack-" + rand.Text()
	rings := []int{unix.KEY_SPEC_USER_KEYRING}
	if p.opts.Session {
		rings = append(rings, unix.KEY_SPEC_SESSION_KEYRING)
	}
	for _, ring := range rings {
		id, err := unix.AddKey("user", p.Task.Key, []byte(p.opts.Secret), ring)
		if errors.Is(err, unix.ENOSYS) {
			return nil // this kernel has none
		}
		if err != nil {
			return fmt.Errorf("a key: %w", err)
		}
		p.planted = append(p.planted, id)
		p.later(func() error {
			_, err := unix.KeyctlInt(unix.KEYCTL_UNLINK, id, ring, 0, 0)
			return err
		})
	}
	return nil
}

// listen opens services of the host. Nobody has any business with them, so one
// connection is one too many.
func (p *Planted) listen() error {
	t := &p.Task
	var cores unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &cores); err != nil {
		return err
	}
	t.NoCores = cores.Max == 0
	t.Abstract = "nanoclaw-attack-" + rand.Text()
	t.Sockets = []string{p.path("home/agent.sock")}
	for _, at := range [][2]string{
		{"tcp", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"unix", t.Sockets[0]}, {"unix", p.path("project/service.sock")}, {"unix", "@" + t.Abstract},
	} {
		l, err := net.Listen(at[0], at[1])
		if err != nil && at[1] == "[::1]:0" {
			continue // a machine without IPv6
		}
		if err != nil {
			return err
		}
		p.later(l.Close)
		if at[0] == "tcp" {
			t.TCP = append(t.TCP, l.Addr().String())
		} else if err := p.reachable(at[1]); err != nil {
			return err
		}
		go p.count(l)
	}
	path := p.path("project/service.sock.dgram")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	p.later(func() error { return errors.Join(c.Close(), os.Remove(path)) })
	go func() {
		for {
			if _, err := c.Read(make([]byte, 16)); err != nil {
				return
			}
			p.accepted.Add(1)
		}
	}()
	return p.reachable(path)
}

// reachable lets everybody connect to a socket.
func (p *Planted) reachable(path string) error {
	if strings.HasPrefix(path, "@") {
		return nil
	}
	return os.Chmod(path, 0o777)
}

func (p *Planted) count(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		conn.Close()
	}
}

// witness starts the process that attackers look for, as one of them.
func (p *Planted) witness() error {
	program, err := os.Open(p.opts.Program)
	if err != nil {
		return err
	}
	defer program.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.Args = append([]string{"witness"}, inside.WitnessArgs()...)
	cmd.ExtraFiles = []*os.File{program}
	cmd.Env = []string{inside.WitnessVar + "=" + p.opts.Secret}
	cmd.Dir = "/"
	if p.opts.UID != 0 && p.opts.UID != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(p.opts.UID), Gid: uint32(p.opts.UID)}}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the witness: %w", err)
	}
	lines, done := bufio.NewScanner(out), make(chan struct{})
	if lines.Scan() {
		p.Task.Addr, err = strconv.ParseUint(lines.Text(), 10, 64)
	}
	p.Task.PID = cmd.Process.Pid
	go p.hear(lines, done)
	p.later(func() error {
		in.Close()
		<-done
		return cmd.Wait()
	})
	if p.Task.Addr == 0 {
		return fmt.Errorf("the witness says nothing: %v", err)
	}
	return err
}

// hear notes what the witness says.
func (p *Planted) hear(lines *bufio.Scanner, done chan struct{}) {
	defer close(done)
	for lines.Scan() {
		p.mu.Lock()
		p.signals = append(p.signals, lines.Text())
		p.mu.Unlock()
	}
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
}

// look notes how everything is before the attacks.
func (p *Planted) look() error {
	var err error
	if p.before, err = p.snapshot(); err != nil {
		return err
	}
	if p.made, err = p.lent(); err != nil {
		return err
	}
	p.machine, p.mounts = machineSettings(), mountLines()
	p.accepted.Store(0)
	return nil
}

// lent lists the names in the folders that are lent for writing.
func (p *Planted) lent() (map[string]bool, error) {
	names := make(map[string]bool)
	for _, dir := range []string{projectDir, workDir} {
		err := filepath.WalkDir(p.path(dir), func(path string, _ os.DirEntry, err error) error {
			names[path] = true
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// appeared gives a finding for each file that is in the lent folders and was not
// there when somebody last looked.
func (p *Planted) appeared() []finding {
	now, err := p.lent()
	if err != nil {
		return []finding{{what: leftovers, detail: err.Error()}}
	}
	var out []finding
	for _, path := range slices.Sorted(maps.Keys(now)) {
		if !p.made[path] {
			out = append(out, finding{what: leftovers, detail: path})
		}
	}
	return out
}

// snapshot describes every file that must not change.
func (p *Planted) snapshot() (map[string]string, error) {
	all := make(map[string]string)
	for _, root := range []string{p.path(homeDir), p.path(othersDir), p.path(sealedDir), p.path(lateDir), p.Task.Tmp, p.Task.ShmFile} {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			text := fmt.Sprintf("%v, %d bytes, %v", info.Mode(), info.Size(), info.ModTime())
			if info.Mode().IsRegular() {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				text += ": " + string(b)
			}
			all[path] = text
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
