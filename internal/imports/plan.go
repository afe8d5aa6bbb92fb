package imports

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/oldstore"
	"nanoclaw/internal/task"
)

// Bounds of a plan.
const (
	maxGroups = 200 // that are taken over at once
	maxMounts = 50  // folders that a group is lent
)

// Wishes are what the owner says beside the plan, and what is known of this
// installation.
type Wishes struct {
	// From is the old folder, as notes in the store name it.
	From string
	// Rename gives groups another name, by their old folder.
	Rename map[string]string
	// SlackTeam is the workspace of all Slack chats.
	SlackTeam string
	// Owners are who is the owner on chat networks, as CHANNEL:SENDER.
	Owners []string
	// KnownSenders lets in who wrote in a group in which everybody could call the agent.
	KnownSenders bool

	Config  *config.Config
	Notes   map[chat.Group]Note // what was taken over before
	Machine grant.Machine       // judges folders that are lent
	// Real says where a path leads, "" if there is nothing.
	Real   func(string) string
	Mounts *config.MountAllowlist
	Zone   string // of tasks, where .env names none
	Now    time.Time
	// HostMode says whether a group would run in host mode.
	HostMode func(chat.Group) bool
	// Stored says that a credential for the model is there already.
	Stored bool
}

// Plan is what an import does, and what it does not.
type Plan struct {
	From      string   `json:"from"`
	Assistant string   `json:"assistant,omitempty"`
	Owners    []string `json:"owners,omitempty"`
	// Allowlist says that the list of folders is copied beside the configuration.
	Allowlist  bool    `json:"mountAllowlist,omitempty"`
	Credential string  `json:"credential,omitempty"` // its kind, and never more
	Groups     []Group `json:"groups"`
	// Global is the memory of all groups.
	Global  Folder                      `json:"global"`
	Servers map[string]config.MCPServer `json:"-"`
	Added   []string                    `json:"mcpServers,omitempty"` // each in words
	Left    []Left                      `json:"left"`
	Notes   []string                    `json:"notes,omitempty"` // what to do afterwards
}

// Group is what becomes of one old group.
type Group struct {
	Name   chat.Group `json:"name"`
	Folder string     `json:"folder"`
	Title  string     `json:"title,omitempty"`
	// Configure says that the group is still to be written into the configuration.
	Configure bool           `json:"configure"`
	Chats     []string       `json:"chats,omitempty"`
	Trigger   string         `json:"trigger,omitempty"`
	Senders   []string       `json:"senders,omitempty"`
	Mounts    []config.Mount `json:"mounts,omitempty"`
	Files     Folder         `json:"files"`
	// Session is the conversation of Claude Code that goes on.
	Session  string      `json:"session,omitempty"`
	Messages int         `json:"messages"`
	Tasks    []task.Task `json:"tasks,omitempty"`

	jids map[string]string // its old chats, and where they are now
	note Note
}

// Empty says that there is nothing to do.
func (p Plan) Empty() bool {
	return len(p.Groups) == 0 && p.Assistant == "" && len(p.Owners) == 0 && !p.Allowlist && p.Credential == "" && len(p.Servers) == 0
}

// planner makes a plan.
type planner struct {
	old  *Old
	w    Wishes
	plan Plan
	used map[string]string // chats that groups have, here or by the plan
}

// Make decides what becomes of an old installation. It looks at nothing but its
// arguments.
func Make(old *Old, w Wishes) Plan {
	p := planner{old: old, w: w, plan: Plan{From: w.From, Groups: []Group{}, Servers: map[string]config.MCPServer{}, Left: slices.Clone(old.Left)}, used: map[string]string{}}
	for name, g := range w.Config.Groups {
		for _, c := range g.Chats {
			p.used[c] = name
		}
	}
	p.assistant()
	p.owners()
	p.allowlist()
	for _, g := range p.order() {
		p.group(g)
	}
	for _, folder := range slices.Sorted(mapKeys(w.Rename)) {
		if !slices.ContainsFunc(old.Groups, func(g oldstore.Group) bool { return g.Folder == folder }) {
			p.left("--rename "+folder, "no group of the old ones has such a folder")
		}
	}
	p.global()
	p.tasks()
	p.fork()
	p.credential()
	p.told()
	return p.plan
}

func (p *planner) left(what, because string) {
	p.plan.Left = append(p.plan.Left, Left{what, because})
}

func (p *planner) assistant() {
	name, now := p.old.Env.Assistant, p.w.Config.Assistant.Name
	switch {
	case name == "" || name == now:
	case now != config.Default().Assistant.Name:
		p.left("the assistant's name "+name, "it is called "+now+" here")
	default:
		p.plan.Assistant = name
	}
}

// name is how the assistant is called in the end.
func (p *planner) name() string {
	if p.plan.Assistant != "" {
		return p.plan.Assistant
	}
	return p.w.Config.Assistant.Name
}

func (p *planner) owners() {
	for _, id := range p.w.Owners {
		switch who, there := p.w.Config.People[id]; {
		case !there:
			p.plan.Owners = append(p.plan.Owners, id)
		case who.Role != "owner":
			p.left("--owner "+id, "that is somebody with another role here already (people)")
		}
	}
}

func (p *planner) allowlist() {
	p.plan.Allowlist = p.old.Mounts != nil && p.old.Mounts.Broken == "" && p.w.Mounts == nil
}

// order puts main first, and each folder once with all of its chats.
func (p *planner) order() [][]oldstore.Group {
	var out [][]oldstore.Group
	at := map[string]int{}
	for _, g := range p.old.Groups {
		if i, known := at[g.Folder]; known {
			out[i] = append(out[i], g)
			continue
		}
		at[g.Folder] = len(out)
		out = append(out, []oldstore.Group{g})
	}
	slices.SortStableFunc(out, func(a, b []oldstore.Group) int {
		switch {
		case a[0].Main == b[0].Main:
			return 0
		case a[0].Main:
			return -1
		}
		return 1
	})
	if len(out) > maxGroups {
		p.left(fmt.Sprintf("%d further groups", len(out)-maxGroups), fmt.Sprintf("%d are taken over at once", maxGroups))
		out = out[:maxGroups]
	}
	return out
}

// group plans one folder of the old installation.
func (p *planner) group(rows []oldstore.Group) {
	first := rows[0]
	what := "group " + first.Folder
	name, err := p.groupName(first)
	if err != nil {
		p.left(what, err.Error())
		return
	}
	_, there := p.w.Config.Groups[string(name)]
	note, noted := p.w.Notes[name]
	switch ours := note.From == p.w.From && note.Folder == first.Folder; {
	case noted && ours && !note.Done.IsZero():
		p.left(what, "it was taken over on "+note.Done.Format(time.DateOnly)+" as "+string(name)+"; what came there since is not")
		return
	case slices.ContainsFunc(p.plan.Groups, func(g Group) bool { return g.Name == name }):
		p.left(what, fmt.Sprintf("another group of the old ones is called %s: say --rename %s=NAME", name, first.Folder))
		return
	case there && name != chat.Main && !(noted && ours), noted && !ours:
		p.left(what, fmt.Sprintf("there is a group %s here already, and nobody shall get its rights by an import: say --rename %s=NAME", name, first.Folder))
		return
	}
	if first.Main && name != chat.Main {
		p.left("the rights of main of "+what, "there is one main here")
	}
	g := Group{Name: name, Folder: first.Folder, Title: first.Name, Configure: name == chat.Main || !there, jids: map[string]string{}, note: note}
	g.Files = p.old.Folders[first.Folder]
	if g.Files.Why != "" {
		p.left("the files of "+what, g.Files.Why)
	}
	p.plan.Left = append(p.plan.Left, g.Files.Left...)
	for _, row := range rows {
		p.chat(&g, row)
	}
	if g.Session = p.old.Sessions[first.Folder]; g.Session != "" {
		if talk := p.old.Talks[first.Folder]; talk.Why != "" {
			p.left("the conversation of "+what, talk.Why+"; the next message begins a new one")
			g.Session = ""
		}
	}
	p.plan.Groups = append(p.plan.Groups, g)
}

// groupName is the name of an old group here.
func (p *planner) groupName(g oldstore.Group) (chat.Group, error) {
	switch {
	case g.Cut:
		return "", errors.New("a value of its row is too long")
	case !safeFolder.MatchString(g.Folder):
		return "", fmt.Errorf("%.80q is no name of a folder", g.Folder)
	}
	if g.Main && !slices.ContainsFunc(p.plan.Groups, func(g Group) bool { return g.Name == chat.Main }) {
		return chat.Main, nil
	}
	name := strings.ToLower(g.Folder)
	if to := p.w.Rename[g.Folder]; to != "" {
		name = to
	}
	parsed, err := chat.ParseGroup(name)
	if err == nil && parsed == chat.Main {
		err = errors.New("main is another group of the old ones")
	}
	if err != nil {
		return "", fmt.Errorf("%w: say --rename %s=NAME", err, g.Folder)
	}
	return parsed, nil
}

// chat plans one registered chat of a group.
func (p *planner) chat(g *Group, row oldstore.Group) {
	what := fmt.Sprintf("chat %s of group %s", row.JID, row.Folder)
	to, err := address(row.JID, p.w.SlackTeam)
	if err != nil {
		p.left(what, err.Error())
		return
	}
	if has := p.used[to]; has != "" && has != string(g.Name) {
		p.left(what, "it belongs to group "+has)
		return
	}
	p.used[to], g.jids[row.JID] = string(g.Name), to
	spoken := p.old.Spoken[row.JID]
	if g.Messages += spoken.Messages; spoken.Expired > 0 {
		p.left(fmt.Sprintf("%d messages of %s", spoken.Expired, what), "they are older than messages are kept (retention.messages)")
	}
	if !g.Configure {
		return
	}
	if g.Chats = append(g.Chats, to); row.Always && g.Name != chat.Main {
		g.Trigger = "always"
	}
	if want := "@" + p.name(); !row.Always && row.Trigger != "" && !strings.EqualFold(row.Trigger, want) && g.Name != chat.Main {
		p.left(fmt.Sprintf("the trigger %q of %s", row.Trigger, what), "the assistant has one name in all groups (assistant.name): "+want)
	}
	if row.Mode == "host" || row.Mode == "" && p.old.Fork != nil && p.old.Fork.Mode == "host" {
		p.left("host mode of group "+row.Folder, "an import opens it for nobody: nanoclaw group set "+string(g.Name)+" --mode host, if you want it")
	}
	p.senders(g, row)
	p.container(g, row)
}

// senders plans who may speak. Nobody but the owner does in main.
func (p *planner) senders(g *Group, row oldstore.Group) {
	what := fmt.Sprintf("who may speak in %s", row.JID)
	list := p.old.Senders.of(row.JID)
	if g.Name == chat.Main {
		if len(p.w.Owners) == 0 {
			p.left(what, "main is yours alone: say who you are there, as --owner CHANNEL:SENDER, or in people of the configuration")
		}
		return
	}
	if list.All && !p.w.KnownSenders {
		p.left(what, fmt.Sprintf("everybody did, and here each sender is let in: you are asked when they write, or say --known-senders for the %d who wrote there", len(p.old.Spoken[row.JID].Writers)))
		return
	}
	ids := list.IDs
	if list.All {
		for _, w := range p.old.Spoken[row.JID].Writers {
			ids = append(ids, w.ID)
		}
	}
	for i, id := range ids {
		if i == maxWriters {
			p.left(what, fmt.Sprintf("more than %d may", maxWriters))
			break
		}
		sender, err := person(row.JID, id, p.w.SlackTeam)
		switch {
		case err != nil:
			p.left(fmt.Sprintf("sender %.80q of %s", id, row.JID), err.Error())
		case !slices.Contains(g.Senders, sender) && !slices.Contains(p.w.Owners, sender):
			g.Senders = append(g.Senders, sender)
		}
	}
	if !list.All && list.Mode != "drop" {
		p.left("what others write in "+row.JID, "it was kept as context, and here nothing of who may not speak reaches an agent")
	}
}

// container plans containerConfig: folders, and a limit of time.
func (p *planner) container(g *Group, row oldstore.Group) {
	if row.Config == "" || row.Config == "null" {
		return
	}
	var c struct {
		Mounts []struct {
			Host      string `json:"hostPath"`
			Container string `json:"containerPath"`
			ReadOnly  *bool  `json:"readonly"`
		} `json:"additionalMounts"`
		Timeout float64 `json:"timeout"`
	}
	if json.Unmarshal([]byte(row.Config), &c) != nil {
		p.left("containerConfig of group "+row.Folder, "it is not the JSON that NanoClaw 1 wrote")
		return
	}
	if c.Timeout > 0 {
		p.left(fmt.Sprintf("the time limit of group %s", row.Folder), "there is one for all groups (limits.runTime)")
	}
	for i, m := range c.Mounts {
		what := fmt.Sprintf("folder %.200q of group %s", m.Host, row.Folder)
		if i == maxMounts {
			p.left(what+" and those after it", fmt.Sprintf("there are more than %d", maxMounts))
			break
		}
		mount := config.Mount{Path: m.Host, Name: path.Base(path.Clean(m.Container)), Write: m.ReadOnly != nil && !*m.ReadOnly}
		if mount.Name == path.Base(m.Host) || m.Container == "" {
			mount.Name = ""
		}
		if why := p.lend(g, &mount); why != "" {
			p.left(what, why)
			continue
		}
		if strings.Contains(strings.Trim(m.Container, "/"), "/") {
			p.left(fmt.Sprintf("the place %q of %s", m.Container, what), "it is at /workspace/extra/"+mount.Inside())
		}
		g.Mounts = append(g.Mounts, mount)
	}
}

// lend judges a folder by the old list and by the rules here, as a run would.
func (p *planner) lend(g *Group, m *config.Mount) string {
	list := p.old.Mounts
	if p.w.Mounts != nil {
		list = p.w.Mounts
	}
	if list == nil {
		return "NanoClaw 1 refused it too: there is no " + config.MountAllowlistFile
	}
	taken := slices.Concat(g.Mounts, p.w.Config.Groups[string(g.Name)].Mounts)
	if slices.ContainsFunc(taken, func(o config.Mount) bool { return o.Inside() == m.Inside() }) {
		return "a folder has its name already"
	}
	host := m.Path
	if rest, below := strings.CutPrefix(host, "~/"); below {
		host = path.Join(p.w.Machine.OwnerHome, rest)
	}
	machine := p.w.Machine
	machine.Allowed, machine.Real = p.placed(list), map[string]string{host: p.w.Real(host)}
	if no := machine.CheckPath(host); no != nil {
		return no.Text
	}
	write, _, no := machine.MayLend(host, m.Write, g.Name == chat.Main)
	if no != nil {
		return no.Text
	}
	m.Write = write
	return ""
}

// placed is a list with its roots where they lead.
func (p *planner) placed(list *config.MountAllowlist) *config.MountAllowlist {
	out := *list
	out.AllowedRoots = nil
	for _, root := range list.AllowedRoots {
		if root.Path == "~" {
			root.Path = p.w.Machine.OwnerHome
		} else if rest, below := strings.CutPrefix(root.Path, "~/"); below {
			root.Path = path.Join(p.w.Machine.OwnerHome, rest)
		}
		if root.Path = p.w.Real(root.Path); root.Path != "" {
			out.AllowedRoots = append(out.AllowedRoots, root)
		}
	}
	return &out
}
