package boundary

import (
	"slices"
	"strings"

	"nanoclaw/internal/grant"
)

// Difference is a point in which an engine does not do what the grant says, for
// a reason that it cannot avoid. Tests ask the grant and each engine the same
// questions; what differs stands here or is a fault.
type Difference struct {
	Engine string
	// About are the questions it is about, as people write them: OP:PATH with "*"
	// for every OP, and "/..." for a folder with all in it; host:PORT; call:NAME,
	// with "*" for every system call. Without any it is about what no grant says.
	About []string
	Why   string
	// Unprivileged says that it is so only where the daemon is not root.
	Unprivileged bool
	// Privileged says that it is so only where the daemon is root.
	Privileged bool
	// Name is a short name of what is no question, and stands in its place: a test
	// of that name asks it of a live session.
	Name string
	// More says that the engine permits what the grant does not name. Without it
	// the engine permits less.
	More bool
}

// Differences are those of one engine.
func Differences(engine string) []Difference {
	var out []Difference
	for _, d := range slices.Concat(allDifferences, srtDifferences[:], containerDifferences) {
		// bubblewrap's sessions end in the same init, with the same /proc.
		if d.Engine == engine || d.Engine == NativeEngine && engine == BubblewrapEngine {
			out = append(out, d)
		}
	}
	return out
}

// Holds says whether it is so for a daemon of a uid.
func (d Difference) Holds(uid int) bool {
	return !(d.Unprivileged && uid == 0 || d.Privileged && uid != 0)
}

// Covers says whether a question is among those that d is about.
func (d Difference) Covers(q grant.Question) bool {
	return slices.ContainsFunc(d.About, func(about string) bool { return matchQuestion(about, q) })
}

func matchQuestion(about string, q grant.Question) bool {
	if about == q.String() {
		return true
	}
	op, name, _ := strings.Cut(about, ":")
	switch q.Kind {
	case grant.AboutPath:
		if op != "*" && op != string(q.Op) || !strings.HasPrefix(name, "/") {
			return false
		}
		dir, all := strings.CutSuffix(name, "/...")
		return name == q.Name || all && (q.Name == dir || strings.HasPrefix(q.Name, dir+"/"))
	case grant.AboutCall:
		call, _, _ := strings.Cut(q.Name, "(")
		return op == "call" && (name == "*" || name == call)
	}
	return false
}

// allDifferences is the one list of them all. doctor prints it.
var allDifferences = []Difference{
	{Engine: NativeEngine, About: []string{"read:/proc/1/environ", "read:/proc/1/mem"},
		Why: "process 1 is the init, which is in /proc and lets nobody look"},
	{Engine: NativeEngine, About: []string{"exec:/proc/self/exe"}, More: true,
		Why: "the kernel's link leads to the program that runs, which the grant lets run where it lies"},
	{Engine: NativeEngine, About: []string{
		"read:/proc/kcore", "write:/proc/kcore", "read:/proc/keys", "write:/proc/keys", "read:/proc/kallsyms", "write:/proc/kallsyms",
		"read:/proc/timer_list", "write:/proc/timer_list", "read:/proc/config.gz", "write:/proc/config.gz",
	}, More: true, Why: "what masks it is /dev/null: it opens, nothing is in it and nothing stays in it"},

	{Engine: BubblewrapEngine, Name: "sizes",
		Why: "bwrap makes one file system for each: /tmp has three quarters of the size that native lets it share with /dev/shm, and /dev/shm the rest"},
	{Engine: BubblewrapEngine, Name: "inotify", Unprivileged: true, More: true,
		Why: "what a session may watch with inotify is not bounded: nobody has the right to set it in bwrap's user namespace, so a session can take what the user it runs as may have"},
	{Engine: BubblewrapEngine, Name: "loader", Unprivileged: true, More: true,
		Why: "bwrap makes no mount noexec: Landlock refuses to run a file there, but the dynamic loader may be told to load it, as it may load a copy of it in /tmp"},
	{Engine: BubblewrapEngine, Name: "late link", Unprivileged: true, More: true,
		Why: "a link that is put in the place of a mount within a writable mount, while bwrap starts, leads bwrap to make an empty folder where the link leads; then the session is refused"},

	{Engine: SeatbeltEngine, About: []string{"*:/proc/...", "*:/dev/shm/..."},
		Why: "macOS has no /proc and no /dev/shm"},
	{Engine: SeatbeltEngine, About: []string{"*:/dev", "*:/dev/pts"},
		Why: "/dev is the machine's own: it can be passed through and not listed, and of terminals there is the session's alone"},
	{Engine: SeatbeltEngine, About: []string{"read:/etc", "list:/etc", "read:/run", "list:/run", "*:/workspace", "*:/workspace/extra", "*:/home"},
		Why: "there is no root of the session's own: what leads to a granted folder is the machine's own folder, and can be passed through and not listed; only / can be"},
	{Engine: SeatbeltEngine, About: []string{
		"read:/etc/passwd", "read:/etc/group", "read:/etc/hosts", "read:/etc/hostname", "read:/etc/resolv.conf", "read:/etc/nsswitch.conf", "read:/etc/host.conf",
	}, Why: "no files are generated: users are looked up by a service of macOS, and the machine's own files stay closed"},
	{Engine: SeatbeltEngine, About: []string{"link:/..."},
		Why: "hard links are refused everywhere: which of its two paths macOS judges by could not be tried, and through a second name a closed file could be read"},
	{Engine: SeatbeltEngine, About: []string{"[::1]:3128", "[::1]:8480", "[::1]:8481"}, More: true,
		Why: "Seatbelt's localhost is 127.0.0.1 and ::1 alike; what listens at ::1 on a session's port by chance can be reached"},
	{Engine: SeatbeltEngine, About: []string{"call:*"},
		Why: "Seatbelt judges what is done and not by which system call: calls that only Linux has do not exist, and of others the arguments are not looked into"},
}
