package nanoclaw_test

import (
	"go/ast"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A rung says which packages of ours a package may import, and why no more.
type rung struct {
	pkg    string
	may    string // names below internal, in words
	reason string
}

// ladder is the order of the packages: an import may only point to a row
// further up. A test reads the table, so a new package needs a row here.
var ladder = []rung{
	{"privilege", "", "says what this process may do, and does nothing"},
	{"steps", "", "names of what is durable, for a test build that is killed there; in what we ship nothing"},
	{"chat", "", "words of the domain; everybody speaks them, so they know nobody"},
	{"wire", "", "all that the two sides of the boundary share; the untrusted side links it"},
	{"authority", "chat", "one table: who may do what, wherever they ask; it reads and does nothing"},
	{"config", "chat", "the owner's file and nothing of what is made of it"},
	{"watch", "", "judges a tool call; who makes it and who is asked is for others"},

	{"credential", "config", "keeps what was stored; whether it is good, and where it is sent, is decided elsewhere"},
	{"sbpl", "", "the language of Seatbelt, whoever writes in it"},
	{"beneath", "", "opens what lies in an agent's folder; it asks nobody what that means"},
	{"delayed", "beneath privilege", "finds files that run code later, in any folder and whatever grants it"},
	{"filewatch", "", "says that something happened to a file; what it means is for whoever looks"},
	{"qr", "", "pure: a text as a picture"},
	{"touched", "beneath", "finds what changed in a folder, whoever changed it and whoever asks"},

	{"confine", "wire", "runs inside the boundary; whatever it linked would be inside too"},
	{"grant", "chat config watch", "pure: a decision made of values"},
	{"audit", "chat steps", "must be able to record anything, so it depends on no stage"},

	{"agent/scripted", "", "a model whose words are written beforehand; who asks it, and why, is for others"},
	{"schedule", "", "pure: when something is due; what is done then is for others"},
	{"task", "chat schedule steps", "what is due becomes a message; what it may touch is decided elsewhere"},
	{"plan", "chat config grant", "pure: what two configurations grant, compared, in words"},
	{"why", "audit chat grant", "tells what was recorded; it reads no store, so that a receipt tells the same"},
	{"approval", "audit authority chat steps", "asks the owner about any effect, whoever wants it and wherever it is shown"},
	{"attest", "grant wire", "a finding and what it depends on, whoever tried and wherever it is kept"},
	{"seatbelt", "grant sbpl wire", "a grant in the words of macOS; it starts nothing"},
	{"hostproc", "", "the fixed host programs; agent data must not even be expressible here"},
	{"service", "config hostproc", "keeps nanoclaw running by what the machine has for that; what runs is for others"},
	{"egress", "chat config credential grant wire", "hosts and credentials, whoever started the session"},
	{"boundary", "beneath chat confine grant hostproc seatbelt wire", "enforces a grant and knows nothing of messages"},
	{"queue", "chat steps", "what runs next, not how"},
	{"channel", "chat", "a seam to networks; what becomes of a message is not its matter"},
	{"channel/console", "channel chat", "an adapter; it knows its own network alone"},
	{"channel/chaosnet", "channel chat", "an adapter, of a network that a test plays"},
	{"channel/supervise", "channel", "keeps a connection, whatever goes over it"},
	{"markup", "channel chat", "pure: a text in the form of a network"},
	{"channel/pace", "channel/supervise", "waits for a network's limits, whatever is asked of it"},
	{"channel/live", "channel chat markup", "what a run does, shown in a chat; how, the adapter says"},
	{"channel/sent", "", "what of a message went out, on whatever network"},
	{"channel/slack", "channel channel/live channel/pace channel/supervise chat markup", "an adapter; it knows its own network alone"},
	{"channel/discord", "channel channel/live channel/pace channel/sent channel/supervise chat markup", "an adapter; it knows its own network alone"},
	{"channel/telegram", "channel channel/live channel/pace channel/sent channel/supervise chat markup", "an adapter; it knows its own network alone"},
	{"channel/webserve", "", "a listener for programs; who they are is for the handlers"},
	{"channel/webhook", "channel channel/webserve chat", "an adapter; it knows its own network alone"},
	{"channel/httpapi", "channel channel/webserve chat", "an adapter; it knows its own network alone"},
	{"channel/external", "channel channel/supervise chat markup", "an adapter of adapters; where their programs run is decided elsewhere"},
	{"router", "approval audit authority chat config steps", "a verdict on one message; it starts nothing"},
	{"outbox", "audit channel chat steps", "delivery, whatever the text came from"},
	{"hosttools", "audit authority chat grant schedule steps task", "authority over what an agent asks for, whichever agent"},
	{"pressure", "", "what the kernel says of the memory; what is ended for it is decided elsewhere"},
	{"backup", "beneath config privilege steps", "files into one file and back; what holds of the store in it is for others"},
	{"runlog", "chat", "a file for people; what a run is, and what of it is masked, is for others"},
	{"hostlog", "", "files of lines; what the daemon says, and what of it is a secret, is for others"},
	{"support", "watch", "takes out what is private and packs the rest; what it is of is decided elsewhere"},
	{"transcript", "", "a page made of lines; who reads and keeps them is not its matter"},
	{"mcpserver", "", "speaks with servers over pipes that others made; where they run is decided elsewhere"},
	{"install", "", "fetches one program and finds it; what may run it, and where, is decided elsewhere"},
	{"upgrade", "", "puts a signed program in place of another; daemon, store and key are for others"},
	{"control", "authority chat task", "who is on the socket, and what they asked"},
	{"observe", "audit chat control egress", "made of what the audit log gets; no stage knows of it"},
	{"web", "audit authority channel chat control grant qr schedule task why", "one more surface over the acts of the socket"},

	{"attack/inside", "", "runs inside, as the attacker; what it shares with the host is its task"},
	{"attack", "attack/inside beneath boundary delayed egress grant privilege seatbelt wire", "attacks boundaries from without; they know nothing of it"},

	{"demo", "agent/scripted audit channel chat config control", "plays a visitor and looks what came of it; the daemon is opened by others, and knows nothing of it"},

	{"agent", "chat grant watch wire", "drives a program in a box that somebody else made"},
	{"runner", "agent approval audit boundary chat config egress grant hosttools queue runlog steps transcript watch wire", "one run from job to finish; it reads like the design"},
	{"store", "approval audit chat grant outbox queue router runner schedule task", "implements the interfaces that its users declare"},
	{"oldstore", "beneath", "the rows of another program's store, from a copy; what they mean here is decided elsewhere"},
	{"imports", "agent audit beneath chat config credential grant oldstore schedule store task", "an old installation as a value, a plan, and its steps; who may say yes to it is asked elsewhere"},
	{"doctor", "chat config grant hostproc install wire", "reports what this machine can do; it decides nothing"},

	{"daemon", "agent approval attack attest audit authority backup beneath boundary channel channel/chaosnet channel/console channel/discord channel/external channel/httpapi channel/slack channel/telegram channel/webhook channel/webserve chat config control credential delayed doctor egress filewatch grant hostproc hosttools install mcpserver observe outbox plan pressure privilege queue router runlog runner schedule steps store task touched watch why wire", "the one place that wires everything"},
}

// programs are the commands, which may import what is named.
var programs = []rung{
	{"cmd/nanoclaw-init", "confine wire", "the inside: whatever it links, an attacker has"},
	{"cmd/nanoclaw", "agent approval attack/inside attest audit authority backup boundary channel channel/console channel/discord channel/slack channel/telegram channel/webhook chat config control credential daemon demo doctor egress grant hostlog hostproc hosttools imports install outbox qr queue router runner schedule service steps store support task upgrade watch web why wire", "flags and wiring"},
}

// kit says that a folder holds doubles and conformance suites, such as
// "internal/wire/wiretest". Kits are bound by fewer rules, and for that no
// program may link one.
func kit(dir string) bool { return strings.Contains(dir+"/", "test/") }

func TestImportsPointDown(t *testing.T) {
	rules := make(map[string]rung)
	above := make(map[string]bool)
	for _, r := range ladder {
		for _, name := range strings.Fields(r.may) {
			if !above[name] {
				t.Errorf("the row of %s permits %s, which stands further down: imports would not point down only", r.pkg, name)
			}
		}
		above[r.pkg] = true
		rules["internal/"+r.pkg] = r
	}
	for _, r := range programs {
		rules[r.pkg] = r
	}
	all := sources(t)
	for _, dir := range folders(all) {
		if kit(dir) {
			continue
		}
		r, ok := rules[dir]
		if !ok {
			t.Errorf("%s has no row in the table of imports: add one, with its reason", dir)
			continue
		}
		for _, s := range all[dir] {
			if s.Test {
				continue
			}
			for _, imported := range s.imports() {
				name, ours := strings.CutPrefix(imported, module+"/internal/")
				if ours && !slices.Contains(strings.Fields(r.may), name) {
					t.Errorf("%s imports %s. %s may import %q of ours, since: %s", s.Path, imported, dir, r.may, r.reason)
				}
			}
		}
	}
}

// starters may start processes. Everybody else asks one of them.
var starters = map[string]string{
	"internal/boundary": "starts the init, on behalf of an agent",
	"internal/hostproc": "starts a fixed list of host programs, never with agent data",
	"internal/confine":  "is the inside: it has only what the boundary left",
	"internal/attack":   "starts one process of this program that is there to be attacked, with no data of an agent",

	"internal/attack/inside": "is the inside: it has only what the boundary left, and runs nowhere else",
	"cmd/nanoclaw-init":      "is the inside: it has only what the boundary left",
}

// starts are the ways to start a process, by import path.
var starts = map[string][]string{
	"os/exec":               {"Command", "CommandContext", "Cmd"},
	"os":                    {"StartProcess"},
	"syscall":               {"ForkExec", "StartProcess", "Exec", "SYS_EXECVE", "SYS_EXECVEAT", "SYS_CLONE", "SYS_CLONE3", "SYS_FORK", "SYS_VFORK"},
	"golang.org/x/sys/unix": {"Exec", "SYS_EXECVE", "SYS_EXECVEAT", "SYS_CLONE", "SYS_CLONE3", "SYS_FORK", "SYS_VFORK"},
}

// I1: only the boundary starts processes on behalf of an agent.
func TestOnlyTheBoundaryStartsProcesses(t *testing.T) {
	all := sources(t)
	for _, dir := range folders(all) {
		if starters[dir] != "" || kit(dir) {
			continue
		}
		for _, s := range all[dir] {
			if s.Test {
				continue
			}
			for _, use := range processStarts(s) {
				t.Errorf("%s uses %s: processes are started by internal/boundary (for agents) and internal/hostproc (fixed host programs) alone", s.Path, use)
			}
		}
	}
}

// processStarts lists the ways to start a process that a file uses.
func processStarts(s source) []string {
	var uses []string
	local := make(map[string]string) // name in this file -> import path
	for _, spec := range s.AST.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		if _, watched := starts[p]; !watched {
			continue
		}
		name := path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "." {
			uses = append(uses, p+" without its name")
		}
		local[name] = p
	}
	ast.Inspect(s.AST, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(starts[local[x.Name]], sel.Sel.Name) {
			uses = append(uses, local[x.Name]+"."+sel.Sel.Name)
		}
		return true
	})
	return uses
}

// knowSQL are the packages that do. One driver registers the name "sqlite", and a
// second of them in the same program ends it at start.
var knowSQL = map[string]string{
	"internal/store":    "the host's own state",
	"internal/oldstore": "the store of another program, read from a copy and never ours",
}

// Nobody else knows SQL.
func TestOnlyTheStoreKnowsSQL(t *testing.T) {
	all := sources(t)
	for _, dir := range folders(all) {
		for _, s := range all[dir] {
			if s.Test || knowSQL[dir] != "" || kit(dir) {
				continue
			}
			for _, p := range s.imports() {
				if p == "database/sql" || strings.HasPrefix(p, "modernc.org/sqlite") || strings.HasPrefix(p, "github.com/pressly/goose") {
					t.Errorf("%s imports %s: only internal/store (and internal/oldstore, of another program) knows SQL", s.Path, p)
				}
			}
		}
	}
}
