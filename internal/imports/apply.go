package imports

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/beneath"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/oldstore"
	"nanoclaw/internal/store"
)

// Note is what the store remembers of a group that was taken over.
type Note struct {
	From   string    `json:"from"`
	Folder string    `json:"folder"`
	Begun  time.Time `json:"begun"`
	Done   time.Time `json:"done,omitzero"` // zero: it is to be finished
}

func noteKey(g chat.Group) string { return "import:" + string(g) }

// Notes reads the notes about groups. One that cannot be read is none.
func Notes(ctx context.Context, r *store.Reader, old *Old, rename map[string]string) (map[chat.Group]Note, error) {
	out := map[chat.Group]Note{}
	names := []string{string(chat.Main)}
	for _, g := range old.Groups {
		names = append(names, strings.ToLower(g.Folder), rename[g.Folder])
	}
	for _, name := range names {
		g := chat.Group(name)
		text, err := r.Meta(ctx, noteKey(g))
		if err != nil {
			return nil, err
		}
		var n Note
		if text != "" && json.Unmarshal([]byte(text), &n) == nil {
			out[g] = n
		}
	}
	return out, nil
}

// Target is where a plan is carried out. Nobody else may have the store open.
type Target struct {
	Store   *store.Store
	Machine grant.Machine // where the folders of groups are
	// UID is whom the folders of a group belong to, 0 for whoever we are.
	UID func(context.Context, chat.Group) (int, error)
	// Speaks says who may speak in a group by the configuration as it is afterwards.
	Speaks func(g chat.Group, sender string) bool
	Config *config.Config
	// Memory and Global are what the memories begin with here, in place of which the old
	// ones come.
	Memory, Global string
	Now            func() time.Time
}

// Done is what was taken over of one group.
type Done struct {
	Group    chat.Group `json:"group"`
	Files    int        `json:"files"`
	Same     int        `json:"same,omitempty"` // that were here already
	Messages int        `json:"messages"`
	Tasks    int        `json:"tasks"`
	Session  bool       `json:"session"`
}

// Report is what an import did.
type Report struct {
	Groups []Done `json:"groups"`
	Left   []Left `json:"left,omitempty"` // beside what the plan names
}

// edit is one part of what a plan writes into the configuration.
type edit struct {
	what string
	drop func(*Plan) // takes the part out of the plan
	do   func(*config.Document) error
}

func (p Plan) edits() (out []edit) {
	if p.Assistant != "" {
		out = append(out, edit{"the assistant's name", func(p *Plan) { p.Assistant = "" },
			func(d *config.Document) error { return d.Set("/assistant/name", p.Assistant) }})
	}
	for _, id := range p.Owners {
		out = append(out, edit{"the owner " + id, func(p *Plan) { p.Owners = without(p.Owners, id) },
			func(d *config.Document) error {
				return d.Set(config.Pointer("people", id), config.Person{Role: "owner"})
			}})
	}
	for _, g := range p.Groups {
		if g.Configure {
			out = append(out, edit{"group " + g.Folder, func(p *Plan) {
				p.Groups = slices.DeleteFunc(slices.Clone(p.Groups), func(o Group) bool { return o.Name == g.Name })
			}, g.edit})
		}
	}
	for i, name := range slices.Sorted(mapKeys(p.Servers)) {
		words := p.Added[i] // in the same order
		out = append(out, edit{"MCP server " + name, func(p *Plan) { delete(p.Servers, name); p.Added = without(p.Added, words) },
			func(d *config.Document) error { return d.Set(config.Pointer("mcpServers", name), p.Servers[name]) }})
	}
	return out
}

func without(list []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == one })
}

// Fit takes out of a plan what the configuration cannot hold, and names it with the
// configuration's own words. data is its text.
func (p *Plan) Fit(file string, data []byte, o config.Options) {
	for _, e := range p.edits() {
		next, err := config.EditBytes(file, data, o, e.do)
		if err == nil {
			data = next
			continue
		}
		p.Left = append(p.Left, Left{e.what, strings.Join(strings.Fields(err.Error()), " ")})
		e.drop(p)
	}
}

// Edit writes the groups, people and servers of a plan into the configuration.
func (p Plan) Edit(d *config.Document) error {
	for _, e := range p.edits() {
		if err := e.do(d); err != nil {
			return err
		}
	}
	return nil
}

// edit adds the group, and never a right to one that was here: of main, which is always
// here, the owner's own chats and folders.
func (g Group) edit(d *config.Document) error {
	if g.Name != chat.Main {
		return d.AddGroup(string(g.Name), config.Group{Chats: g.Chats, Trigger: g.Trigger, Senders: g.Senders, Mounts: g.Mounts})
	}
	for _, c := range g.Chats {
		if err := d.AddChat(string(g.Name), c); err != nil {
			return err
		}
	}
	for _, m := range g.Mounts {
		if err := d.AddMount(string(g.Name), m); err != nil {
			return err
		}
	}
	return nil
}

// Apply carries a plan out, but for the configuration and the credential, which its
// caller does before and after. Each step is one that can be repeated.
func (in *Installation) Apply(ctx context.Context, p Plan, t Target) (Report, error) {
	r := Report{Groups: []Done{}}
	for i := range p.Groups {
		done, err := in.group(ctx, p, &p.Groups[i], t, &r)
		if err != nil {
			return r, fmt.Errorf("group %s: %w", p.Groups[i].Name, err)
		}
		r.Groups = append(r.Groups, done)
	}
	return r, nil
}

// Begin notes which groups are taken over, before anything of them is.
func (p Plan) Begin(ctx context.Context, s *store.Store, now time.Time) error {
	for _, g := range p.Groups {
		if g.note.Begun.IsZero() {
			if err := setNote(ctx, s, g.Name, Note{From: p.From, Folder: g.Folder, Begun: now}); err != nil {
				return err
			}
		}
	}
	return nil
}

func setNote(ctx context.Context, s *store.Store, g chat.Group, n Note) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return s.SetMeta(ctx, noteKey(g), string(text))
}

func (in *Installation) group(ctx context.Context, p Plan, g *Group, t Target, r *Report) (Done, error) {
	done := Done{Group: g.Name}
	uid, err := t.UID(ctx, g.Name)
	if err != nil {
		return done, err
	}
	if err := in.files(g.Folder, t.Machine.GroupDir(g.Name), "workspace", uid, 0o700, t.Memory, &done, r); err != nil {
		return done, err
	}
	if g.Name == chat.Main {
		mode := os.FileMode(0o700)
		if uid != 0 {
			mode = 0o755 // all groups read it
		}
		if err := in.files("global", filepath.Dir(t.Machine.GlobalDir), filepath.Base(t.Machine.GlobalDir), uid, mode, t.Global, &done, r); err != nil {
			return done, err
		}
	}
	if done.Session, err = in.session(ctx, p, g, t, uid, r); err != nil {
		return done, err
	}
	if done.Messages, err = in.messages(ctx, p, g, t, r); err != nil {
		return done, err
	}
	for _, one := range g.Tasks {
		e := audit.Entry{At: t.Now(), Kind: audit.TaskChanged, Group: g.Name,
			Data:  audit.TaskChangedData{Act: "add", ID: one.ID, Task: one, By: "the owner, by an import", Reason: one.Reason},
			Brief: audit.TaskChangedData{Act: "add", ID: one.ID, By: "the owner, by an import", Reason: one.Reason}}
		err := t.Store.AddTask(ctx, one, t.Config.Limits.Tasks, e)
		if errors.Is(err, store.ErrFull) {
			r.Left = append(r.Left, Left{"task " + string(one.ID) + " of group " + string(g.Name), err.Error()})
			continue
		}
		if err != nil {
			return done, err
		}
		done.Tasks++
	}
	return done, in.finish(ctx, p, g, t)
}

func (in *Installation) finish(ctx context.Context, p Plan, g *Group, t Target) error {
	e := audit.Entry{At: t.Now(), Kind: audit.OwnerActed, Group: g.Name, Data: audit.OwnerActedData{Act: "import", Target: "group " + string(g.Name), Detail: p.From}}
	if err := t.Store.Record(ctx, e); err != nil {
		return err
	}
	n := Note{From: p.From, Folder: g.Folder, Begun: g.note.Begun, Done: t.Now()}
	if n.Begun.IsZero() {
		n.Begun = n.Done
	}
	return setNote(ctx, t.Store, g.Name, n)
}

// files copies a folder of the old groups into one of ours.
func (in *Installation) files(folder, parent, name string, uid int, mode os.FileMode, ours string, done *Done, r *Report) error {
	if f, ok := in.Old.Folders[folder]; !ok || f.Why != "" || f.Files == 0 {
		return nil
	}
	to, err := openTree(parent, name, uid, mode)
	if err != nil {
		return err
	}
	defer to.close()
	under := path.Join(groupsDir, folder)
	visit := func(rel string, dir bool, st unix.Stat_t) error {
		if dir {
			if err := to.folder(rel); err != nil {
				r.Left = append(r.Left, Left{path.Join(under, rel), err.Error()})
			}
			return nil
		}
		first := ""
		if rel == "CLAUDE.md" {
			first = ours
		}
		return in.file(to, path.Join(under, rel), rel, first, done, r)
	}
	return in.walk(folder, visit, func(string, string) {}) // the plan named what is left
}

// file copies one file. That it cannot be copied ends nothing.
func (in *Installation) file(to *tree, from, rel, ours string, done *Done, r *Report) error {
	src, err := beneath.File(in.root, from)
	if err != nil {
		r.Left = append(r.Left, Left{from, cannot(err)})
		return nil
	}
	defer src.Close()
	what, err := to.put(src, rel, ours, in.Old.Env.secrets)
	var no errLeft
	switch {
	case errors.As(err, &no):
		r.Left = append(r.Left, Left{from, no.Error()})
		return nil
	case err != nil:
		return err
	case what == isThere:
		done.Same++
	default:
		done.Files++
	}
	return nil
}

// session copies the transcript of the conversation that goes on, and has the group
// remember it.
func (in *Installation) session(ctx context.Context, p Plan, g *Group, t Target, uid int, r *Report) (bool, error) {
	if g.Session == "" {
		return false, nil
	}
	rel := strings.TrimPrefix(agent.ClaudeTranscript(g.Session), grant.ClaudeConfig+"/") // projects/FOLDER/ID.jsonl
	dirs := strings.Split(path.Dir(rel), "/")
	to, err := openTree(t.Machine.ClaudeStateDir(g.Name), dirs[0], uid, 0o700)
	if err != nil {
		return false, err
	}
	defer to.close()
	inside := path.Join(dirs[1:]...)
	if err := to.folder(inside); err != nil {
		return false, err
	}
	var files Done
	before := len(r.Left)
	err = in.file(to, talkPath(g.Folder, g.Session), path.Join(inside, path.Base(rel)), "", &files, r)
	if err != nil || len(r.Left) > before {
		return false, err
	}
	is, err := t.Store.Adopt(ctx, g.Name, g.Session, p.From)
	if err == nil && !is {
		r.Left = append(r.Left, Left{"the conversation of group " + g.Folder, "the group has one of its own here"})
	}
	return is, err
}

// batch is how many messages are kept in one transaction.
const batch = 250

// messages copies the history of a group's chats.
func (in *Installation) messages(ctx context.Context, p Plan, g *Group, t Target, r *Report) (total int, err error) {
	if in.db == nil || len(g.jids) == 0 {
		return 0, nil
	}
	var past []store.Past
	odd := 0
	flush := func() error {
		if len(past) == 0 {
			return nil
		}
		n, err := t.Store.AddPast(ctx, g.Name, past, t.Config.Limits.ContextMessages, p.From)
		total, past = total+n, past[:0]
		return err
	}
	_, err = in.db.Messages(ctx, func(m oldstore.Message) error {
		to := g.jids[m.JID]
		if to == "" || in.expired(m) {
			return nil
		}
		one, ok := in.past(g, m, to, t)
		if !ok {
			odd++
			return nil
		}
		if past = append(past, one); len(past) == batch {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if odd > 0 {
		r.Left = append(r.Left, Left{fmt.Sprintf("%d messages of group %s", odd, g.Folder), "they have no id, no sender or no text"})
	}
	return total, err
}

// past is an old message as it is kept here. Nothing in it says that the owner or we
// wrote it in a way that gives a right.
func (in *Installation) past(g *Group, m oldstore.Message, to string, t Target) (store.Past, bool) {
	at, err := chat.ParseAddress(to)
	if err != nil || m.ID == "" || len(m.ID) > 300 || m.Text == "" || m.Sender == "" {
		return store.Past{}, false
	}
	bot := m.Bot || m.FromMe && strings.HasPrefix(m.Text, in.called()+":")
	_, team, _ := strings.Cut(to, ":")
	team, _, _ = strings.Cut(team, "/")
	sender, err := person(m.JID, m.Sender, team)
	if err != nil {
		sender = string(at.Channel) + ":" + m.Sender
	}
	_, id, _ := strings.Cut(sender, ":")
	text := in.Old.Env.hide(m.Text)
	cut := m.Cut
	if most := int(t.Config.Limits.MessageSize); len(text) > most {
		text, cut = strings.ToValidUTF8(text[:most], ""), true
	}
	sent := oldstore.Time(m.Time)
	open := err == nil && !bot && sent.After(oldstore.Time(in.Old.Cursors[m.JID])) && t.Speaks(g.Name, sender)
	return store.Past{Open: open, Inbound: chat.Inbound{
		From: at, ID: chat.FromNetwork(chat.MessageID(m.ID)), Sender: chat.Sender{ID: chat.SenderID(id), Name: short(m.Name), Self: bot},
		Text: text, Sent: sent, Truncated: cut,
	}}, true
}

func (in *Installation) called() string {
	if name := in.Old.Env.Assistant; name != "" {
		return name
	}
	return config.Default().Assistant.Name
}

// short is a name that somebody chose, as long as one may be.
func short(name string) string {
	if len(name) > 200 {
		name = strings.ToValidUTF8(name[:200], "")
	}
	return name
}
