package grant

import (
	"cmp"
	"fmt"
	"path"
	"strings"
)

// Op is what is done with a path.
type Op string

// The operations. Create, remove, rename and link are about the name, within
// its own folder; the others about what stands there.
const (
	OpRead   Op = "read"
	OpWrite  Op = "write"
	OpExec   Op = "exec"
	OpList   Op = "list"
	OpCreate Op = "create"
	OpRemove Op = "remove"
	OpRename Op = "rename"
	OpLink   Op = "link" // give the file a second name beside the first
)

var ops = []Op{OpRead, OpWrite, OpExec, OpList, OpCreate, OpRemove, OpRename, OpLink}

// names says whether o changes a folder and not what stands in it.
func (o Op) names() bool {
	return o == OpCreate || o == OpRemove || o == OpRename || o == OpLink
}

// place is a part of the file system that an agent sees, from its path down to
// the next place.
type place struct {
	path   string
	rights string // of "r", "w" and "x"
	kind   placeKind
	line   string // the line of the grant, if there is one
	why    string // what else it rests on
	mount  *Mount
}

type placeKind int

const (
	open   placeKind = iota // a folder with whatever is in it
	closed                  // a folder that holds the places beneath it and nothing else
	single                  // a file or a device
	kernel                  // a folder whose names the kernel makes
)

func (p place) may(right string) bool { return strings.Contains(p.rights, right) }

const (
	ownRoot = "the root is made for the session and holds what the grant names and nothing else"
	ownEtc  = "/etc is made for the session: few generated files, and what the grant mounts there"
	ownDev  = "/dev is made for the session, with the devices that reach no hardware"
	ownProc = "/proc shows the session's own processes, read-only"
	masked  = "it tells about the whole machine, so it is masked: nothing is in it"
)

// base is what every session has. The boundary makes it; a test asks both.
var base = []place{
	{path: "/", kind: closed, why: ownRoot},
	{path: "/etc", rights: "r", kind: closed, why: ownEtc},
	{path: "/run", rights: "r", kind: closed, why: "/run is empty inside"},
	{path: "/tmp", rights: "rwx", kind: open, why: "/tmp is the session's own and not this machine's; it is gone after the session"},
	{path: "/proc", rights: "r", kind: kernel, why: ownProc},
	{path: "/dev", rights: "r", kind: closed, why: ownDev},
	{path: "/dev/shm", rights: "rw", kind: open, why: "/dev/shm is the session's own and not this machine's; it is gone after the session"},
	{path: "/dev/pts", rights: "rw", kind: kernel, why: "/dev/pts holds the session's own terminals"},
	{path: "/dev/fd", rights: "r", kind: kernel, why: ownProc},
}

// GeneratedFiles are the files that an agent has in place of this machine's.
func GeneratedFiles() []string {
	return []string{"/etc/passwd", "/etc/group", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf"}
}

var (
	devices   = []string{"null", "zero", "full", "random", "urandom", "tty", "ptmx", "stdin", "stdout", "stderr"}
	procMasks = []string{"kcore", "keys", "key-users", "kallsyms", "kmsg", "timer_list", "sched_debug", "config.gz"}
)

// places gives what a session sees, later ones before earlier ones of the same
// path.
func (g Grant) places() []place {
	out := append([]place(nil), base...)
	for _, p := range GeneratedFiles() {
		out = append(out, place{path: p, rights: "r", kind: single, why: "it is generated for the session and tells nothing about this machine"})
	}
	if g.Inspects() {
		const why = "hosts are inspected: the session's authority and the system's"
		out = append(out, place{path: TrustDir, rights: "r", kind: closed, why: why},
			place{path: Authority, rights: "r", kind: single, why: why}, place{path: Roots, rights: "r", kind: single, why: why})
	}
	for _, n := range devices {
		out = append(out, place{path: "/dev/" + n, rights: "rw", kind: single, why: ownDev})
	}
	for _, n := range procMasks {
		out = append(out, place{path: "/proc/" + n, kind: single, why: masked})
	}
	for i, m := range g.Mounts {
		p := place{path: m.Target, rights: "r", line: m.line(), mount: &g.Mounts[i]}
		if m.Write {
			p.rights += "w"
		}
		if m.Exec {
			p.rights += "x"
		}
		if m.File {
			p.kind = single
		}
		out = append(out, p)
	}
	return out
}

// at gives the place with the longest path that p is in.
func at(places []place, p string) place {
	var best place
	for _, c := range places {
		if within(p, c.path) && len(c.path) >= len(best.path) {
			best = c
		}
	}
	return best
}

// leads says whether p is a folder on the way to a place.
func leads(places []place, p string) bool {
	for _, c := range places {
		if within(c.path, p) {
			return true
		}
	}
	return false
}

func (g Grant) explainPath(m Machine, q Question) Answer {
	p := path.Clean(q.Name)
	if !path.IsAbs(p) {
		return Answer{Why: "a path must be written in full"}
	}
	places := g.places()
	here := at(places, p)
	if inside, ok := g.inside(p); ok && here.mount == nil {
		a := g.judge(q.Op, inside, at(places, inside), places)
		a.As = inside
		return a
	}
	absent := here.kind == closed && !leads(places, p) || here.kind == single && here.path != p
	if !absent {
		return g.judge(q.Op, p, here, places)
	}
	a := Answer{Why: "nothing of that name is there: " + here.why}
	if here.line != "" {
		a.Why = "nothing of that name is there: " + here.path + " is a file"
	}
	if no := cmp.Or(m.CheckPath(p), m.allowed(p, p)); no != nil {
		a.Why += "; " + no.Text
	} else if here.path == "/" && !within(p, "/workspace") && !within(p, Home) {
		a.Allow = fmt.Sprintf("nanoclaw group mount add %s %s", g.Group, p)
		if q.Op == OpWrite || q.Op.names() {
			a.Allow = fmt.Sprintf("nanoclaw group mount add %s %s:rw", g.Group, p)
		}
	}
	return a
}

// inside gives the path at which the agent has a path of the host.
func (g Grant) inside(host string) (string, bool) {
	var best *Mount
	for i, m := range g.Mounts {
		if within(host, m.Source) && (best == nil || len(m.Source) > len(best.Source)) {
			best = &g.Mounts[i]
		}
	}
	if best == nil || best.File && host != best.Source {
		return "", false
	}
	return path.Join(best.Target, strings.TrimPrefix(host, best.Source)), true
}

// judge answers for a path whose place is known.
func (g Grant) judge(op Op, p string, here place, places []place) Answer {
	if op.names() {
		return g.judgeName(op, p, here, places)
	}
	folder := here.kind == closed || here.path != p && leads(places, p)
	may := false
	switch op {
	case OpRead:
		may = here.may("r") || folder
	case OpWrite:
		may = here.may("w") && !folder
	case OpExec:
		may = here.may("x") && !folder
	case OpList:
		may = here.kind != single && (here.may("r") || folder)
	}
	a := g.say(op, here, may)
	if op == OpList && here.kind == single {
		a.Why, a.Allow = "it is a file", ""
	}
	return a
}

// judgeName answers for operations on names: the folder around decides.
func (g Grant) judgeName(op Op, p string, here place, places []place) Answer {
	if here.path == p {
		a := Answer{Line: here.line, Why: "it is there from the start of the session and can be neither replaced nor moved"}
		if here.line == "" {
			a.Why += ": " + here.why
		}
		return a
	}
	around := at(places, path.Dir(p))
	return g.say(op, around, around.kind == open && around.may("w"))
}

// say makes the answer that rests on one place.
func (g Grant) say(op Op, here place, may bool) Answer {
	a := Answer{Allowed: may, Line: here.line, Why: here.why}
	m := here.mount
	switch {
	case m == nil && !may && here.why != masked:
		a.Why = fmt.Sprintf("%s not permitted there: %s", verb(op), here.why)
	case m == nil:
	case may && m.Optional:
		a.Why = "where this machine has it"
	case !may && op == OpExec:
		a.Why = "programs cannot be run from there"
	case !may && m.Held:
		a.Why = "the agent could leave there what runs as you later; new files of that kind are moved away when the run ends"
	case !may:
		a.Why = "it is mounted read-only"
		if m.Foreign && within(m.Target, Extra) {
			a.Allow = fmt.Sprintf("nanoclaw group mount add %s %s:rw", g.Group, m.Source)
			if name := path.Base(m.Target); name != path.Base(m.Source) {
				a.Allow += " --name " + name
			}
		}
	}
	return a
}

// verb is the operation as the subject of a sentence.
func verb(op Op) string {
	return map[Op]string{
		OpRead: "reading is", OpWrite: "writing is", OpExec: "running programs is", OpList: "listing is",
		OpCreate: "creating files is", OpRemove: "removing is", OpRename: "renaming is", OpLink: "linking is",
	}[op]
}
