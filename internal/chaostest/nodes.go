package chaostest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
	"nanoclaw/internal/store/storetest"
)

// nodeNames are the nodes of a cluster.
var nodeNames = []string{"one", "two", "three"}

// pinned are the rooms whose groups stay on a node, and free those that may move.
var (
	pinned = map[chat.ChatID]string{"a": "one", "b": "two"}
	free   = []chat.ChatID{"c", "d", "e"}
)

// Rooms on the second node, and not in the crowd: in one the owner is asked before each
// run, in the other a run is stopped.
const asking, stopping chat.ChatID = "asking", "stopping"

// cluster is three hosts that share a database, each with a data folder of its own.
type cluster struct {
	*campaign
	server   *storetest.Server
	database string
	nodes    map[string]*install
	running  map[string]*process
}

// nodesConfiguration is the same on each node.
func nodesConfiguration(database, groups string) string {
	var rooms strings.Builder
	for _, room := range append(slices.Sorted(maps.Keys(pinned)), free...) {
		fmt.Fprintf(&rooms, `, %q: {"mode": "host", "hostModeAllowed": true, "confirm": "never", "chats": ["chaos:%s"], "senders": ["chaos:ann"], "trigger": "always", "node": %q}`,
			room, room, pinned[room])
	}
	for room, confirm := range map[chat.ChatID]string{asking: "each", stopping: "never"} {
		fmt.Fprintf(&rooms, `, %q: {"mode": "host", "hostModeAllowed": true, "confirm": %q, "chats": ["chaos:%s"], "senders": ["chaos:ann"], "trigger": "always", "node": "two"}`,
			room, confirm, room)
	}
	return fmt.Sprintf(`{
		"version": 1, "database": %q, "nodes": {"name": "${NODE}", "groups": %q},
		"hostMode": {"enabled": true, "runsPerHour": 100000}, "agent": {"kind": "shell"},
		"rates": {"group": {"messagesPerMinute": 100000, "runsPerDay": 100000}, "sender": {"messagesPerMinute": 100000, "runsPerDay": 100000},
			"owner": {"messagesPerMinute": 100000, "runsPerDay": 100000}},
		"people": {"chaos:boss": {"role": "owner"}},
		"groups": {"main": {"mode": "host", "hostModeAllowed": true, "chats": ["chaos:boss"]}%s},
	}`, database, groups, rooms.String())
}

// openCluster starts a server and makes the nodes, which do not run yet. The first
// start of the first node makes the key of the audit log, and the others get it.
func (o Options) openCluster(ctx context.Context) (c *cluster, done func(), err error) {
	server, err := storetest.Start()
	if err != nil {
		return nil, nil, err
	}
	network, err := NewNetwork(filepath.Join(o.Dir, "net"), o.Seed)
	if err != nil {
		return nil, nil, errors.Join(err, server.Remove())
	}
	c = &cluster{server: server, nodes: map[string]*install{}, running: map[string]*process{}}
	c.campaign = &campaign{Options: o, net: network, judge: newJudge(), began: time.Now(), rng: rand.New(rand.NewPCG(o.Seed, 2))}
	c.report.Reached = map[steps.Step]int{}
	done = func() {
		for _, p := range c.running {
			p.kill()
		}
		for _, i := range c.nodes {
			i.log.Close()
		}
		network.Close()
		if err := server.Remove(); err != nil {
			c.say("the server could not be removed: %v", err)
		}
	}
	if err := c.make(ctx); err != nil {
		done()
		return nil, nil, err
	}
	return c, done, nil
}

func (c *cluster) make(ctx context.Context) (err error) {
	if c.database, err = c.server.Store(ctx); err != nil {
		return err
	}
	groups := filepath.Join(c.Dir, "groups")
	if err := os.Mkdir(groups, 0o700); err != nil {
		return err
	}
	for i, name := range nodeNames {
		c.nodes[name], err = newInstall(filepath.Join(c.Dir, fmt.Sprint(i)), c.Program, nodesConfiguration(c.database, groups),
			"NANOCLAW_CHAOS_NET="+filepath.Join(c.Dir, "net"), "NODE="+name)
		if err != nil {
			return err
		}
	}
	first := c.nodes[nodeNames[0]]
	c.install = first
	if err := c.up(nodeNames[0]); err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(first.paths.DataDir, audit.KeyFile))
	if err != nil {
		return err
	}
	for _, name := range nodeNames[1:] {
		if err := os.WriteFile(filepath.Join(c.nodes[name].paths.DataDir, audit.KeyFile), key, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// up starts a node that does not run, and waits until it does.
func (c *cluster) up(name string) error {
	if c.running[name] != nil {
		return nil
	}
	p, err := c.nodes[name].start()
	if err != nil {
		return err
	}
	c.running[name] = p
	if err := p.awaitReady(slow); err != nil {
		return fmt.Errorf("node %s: %w", name, err)
	}
	return nil
}

func (c *cluster) allUp() error {
	for _, name := range nodeNames {
		if err := c.up(name); err != nil {
			return err
		}
	}
	return nil
}

// down kills a node.
func (c *cluster) down(name string) {
	if p := c.running[name]; p != nil {
		p.kill()
		delete(c.running, name)
		c.count("")
		c.say("killed node %s", name)
	}
}

// holder is the node that has a duty, "" for none.
func (c *cluster) holder(ctx context.Context, r *store.Reader, duty string) (string, error) {
	all, err := r.Nodes(ctx, time.Now())
	for _, n := range all {
		if slices.ContainsFunc(n.Duties, func(d store.Duty) bool { return d.Name == duty }) {
			return n.Name, nil
		}
	}
	return "", err
}

// write has a person write a word in a room.
func (c *cluster) write(room chat.ChatID) word {
	w := c.judge.write(room)
	c.net.Say(room, "ann", chat.MessageID(w.String()), "echo "+w.String())
	return w
}

// answered waits until nothing that was written in rooms waits for its end.
func (c *cluster) answered(ctx context.Context, rooms ...chat.ChatID) error {
	for until := time.Now().Add(slow); ; {
		_, changed := c.net.Shown(0)
		c.judge.look(c.net)
		if !slices.ContainsFunc(rooms, func(r chat.ChatID) bool { return c.judge.waiting(r) > 0 }) {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("messages in %v have no answer: %w", rooms, errSlow)
		}
		select {
		case <-changed:
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// crowd writes in all rooms, a few messages ahead of the answers.
func (c *cluster) crowd(ctx context.Context) {
	for ctx.Err() == nil {
		_, changed := c.net.Shown(0)
		c.judge.look(c.net)
		for _, room := range append(slices.Collect(maps.Keys(pinned)), free...) {
			for c.judge.waiting(room) < 2 {
				c.write(room)
			}
		}
		select {
		case <-changed:
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// RunNodes kills nodes and restarts their server at random for o.Length, while people
// write, and at the end has everything brought to its end.
func RunNodes(ctx context.Context, o Options) (Report, error) {
	c, done, err := o.openCluster(ctx)
	if err != nil {
		return Report{}, err
	}
	defer done()
	crowd, stop := context.WithCancel(ctx)
	var people sync.WaitGroup
	people.Go(func() { c.crowd(crowd) })
	err = c.killNodes(ctx)
	stop()
	people.Wait()
	if err != nil {
		return c.report, err
	}
	return c.report, c.settleNodes(ctx)
}

// killNodes kills one node after the other. It may be started again at once, or long
// after others took over.
func (c *cluster) killNodes(ctx context.Context) error {
	if err := c.allUp(); err != nil {
		return err
	}
	for until := time.Now().Add(c.Length); time.Now().Before(until) && ctx.Err() == nil; {
		if c.rng.IntN(12) == 0 {
			if err := c.restartServer(); err != nil {
				return err
			}
		}
		name := nodeNames[c.rng.IntN(len(nodeNames))]
		c.down(name)
		life := time.Duration(c.rng.IntN(1500)) * time.Millisecond
		if c.rng.IntN(8) == 0 {
			life += store.LeaseTime + 2*time.Second // the others take over meanwhile
		}
		select {
		case <-time.After(life):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := c.up(name); err != nil {
			return err
		}
		if c.rng.IntN(4) == 0 {
			c.install = c.nodes[name]
			c.addTaskTo(ctx, "c")
		}
	}
	return ctx.Err()
}

// restartServer ends the server in one of two ways and starts it again.
func (c *cluster) restartServer() error {
	end := c.server.Stop
	if c.rng.IntN(2) == 0 {
		end = c.server.Crash
	}
	if err := end(); err != nil {
		return err
	}
	c.say("the server was ended and is started again")
	return c.server.Run()
}

// settleNodes waits until everything has its end, and judges it.
func (c *cluster) settleNodes(ctx context.Context) error {
	c.net.Calm(true)
	if err := c.allUp(); err != nil {
		return err
	}
	reader, err := store.OpenDatabaseReader(ctx, c.database)
	if err != nil {
		return err
	}
	defer reader.Close()
	var v verdict
	for until := time.Now().Add(slow); ; {
		_, changed := c.net.Shown(0)
		c.judge.look(c.net)
		v = c.judge.conclude(func(w word) (bool, string) { return c.fate(ctx, reader, w) })
		if len(v.lost) == 0 && c.net.Untaken() == 0 || time.Now().After(until) {
			break
		}
		select {
		case <-changed:
		case <-time.After(500 * time.Millisecond):
		}
	}
	if n := c.net.Untaken(); n > 0 {
		c.problem("the nodes never took %d messages", n)
	}
	for _, name := range nodeNames {
		if err := c.running[name].stop(slow); err != nil {
			c.problem("node %s did not stop: %v", name, err)
		}
		delete(c.running, name)
	}
	c.conclude(ctx, v)
	return nil
}

// addTaskTo adds a task of a group for one time.
func (c *cluster) addTaskTo(ctx context.Context, g chat.Group) {
	w := c.judge.write(scheduled)
	at := time.Now().Add(2 * time.Second).UTC().Format("2006-01-02T15:04:05")
	out, err := c.command(ctx, nil, "task", "add", "--group", string(g), "--host-mode", "--zone", "UTC", "--once", at, "echo "+w.String())
	if err != nil {
		c.say("a task was not added for certain: %v %s", err, strings.TrimSpace(out))
		c.judge.forget(w)
	}
}
