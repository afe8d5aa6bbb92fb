package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/store"
)

// nodes is what this process knows of those that share its store.
type nodes struct {
	// name is its own, "" if it has the store to itself. It is fixed at Open.
	name string

	mu   sync.Mutex
	held map[chat.ChannelID]bool // the connections that are held here, under mu
	// paused are the groups that the owner put to rest, as they were read last, under mu.
	paused map[chat.Group]bool

	// elsewhere are the groups that another node serves.
	elsewhere atomic.Pointer[map[chat.Group]bool]
	// reload asks for what is kept in memory of the store to be read anew.
	reload signal
}

// every is how often this process is heard of and looks for others that are not. With
// store.LeaseTime that makes the longest time for which nobody does what a dead one did.
func (d *Daemon) every() time.Duration {
	if d.nodes.name == "" {
		return store.BeatEvery
	}
	return store.BeatEvery / 2
}

// ofNode is the key of what each node remembers for itself.
func (d *Daemon) ofNode(key string) string {
	if d.nodes.name == "" {
		return key
	}
	return key + "@" + d.nodes.name
}

// joinNodes checks that this process may share the store, once it knows its key.
func (d *Daemon) joinNodes(ctx context.Context) error {
	if d.nodes.name == "" {
		return nil
	}
	d.nodes.held = map[chat.ChannelID]bool{}
	d.store.OnServed(d.served)
	return d.sameKey(ctx)
}

// sameKey refuses a node that would sign the audit log with a key of its own: whichever
// node has the log has to go on where another ended.
func (d *Daemon) sameKey(ctx context.Context) error {
	head, err := d.store.Head(ctx)
	if err != nil {
		return err
	}
	if len(head.Checkpoint) > 0 {
		if _, err := audit.OpenCheckpoint(head.Checkpoint, d.key.Verifier); err != nil {
			return d.otherKey()
		}
	}
	kept, err := d.store.MetaOnce(ctx, "audit.key", d.key.Public)
	if err != nil {
		return err
	}
	if kept != d.key.Public {
		return d.otherKey()
	}
	return nil
}

func (d *Daemon) otherKey() error {
	return fmt.Errorf("the audit log of this database is signed with another key than %s: stop this node, put the %s of a node that works in its place (mode 0600), and start it again",
		filepath.Join(d.opt.Paths.DataDir, audit.KeyFile), audit.KeyFile)
}

// sharedFile marks the folder that nodes share.
const sharedFile = ".nanoclaw-nodes"

// sharedFolder checks that the folder of the groups is the one that the other nodes
// have: it holds a word that the store has too. The first node that comes writes it.
func (d *Daemon) sharedFolder(ctx context.Context) error {
	dir := d.config.Nodes.Groups
	if dir == "" {
		return nil
	}
	dir = d.machine.GroupsDir
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("nodes.groups: %s is not a folder: mount the storage that the nodes share there", dir)
	}
	word := agent.NewUUID()
	kept, err := d.store.MetaOnce(ctx, "nodes.groups", word)
	if err != nil {
		return err
	}
	mark := filepath.Join(dir, sharedFile)
	text, err := os.ReadFile(mark)
	if kept == word && errors.Is(err, fs.ErrNotExist) {
		return renameio.WriteFile(mark, []byte(word+"\n"), 0o600)
	}
	if err != nil || strings.TrimSpace(string(text)) != kept {
		return fmt.Errorf("nodes.groups: %s is not the folder that the other nodes have (no %s with the word of this database in it): mount the same storage there", dir, sharedFile)
	}
	return nil
}

// place says where a group may be served.
func (d *Daemon) place(g chat.Group) store.Place {
	return store.Place{Node: d.config.Groups[string(g)].Node, Moves: d.config.Nodes.Groups != ""}
}

// rests says why no run of a group begins here, "" if one does.
func (d *Daemon) rests(g chat.Group) string {
	if why := d.queue.Rests(g); why != "" {
		return why
	}
	if m := d.nodes.elsewhere.Load(); m != nil && (*m)[g] {
		return "another node serves this group"
	}
	return ""
}

// lookElsewhere notes which groups others serve, and has sessions end that wait here
// for messages of those.
func (d *Daemon) lookElsewhere(ctx context.Context) error {
	if d.nodes.name == "" {
		return nil
	}
	groups, err := d.store.Elsewhere(ctx)
	if err != nil {
		return err
	}
	now := map[chat.Group]bool{}
	for _, g := range groups {
		now[g] = true
	}
	for name, g := range d.config.Groups {
		if g.Node != "" {
			now[chat.Group(name)] = g.Node != d.nodes.name
		}
	}
	old := d.nodes.elsewhere.Swap(&now)
	if old == nil || !maps.Equal(*old, now) {
		d.runner.Nudge()
	}
	return nil
}

// duty does a part on one node at a time.
func (d *Daemon) duty(ctx context.Context, name string, part func(context.Context)) {
	if d.nodes.name == "" {
		part(ctx)
		return
	}
	d.while(ctx, name, part)
}

// connect runs one channel: on one node at a time, but the terminals of this machine
// on each.
func (d *Daemon) connect(ctx context.Context, c channel.Channel) {
	if d.nodes.name == "" || c.ID() == console.ID {
		d.runChannel(ctx, c)
		return
	}
	d.while(ctx, "channel "+string(c.ID()), func(ctx context.Context) {
		d.serves(c.ID(), true)
		defer d.serves(c.ID(), false)
		d.runChannel(ctx, c)
		<-ctx.Done() // one that ended by itself is not for another node to begin anew
	})
}

func (d *Daemon) serves(id chat.ChannelID, yes bool) {
	d.nodes.mu.Lock()
	d.nodes.held[id] = yes
	d.nodes.mu.Unlock()
	d.outbox.Wake()
}

// served is what this node delivers: what goes to channels that it holds, and to
// terminals that are attached here.
func (d *Daemon) served() store.Served {
	out := store.Served{Not: []chat.ChannelID{console.ID}}
	for _, g := range d.console.Chats() {
		out.But = append(out.But, console.Address(g))
	}
	d.nodes.mu.Lock()
	defer d.nodes.mu.Unlock()
	ids := map[chat.ChannelID]bool{}
	for id := range d.channels {
		ids[id] = true
	}
	for _, n := range d.networksOf() { // also one whose tokens only others have
		ids[n.id] = ids[n.id] || n.connect
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if ids[id] && id != console.ID && !d.nodes.held[id] {
			out.Not = append(out.Not, id)
		}
	}
	return out
}

// news does what follows from what any node stored.
func (d *Daemon) news(n store.News) {
	if n.What == "" || n.What == "group" {
		d.runner.Came(n.Group)
		d.queue.Wake()
		d.changed.fire()
	}
	if n.What == "" || n.What == "outbox" {
		d.outbox.Wake()
		d.changed.fire()
	}
	if n.What == "" || n.What == "tasks" {
		d.tasks.Nudge()
	}
	if n.What == "" || n.What == "audit" {
		d.sequencer.Kick()
	}
	if n.What == "" || n.What == "rights" || n.What == "meta" {
		d.nodes.reload.fire()
	}
}

// hearOthers follows the news of the other nodes until ctx ends.
func (d *Daemon) hearOthers(ctx context.Context) {
	if d.nodes.name == "" {
		return
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { d.store.Listen(ctx, d.news) })
	for {
		changed := d.nodes.reload.wait()
		if err := d.readAnew(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("what other nodes changed cannot be read", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		if !waited(ctx, gatherNews) {
			return
		}
	}
}

// gatherNews is how long news are gathered before what is in memory is read anew.
const gatherNews = 50 * time.Millisecond

// readAnew reads what is kept in memory: who rests, who may what, and what other nodes
// left for this one.
func (d *Daemon) readAnew(ctx context.Context) error {
	posts, err := d.store.Posted(ctx)
	for _, p := range posts {
		d.posted(ctx, p)
	}
	d.rights.change.Lock()
	err = errors.Join(err, d.loadRights(ctx))
	d.rights.change.Unlock()
	err = errors.Join(err, d.loadPeople(ctx))
	paused, pausedErr := d.store.PausedGroups(ctx)
	if err = errors.Join(err, pausedErr); err != nil {
		return err
	}
	d.nodes.mu.Lock()
	defer d.nodes.mu.Unlock()
	now := map[chat.Group]bool{}
	for _, p := range paused {
		now[p.Group] = true
		d.queue.Pause(p.Group, pausedWords(p))
	}
	for g := range d.nodes.paused {
		if !now[g] {
			d.queue.Resume(g)
		}
	}
	if !maps.Equal(now, d.nodes.paused) {
		d.nodes.paused = now
		d.tasks.Nudge()
		d.runner.Nudge()
		d.changed.fire()
	}
	return nil
}

// post is what one node leaves for another. Who writes the database may write one: the
// nodes trust it, as they do with everything else in it.
type post struct {
	// Answer is to a question that the other asked, and Who gave it.
	Answer *approval.Reply `json:"answer,omitempty"`
	Who    approval.Who    `json:"who,omitzero"`
	// Stop is a run of the other's that is to end.
	Stop chat.RunID `json:"stop,omitempty"`
}

func (d *Daemon) post(ctx context.Context, owner string, p post) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return d.store.Post(ctx, owner, string(text))
}

// posted does what another node asks for. It does not wait for the end of a run.
func (d *Daemon) posted(ctx context.Context, text string) {
	var p post
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		d.log.Error("what another node left cannot be read", "err", err)
		return
	}
	if p.Stop != "" {
		go func() { _, _ = d.runner.Stop(ctx, p.Stop, "") }() // its end is told where it is recorded
	}
	if p.Answer == nil {
		return
	}
	if _, err := d.desk.Answer(ctx, *p.Answer, p.Who); err != nil {
		_, err = d.outbox.Put(ctx, chat.Outbound{To: p.Who.From, Kind: chat.Notice, Text: err.Error(), Failed: true,
			Key: fmt.Sprintf("answer:%s:%s:%d", p.Who.From, p.Answer.Code, time.Now().UnixNano())})
		if err != nil {
			d.log.Error("a notice could not be stored", "err", err)
		}
	}
}

// passedOn says that the node that asked has the answer now.
const passedOn = "the answer is passed on to the node that asked"

// answerWhereAsked gives an answer to the node that asked: this one, or another that lives.
func (d *Daemon) answerWhereAsked(ctx context.Context, r approval.Reply, who approval.Who) (string, error) {
	if d.nodes.name == "" || d.desk.Has(r.Code) {
		return d.desk.Answer(ctx, r, who)
	}
	owner, err := d.store.QuestionOwner(ctx, approval.Written(r.Code))
	if err != nil {
		return "", err
	}
	if owner == "" || owner == d.store.Owner() {
		return d.desk.Answer(ctx, r, who)
	}
	return passedOn, d.post(ctx, owner, post{Answer: &r, Who: who})
}

// stopElsewhere asks the nodes that have runs to end them: one, those of a group, or
// all. It gives them.
func (d *Daemon) stopElsewhere(ctx context.Context, run chat.RunID, g chat.Group) ([]chat.RunID, error) {
	if d.nodes.name == "" {
		return nil, nil
	}
	live, err := d.store.ListRuns(ctx, store.RunFilter{Group: g, Live: true})
	var ids []chat.RunID
	for _, r := range live {
		if r.Owner == d.store.Owner() || run != "" && r.ID != run {
			continue
		}
		if err := d.post(ctx, r.Owner, post{Stop: r.ID}); err != nil {
			return ids, err
		}
		ids = append(ids, r.ID)
	}
	return ids, err
}

// openQuestions are those of this process, or of all that share the store.
func (d *Daemon) openQuestions(ctx context.Context) ([]approval.Asked, error) {
	if d.nodes.name == "" {
		return d.desk.Open(), nil
	}
	all, _, err := d.store.Questions(ctx)
	var out []approval.Asked
	for _, k := range all {
		if k.State == "" {
			out = append(out, k.Asked)
		}
	}
	return out, err
}

// keepHosts does what a node left that ended before it had done what it was told to.
func (d *Daemon) keepHosts(ctx context.Context) {
	for waited(ctx, store.LeaseTime) {
		if err := errors.Join(d.takeUpHosts(ctx), d.desk.Start(ctx)); err != nil && ctx.Err() == nil {
			d.log.Error("what another node left cannot be taken up", "err", err)
		}
	}
}

// Nodes lists the processes that share the store, none if this one has it to itself.
func (d *Daemon) Nodes(ctx context.Context) ([]control.Node, error) {
	out := []control.Node{}
	if d.nodes.name == "" {
		return out, nil
	}
	all, err := d.store.Nodes(ctx, time.Now())
	for _, n := range all {
		info := control.Node{Name: n.Name, Version: n.Version, Started: n.Started, Heard: n.Beat, Lives: n.Lives, Here: n.Owner == d.store.Owner(), Groups: n.Groups}
		for _, duty := range n.Duties {
			info.Duties = append(info.Duties, control.Duty{Name: duty.Name, Since: duty.Since})
		}
		out = append(out, info)
	}
	return out, err
}
