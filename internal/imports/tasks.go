package imports

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/oldstore"
	"nanoclaw/internal/schedule"
	"nanoclaw/internal/task"
)

// tasks plans the scheduled tasks of the groups that are taken over.
func (p *planner) tasks() {
	over := 0
	for _, old := range p.old.Tasks {
		i := slices.IndexFunc(p.plan.Groups, func(g Group) bool { return g.Folder == old.Folder })
		what := fmt.Sprintf("task %.60q of group %.64s", old.ID, old.Folder)
		if old.Status == "completed" {
			over++
			continue
		}
		if i < 0 {
			p.left(what, "its group is not taken over")
			continue
		}
		g := &p.plan.Groups[i]
		t, err := p.task(g, old)
		if err == nil && len(g.Tasks) >= p.w.Config.Limits.Tasks {
			err = fmt.Errorf("a group has at most %d (limits.tasks)", p.w.Config.Limits.Tasks)
		}
		if err != nil {
			p.left(what, firstLine(err))
			continue
		}
		g.Tasks = append(g.Tasks, t)
	}
	if over > 0 {
		p.left(fmt.Sprintf("%d tasks that were done", over), "they are over")
	}
}

// task is an old task as it is here. It was made by an agent, so it has no right of the
// owner's, and no consent to host mode.
func (p *planner) task(g *Group, old oldstore.Task) (task.Task, error) {
	t := task.Task{
		ID: taskID(p.w.From, old.ID), Group: g.Name, Prompt: p.old.Env.hide(old.Prompt), Script: p.old.Env.hide(old.Script), Created: p.w.Now,
		By: task.Creator{Channel: chat.Console, Sender: chat.Sender{ID: "import", Name: "an agent of NanoClaw 1"}, OfOwner: true},
		To: p.answers(g, old.JID), Context: chat.IsolatedContext,
	}
	if old.Context == "group" {
		t.Context = chat.GroupContext
	}
	if old.Cut || old.ID == "" {
		return t, errors.New("a value of its row is missing or too long")
	}
	if made := oldstore.Time(old.Created); !made.IsZero() && made.Before(p.w.Now) {
		t.Created = made
	}
	var err error
	if t.Spec, err = p.spec(old, t.Created); err != nil {
		return t, err
	}
	if err := t.Check(); err != nil {
		return t, err
	}
	s, err := schedule.Parse(t.Spec)
	if err == nil {
		err = s.CheckEvery(time.Duration(p.w.Config.Limits.TaskInterval), p.w.Now)
	}
	if err == nil {
		err = t.Begin(p.w.Now)
	}
	if err != nil {
		return t, err
	}
	switch {
	case old.Status == "paused":
		t.Rest(task.Paused, "it was paused in NanoClaw 1")
	case old.Status != "active":
		return t, fmt.Errorf("%.40q is no state of a task", old.Status)
	case p.w.HostMode(g.Name):
		t.Rest(task.Paused, "its group runs in host mode, to which a task needs your consent: read it, then nanoclaw task edit "+string(t.ID)+" --host-mode, and nanoclaw task resume "+string(t.ID))
	}
	return t, nil
}

// spec is the schedule. Times without a zone are those of the old machine.
func (p *planner) spec(old oldstore.Task, anchor time.Time) (schedule.Spec, error) {
	s := schedule.Spec{Value: strings.TrimSpace(old.Value), Zone: p.old.Env.Zone, Anchor: anchor}
	if _, err := schedule.Zone(s.Zone); err != nil {
		s.Zone = p.w.Zone
	}
	switch old.Kind {
	case "cron":
		s.Kind = schedule.Cron
	case "once":
		s.Kind = schedule.Once
	case "interval":
		ms, err := strconv.ParseInt(s.Value, 10, 64)
		if err != nil || ms <= 0 || ms > int64(366*24*time.Hour/time.Millisecond) {
			return s, fmt.Errorf("%.40q is no number of milliseconds", s.Value)
		}
		s.Kind, s.Value = schedule.Interval, (time.Duration(ms) * time.Millisecond).String()
	default:
		return s, fmt.Errorf("%.40q is no kind of schedule", old.Kind)
	}
	return s, nil
}

// answers is the chat to which a task answers: the old one if the group has it, else
// another one of the group's.
func (p *planner) answers(g *Group, jid string) chat.Address {
	to := g.jids[jid]
	if to == "" && len(g.jids) > 0 {
		to = g.jids[slices.Sorted(mapKeys(g.jids))[0]]
	}
	if a, err := chat.ParseAddress(to); err == nil {
		return a
	}
	return chat.Address{Channel: chat.Console, Chat: chat.ChatID(g.Name)}
}

// taskID is made of the old id, so that the same task is known again.
func taskID(from, old string) chat.TaskID {
	sum := sha256.Sum256([]byte("import\x00" + from + "\x00" + old))
	alphabet := base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)
	return chat.TaskID("t" + alphabet.EncodeToString(sum[:])[:10])
}

// global plans the memory of all groups, which comes with main.
func (p *planner) global() {
	if !slices.ContainsFunc(p.plan.Groups, func(g Group) bool { return g.Name == chat.Main }) {
		return
	}
	p.plan.Global = p.old.Folders["global"]
	if p.plan.Global.Why != "" {
		p.left("the memory of all groups", p.plan.Global.Why)
	}
	p.plan.Left = append(p.plan.Left, p.plan.Global.Left...)
}

// fork plans what only the fork had.
func (p *planner) fork() {
	f := p.old.Fork
	if f == nil {
		return
	}
	if f.Mode == "host" {
		p.left("executionMode host of "+ForkFile, "an import opens host mode for nobody")
	}
	if s := f.Security; s != nil {
		if s.Sandbox != nil && !*s.Sandbox {
			p.left("hostSecurity.sandbox false", "no agent runs without a boundary here")
		}
		if len(s.Tools) > 0 {
			p.left("hostSecurity.tools", "what an agent may touch is held by its boundary; rules about its tools are in permissions")
		}
	}
	for _, name := range f.Unknown {
		p.left(fmt.Sprintf("%.60q of %s", name, ForkFile), "the fork did not have it")
	}
	for _, name := range slices.Sorted(mapKeys(f.Servers)) {
		p.server(name, f.Servers[name])
	}
}

func (p *planner) server(name string, s ForkServer) {
	what := fmt.Sprintf("MCP server %.60q", name)
	if _, there := p.w.Config.MCPServers[name]; there {
		p.left(what, "there is one of its name here already")
		return
	}
	if s.variables() {
		p.left(what, "it uses variables of the old environment: write it into mcpServers yourself, as nanoclaw mcp --help says")
		return
	}
	out := config.MCPServer{Type: s.Type, Command: s.Command, URL: config.NewText(s.URL), Modes: s.Modes}
	if out.Modes == nil {
		out.Modes = []string{"host", "container"}
	}
	for _, arg := range s.Args {
		out.Args = append(out.Args, config.NewText(arg))
	}
	out.Env, out.Headers = texts(s.Env), texts(s.Headers)
	p.plan.Servers[name] = out
	kind := "the program " + p.old.Env.hide(strings.Join(append([]string{s.Command}, s.Args...), " "))
	if u, err := url.Parse(s.URL); s.Command == "" && err == nil {
		kind = "at " + u.Hostname() // the rest may hold a secret
	}
	p.plan.Added = append(p.plan.Added, fmt.Sprintf("%s: %s, for main alone (groups)", name, kind))
}

func texts(m map[string]string) map[string]config.Text {
	if len(m) == 0 {
		return nil
	}
	out := map[string]config.Text{}
	for k, v := range m {
		out[k] = config.NewText(v)
	}
	return out
}

func (p *planner) credential() {
	e := p.old.Env
	p.plan.Left = append(p.plan.Left, e.Others...)
	switch {
	case e.Kind == "":
	case p.w.Stored:
		p.left("the credential of .env", "there is one here already: nanoclaw login claude --status")
	default:
		p.plan.Credential = string(e.Kind)
	}
}

// told are what is never taken over, and what the owner has to do.
func (p *planner) told() {
	channels := map[string]bool{}
	for _, g := range p.plan.Groups {
		for _, c := range g.Chats {
			name, _, _ := strings.Cut(c, ":")
			channels[name] = true
		}
	}
	for _, name := range slices.Sorted(mapKeys(channels)) {
		if name == "whatsapp" {
			p.left("the link to WhatsApp (store/auth)", "another library made its keys: link the account anew, as docs/whatsapp.md says, and unlink the old device")
			continue
		}
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("connect %s: nanoclaw channel login %s, and channels.%s.connect in the configuration", name, name, name))
	}
	for _, g := range p.plan.Groups {
		if len(g.Chats) == 0 && g.Configure && g.Name != chat.Main {
			p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("group %s has no chat but its terminal: nanoclaw group set %s --chat CHANNEL:CHAT", g.Name, g.Name))
		}
	}
	if len(p.plan.Groups) > 0 {
		p.plan.Notes = append(p.plan.Notes, "stop the old NanoClaw for good before you start this one: both would answer")
	}
}
