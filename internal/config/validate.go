package config

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"nanoclaw/internal/chat"
)

// Validate says what is wrong with the values as such. It is pure: whether a
// folder exists or a program runs is found out where it is used. Groups are
// looked at in the order of their names, so the same file gives the same words.
func (c *Config) Validate(o Options) Problems {
	v := validator{}
	if c.Version != 1 {
		v.add(at("version"), "1", fmt.Sprint(c.Version), "a newer nanoclaw may know this format")
	}
	v.nodes(c)
	v.assistant(c.Assistant.Name)
	v.oneOf(at("agent", "kind"), c.Agent.Kind, agentKinds...)
	v.program(at("agent", "claude", "path"), c.Agent.Claude.Path)
	v.thinking(at("agent", "claude"), c.Agent.Claude.Model, c.Agent.Claude.FallbackModel, c.Agent.Claude.Effort, c.Agent.Claude.MaxTurns)
	v.model(at("model"), c.Model)
	v.providers(c.Providers)
	v.oneOf(at("executionMode"), c.ExecutionMode, modeContainer, modeHost)
	v.limits(c)
	v.money(c)
	v.tools(c.Tools)
	v.way(c.Egress, o)
	v.program(at("audit", "anchor"), c.Audit.Anchor)
	v.program(at("upgrade", "key"), c.Upgrade.Key)
	v.observe(c.Observe)
	if c.Audit.AnchorChat != 0 {
		between(&v, at("audit", "anchorChat"), c.Audit.AnchorChat, Duration(time.Minute), Duration(366*24*time.Hour))
	}
	v.channels(c.Channels, o)
	v.webhook(c.Channels.Webhook, c.Groups)
	v.servers(c, o)
	v.oneOf(at("globalMcpInheritance"), c.GlobalMcpInheritance, inheritances...)
	v.oneOf(at("permissionMode"), c.PermissionMode, permissionBypass, permissionAsk)
	v.permissions(at("permissions"), c.Permissions, o)
	v.approvals(c)

	chats := make(map[string]string) // address to the group that has it
	names := slices.Sorted(maps.Keys(c.Groups))
	for _, name := range names {
		// The terminal of a group is the group's, whether it says so or not.
		chats[consoleOf(name)] = name
	}
	for _, name := range names {
		if v.full() {
			break
		}
		v.group(name, c.Groups[name], chats, o)
		v.provider(at("groups", name, "provider"), c.Groups[name].Provider, c.Providers)
	}
	v.people(c)
	return v.problems
}

var (
	agentKinds = []string{"auto", "claude", "shell"}
	engines    = []string{"auto", "native", "bubblewrap", "srt", "seatbelt"}
	containers = []string{"auto", "podman", "docker", "apple-container"}
	triggers   = []string{"mention", "always"}
	confirms   = []string{"each", "session", "never"}
	efforts    = []string{"low", "medium", "high", "xhigh", "max"}
)

// validator collects problems, up to one more than are shown.
type validator struct {
	problems Problems
}

func (v *validator) full() bool { return len(v.problems) > maxProblems }

func (v *validator) add(field Path, expected, found, hint string) {
	v.problems = append(v.problems, Problem{Field: field, Expected: expected, Found: found, Hint: hint})
}

func (v *validator) addKey(field Path, expected, found, hint string) {
	v.add(field, expected, found, hint)
	v.problems[len(v.problems)-1].atKey = true
}

func (v *validator) oneOf(field Path, value string, known ...string) {
	if slices.Contains(known, value) {
		return
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = quote(k)
	}
	last := len(words) - 1
	v.add(field, strings.Join(words[:last], ", ")+" or "+words[last], quote(value), didYouMean(value, known))
}

func (v *validator) assistant(name string) {
	switch bare := strings.TrimLeft(name, "@"); {
	case name == "", utf8.RuneCountInString(name) > 40, name != strings.TrimSpace(name), hasControl(name):
		v.add(at("assistant", "name"), "a name of 1 to 40 characters on one line", quote(name), "")
	case bare != name:
		v.add(at("assistant", "name"), "a name without @", quote(name), fmt.Sprintf("write %q", bare))
	}
}

// program checks the path of a program; empty is allowed.
func (v *validator) program(field Path, p string) {
	if p != "" {
		v.hostPath(field, p)
	}
}

// modelName checks what becomes an argument of the agent: it must not be read
// as an option.
func (v *validator) modelName(field Path, name string) {
	if strings.HasPrefix(name, "-") || len(name) > 200 || strings.ContainsFunc(name, unicode.IsSpace) || hasControl(name) {
		v.add(field, "the name of a model, or nothing", quote(name), "")
	}
}

// container checks what becomes arguments of an engine's tool.
func (v *validator) container(c Container) {
	v.oneOf(at("container", "engine"), c.Engine, containers...)
	if c.Program != "" {
		v.hostPath(at("container", "program"), c.Program)
	}
	if c.Image == "" {
		v.add(at("container", "image"), "the name of an image", quote(c.Image), quote(DefaultImage))
	}
	v.image(at("container", "image"), c.Image)
	v.image(at("container", "ociRuntime"), c.OCIRuntime)
	for i, arg := range c.Args {
		if hasControl(arg) {
			v.add(at("container", "args", i), "an argument on one line", quote(arg), "")
		}
	}
}

// image checks a name that stands where an option could.
func (v *validator) image(field Path, name string) {
	if strings.HasPrefix(name, "-") || len(name) > 300 || strings.ContainsFunc(name, unicode.IsSpace) || hasControl(name) {
		v.add(field, "a name without spaces that does not begin with -", quote(name), "")
	}
}

func (v *validator) limits(c *Config) {
	v.container(c.Container)
	l := c.Limits
	v.between(at("hostMode", "runsPerHour"), c.HostMode.RunsPerHour, 0, 100_000)
	v.oneOf(at("boundary", "engine"), c.Boundary.Engine, engines...)
	v.between(at("boundary", "landlockFloor"), c.Boundary.LandlockFloor, 0, 100)
	v.between(at("boundary", "spares"), c.Boundary.Spares, 0, 64)
	v.program(at("boundary", "srt", "path"), c.Boundary.SRT.Path)
	v.program(at("boundary", "srt", "node"), c.Boundary.SRT.Node)
	between(v, at("limits", "runTime"), l.RunTime, Duration(time.Second), Duration(7*24*time.Hour))
	between(v, at("limits", "idleTime"), l.IdleTime, 0, Duration(7*24*time.Hour))
	v.between(at("limits", "warmSessions"), l.WarmSessions, 0, 10_000)
	v.between(at("limits", "concurrentRuns"), l.ConcurrentRuns, 1, 1000)
	between(v, at("limits", "memory"), l.Memory, 64<<20, 1<<50)
	v.between(at("limits", "cpus"), l.CPUs, 0, 10_000)
	between(v, at("limits", "cpuTime"), l.CPUTime, 0, Duration(365*24*time.Hour))
	v.between(at("limits", "processes"), l.Processes, 16, 1_000_000)
	v.between(at("limits", "openFiles"), l.OpenFiles, 64, 1_000_000)
	between(v, at("limits", "fileSize"), l.FileSize, 64<<10, 1<<50)
	between(v, at("limits", "tmpSize"), l.TmpSize, 1<<20, 1<<50)
	between(v, at("limits", "disk"), l.Disk, 16<<20, 1<<50)
	between(v, at("limits", "output"), l.Output, 1<<10, 16<<20)
	v.between(at("limits", "contextMessages"), l.ContextMessages, 0, 10_000)
	between(v, at("limits", "messageSize"), l.MessageSize, 1<<10, 512<<10)
	v.between(at("limits", "queuedMessages"), l.QueuedMessages, 1, 100_000)
	v.between(at("limits", "tasks"), l.Tasks, 0, 10_000)
	between(v, at("limits", "taskInterval"), l.TaskInterval, Duration(time.Second), Duration(24*time.Hour))
	between(v, at("quarantine", "keep"), c.Quarantine.Keep, 0, Duration(100*365*24*time.Hour))
	between(v, at("quarantine", "size"), c.Quarantine.Size, 0, 1<<50)
	between(v, at("runLogs", "keep"), c.RunLogs.Keep, 0, Duration(100*365*24*time.Hour))
	v.between(at("runLogs", "files"), c.RunLogs.Files, 0, 1_000_000)
	between(v, at("runLogs", "size"), c.RunLogs.Size, 0, 1<<50)
	r := c.Retention
	between(v, at("retention", "messages"), r.Messages, 0, days(36500))
	between(v, at("retention", "runs"), r.Runs, 0, days(36500))
	between(v, at("retention", "costs"), r.Costs, 0, days(36500))
	between(v, at("retention", "words"), r.Words, 0, days(36500))
	between(v, at("retention", "sessions"), r.Sessions, 0, days(36500))
	v.toolLimits(l)
}

func (v *validator) between(field Path, n, low, high int) {
	if n < low || n > high {
		v.add(field, fmt.Sprintf("%d to %d", low, high), fmt.Sprint(n), "")
	}
}

// between is the same for the types that print with a unit.
func between[T interface {
	~int64
	fmt.Stringer
}](v *validator, field Path, n, low, high T) {
	if n < low || n > high {
		v.add(field, fmt.Sprintf("%s to %s", low, high), n.String(), "")
	}
}

func (v *validator) tools(tools []string) {
	seen := make(map[string]bool)
	for i, p := range tools {
		if v.full() {
			return
		}
		field := at("tools", i)
		if v.hostPath(field, p) && seen[p] {
			v.add(field, "each folder once", quote(p)+" again", "")
		}
		seen[p] = true
	}
}

// hostPath checks a path of this machine. Colons, commas, backslashes and control
// characters are refused because the path ends up in lists, mount options and
// lines of logs; ".." and "." because a path must mean what it looks like.
func (v *validator) hostPath(field Path, p string) bool {
	expected, hint := "", ""
	switch {
	case p == "~" || p == "/":
		expected, hint = "one folder", "name a folder inside it"
	case !strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "~/"):
		expected = `a path that begins with "/" or "~/"`
	case hasControl(p) || strings.ContainsAny(p, `:,\`) || len(p) > maxPath:
		expected, hint = "a path without colon, comma, backslash and control characters", "rename the folder"
	case path.Clean(p) != p:
		expected = `a path without "..", "." and needless slashes`
	default:
		return true
	}
	v.add(field, expected, quote(p), hint)
	return false
}

// maxPath is the longest path of Linux, without its final zero byte.
const maxPath = 4095

func (v *validator) group(name string, g Group, chats map[string]string, o Options) {
	field := at("groups", name)
	if _, err := chat.ParseGroup(name); err != nil {
		_, why, _ := strings.Cut(err.Error(), ": ")
		if why == "" {
			why = "it is reserved: choose another"
		}
		v.addKey(field, "the name of a group", quote(name), why)
	}
	if g.Mode != "" {
		v.oneOf(field.plus("mode"), g.Mode, modeContainer, modeHost)
	}
	v.image(field.plus("image"), g.Image)
	if g.Agent != "" {
		v.oneOf(field.plus("agent"), g.Agent, agentKinds...)
	}
	v.amounts(field, g)
	if g.Trigger != "" {
		v.oneOf(field.plus("trigger"), g.Trigger, triggers...)
	}
	v.thinking(field, g.Model, g.FallbackModel, g.Effort, g.MaxTurns)
	v.prompt(field, g)
	v.serverTools(field.plus("serverTools"), g.ServerTools)
	v.chats(field.plus("chats"), name, g.Chats, chats)
	for i, s := range g.Senders {
		if v.full() {
			return
		}
		v.address(field.plus("senders", i), s, "CHANNEL:SENDER")
	}
	v.mounts(field.plus("mounts"), g.Mounts)
	for i, h := range g.Egress {
		if v.full() {
			return
		}
		v.entry(field.plus("egress", i), h, hostForm, o.CheckHost)
	}
	v.denied(field.plus("egressDeny"), g.EgressDeny, o)
	v.terms(field.plus("egressHosts"), g.EgressHosts, o)
	if g.PermissionMode != "" {
		v.oneOf(field.plus("permissionMode"), g.PermissionMode, permissionBypass, permissionAsk)
	}
	v.permissions(field.plus("permissions"), g.Permissions, o)
}

func (v *validator) chats(field Path, name string, list []string, owner map[string]string) {
	seen := make(map[string]bool)
	for i, a := range list {
		if v.full() {
			return
		}
		field := field.plus(i)
		if !v.address(field, a, "CHANNEL:CHAT") {
			continue
		}
		switch other, taken := owner[a]; {
		case taken && other != name:
			v.add(field, "a chat of no other group", quote(a)+", which belongs to "+quote(other), "a chat has one group")
		case !taken && strings.HasPrefix(a, consoleOf("")):
			v.add(field, fmt.Sprintf("the terminal of this group, %q", consoleOf(name)), quote(a), "it need not be written")
		case strings.HasPrefix(a, string(chat.Webhook)+":"), strings.HasPrefix(a, string(chat.API)+":"):
			v.add(field, "a chat of people", quote(a), "a program's group is named by channels.webhook.hooks, or by nanoclaw token add")
		case seen[a]:
			v.add(field, "each chat once", quote(a)+" again", "")
		}
		seen[a], owner[a] = true, cmp.Or(owner[a], name)
	}
}

// consoleOf is the address of a group's terminal.
func consoleOf(group string) string {
	return chat.Address{Channel: "console", Chat: chat.ChatID(group)}.String()
}

// address checks the form that chats and senders share.
func (v *validator) address(field Path, s, form string) bool {
	if !identity(s) {
		v.add(field, form, quote(s), "")
		return false
	}
	return true
}

// identity says whether s has the form of an address or of a sender.
func identity(s string) bool {
	_, err := chat.ParseAddress(s)
	return err == nil && !hasControl(s) && len(s) <= 512 && s == strings.TrimSpace(s)
}

func (v *validator) mounts(field Path, mounts []Mount) {
	seen := make(map[string]bool)
	for i, m := range mounts {
		if v.full() {
			return
		}
		if m.Path == "" {
			v.add(field.plus(i, "path"), "the path of a folder", "none", "")
			continue
		}
		if !v.hostPath(field.plus(i, "path"), m.Path) && m.Name == "" {
			continue // the name comes from the path
		}
		name := m.Inside()
		if !safeElement(name) {
			v.add(field.plus(i, "name"), "a name for one folder, without slash, colon, comma and control characters", quote(name), "")
		}
		if seen[name] {
			v.add(field.plus(i, "name"), "each name once in a group", quote(name)+" again", "give one of the mounts another name")
		}
		seen[name] = true
	}
}

// Inside is the name of the mount under /workspace/extra.
func (m Mount) Inside() string {
	if m.Name != "" {
		return m.Name
	}
	return path.Base(m.Path)
}

// safeElement says whether s can be the name of one folder and nothing else.
func safeElement(s string) bool {
	return s != "" && s != "." && s != ".." && s != "~" && len(s) <= 100 && s[0] != '-' &&
		s == strings.TrimSpace(s) && !strings.ContainsAny(s, `/\:,`) && !hasControl(s)
}

// hasControl finds characters that end lines, steer terminals or turn the
// direction of text, and bytes that are no text at all.
func hasControl(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
	})
}
