// Package inside is the attacker: the half of the attack catalogue that runs
// within a boundary, as an ordinary process of the agent, and tries to get out.
//
// It promises to do nothing anywhere else. Before it reads its task it looks at
// its own user, mount and PID namespaces, and if one of them is that of whoever
// launched it, or if nobody said which those are, it refuses (Main). What could
// harm a machine even in namespaces is marked, and such an attempt is only made
// within a boundary, never by the control arm that shows that the others work.
// Where asking is as good as doing, it only asks: files of the kernel are opened
// and not written, and calls that would change the machine get arguments that
// the kernel refuses once it has looked at the caller's rights.
//
// What each attempt is for, what must come of it, and what the host looks at
// afterwards is for package attack to say. It is also the one that makes the
// boundary, and plants what is looked for.
package inside

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Verb is the argument by which a program is asked to be the attacker. What
// follows it is for Main.
const Verb = "attack-inside"

// OutsideVar names the launcher's own namespaces as KIND=LINK, separated by
// spaces, as /proc/self/ns shows them there.
const OutsideVar = "NANOCLAW_ATTACK_OUTSIDE"

// Exit codes of Main.
const (
	exitFailed  = 1
	exitRefused = 2
)

// Task is what to try, and what the host planted to be found.
type Task struct {
	// Lines are the lines of the catalogue, such as "F-01".
	Lines []string `json:"lines"`
	// Control says that there is no boundary: attempts that do harm, or that
	// nothing but a real machine lets succeed, are left out.
	Control bool `json:"control,omitempty"`

	// Secret is a text that is in everything that must not be seen.
	Secret string `json:"secret"`
	// Home is a folder of the host like an owner's home, outside every grant.
	Home string `json:"home"`
	// Tmp is a file in the host's folder for temporary files, Late one that was
	// made after the session had begun, Session one of another group.
	Tmp     string `json:"tmp"`
	Late    string `json:"late"`
	Session string `json:"session"`

	// Workspace and Project are writable: the group's own folder, and one of the
	// owner's with a git repository. Sealed is read-only. The paths are those
	// inside.
	Workspace string `json:"workspace"`
	Project   string `json:"project"`
	Sealed    string `json:"sealed"`
	// NoCores says that the host itself may have no limit on cores above 0. Sessions
	// have 0 then, and start only where no handler is started for that (boundary).
	NoCores bool `json:"no_cores"`
	// Mount is a read-only mount point, Mask one that hides something.
	Mount string `json:"mount"`
	Mask  string `json:"mask"`

	// PID is a process of the host of our own uid, whose memory holds Secret at
	// Addr.
	PID  int    `json:"pid"`
	Addr uint64 `json:"addr"`
	// TCP are listeners on the host's loopback, Sockets paths of Unix sockets of
	// the host, Abstract the name of one that has no path.
	TCP      []string `json:"tcp"`
	Sockets  []string `json:"sockets"`
	Abstract string   `json:"abstract"`
	// Shared is a System V segment, Queue a POSIX message queue, ShmFile a file
	// in /dev/shm, Key the description of a key.
	Shared  int    `json:"shared"`
	Queue   string `json:"queue"`
	ShmFile string `json:"shm_file"`
	Key     string `json:"key"`

	// Limits that the session has.
	Processes int   `json:"processes"`
	OpenFiles int   `json:"open_files"`
	FileSize  int64 `json:"file_size"`
	TmpSize   int64 `json:"tmp_size"`
	Memory    int64 `json:"memory"`
	Disk      int64 `json:"disk"`
}

// Result is what came of one attempt.
type Result struct {
	Line string `json:"line"`
	Name string `json:"name"`
	// Broke says that the attempt succeeded.
	Broke bool `json:"broke"`
	// Detail is what it got hold of, or the refusal.
	Detail string `json:"detail"`
	// Path is the file that it leaves in the project, to be run later.
	Path string `json:"path,omitempty"`
	// Left says why the control arm leaves it out, "" if it was made.
	Left string `json:"left,omitempty"`
}

// Attempts gives the names of the attempts of each line, in order.
func Attempts() map[string][]string {
	names := make(map[string][]string)
	for _, a := range attempts() {
		names[a.line] = append(names[a.line], a.name)
	}
	return names
}

// attempt is one thing to try for a line.
type attempt struct {
	line, name string
	path       string // see Result.Path
	// left says why the control arm leaves it out, "" if it does not.
	left string
	// do gives what it got hold of, or the refusal.
	do func(*attacker) (got string, err error)
}

// refused is the refusal of what gives no error by itself.
type refused string

func (e refused) Error() string { return string(e) }

// Main is the attacker's program, given what follows Verb. The task comes as
// JSON on standard input, results go as JSON lines to standard output. It gives
// the exit code.
func Main(args []string) int {
	before := descriptors()
	if len(args) > 0 && args[0] == witnessArg {
		return witness() // it attacks nothing
	}
	if err := Confined(os.Getenv(OutsideVar)); err != nil {
		fmt.Fprintln(os.Stderr, "the attacks refuse to run:", err)
		return exitRefused
	}
	if len(args) > 0 {
		return child(args)
	}
	a := &attacker{fds: before}
	task, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(task, &a.Task)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the task of the attacks:", err)
		return exitFailed
	}
	signal.Ignore(syscall.SIGXFSZ) // a file at its limit gives an error instead
	if err := a.run(json.NewEncoder(os.Stdout)); err != nil {
		return exitFailed
	}
	return 0
}

// attacker is one run of a task.
type attacker struct {
	Task
	fds []int // open at the start, beyond the standard three
}

// run makes the attempts of the task's lines. Each result is out before the
// next attempt begins, so that one that ends us costs only what follows.
func (a *attacker) run(out *json.Encoder) error {
	want := make(map[string]bool)
	for _, line := range a.Lines {
		want[line] = true
	}
	for _, t := range attempts() {
		if !want[t.line] {
			continue
		}
		r := Result{Line: t.line, Name: t.name, Path: t.path}
		if a.Control && t.left != "" {
			r.Left = t.left
		} else {
			r.Broke, r.Detail = outcome(t.do(a))
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func outcome(got string, err error) (broke bool, detail string) {
	detail = got
	if err != nil {
		detail = err.Error()
	}
	if len(detail) > 200 {
		detail = detail[:200]
	}
	return err == nil, detail
}

// Confined fails unless this process is in user, mount and PID namespaces that
// are not those of its launcher.
func Confined(outside string) error {
	seen := make(map[string]bool)
	for _, pair := range strings.Fields(outside) {
		kind, theirs, _ := strings.Cut(pair, "=")
		own, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return err
		}
		if own == theirs {
			return fmt.Errorf("their %s namespace is the launcher's", kind)
		}
		seen[kind] = theirs != ""
	}
	if !seen["user"] || !seen["mnt"] || !seen["pid"] {
		return fmt.Errorf("nobody said which namespaces are the launcher's")
	}
	return nil
}

// Outside gives OutsideVar for a process that is to be launched, as NAME=VALUE.
func Outside() (string, error) {
	var list []string
	for _, kind := range []string{"user", "mnt", "pid"} {
		link, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return "", fmt.Errorf("read our namespaces: %w", err)
		}
		list = append(list, kind+"="+link)
	}
	return OutsideVar + "=" + strings.Join(list, " "), nil
}
