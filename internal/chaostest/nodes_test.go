package chaostest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/store"
)

// logged gives a folder and a log that is shown when the test fails.
func logged(t *testing.T, dir string) *bytes.Buffer {
	var log bytes.Buffer
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		t.Log(log.String())
		logs, _ := filepath.Glob(filepath.Join(dir, "*", "host.log"))
		for _, name := range logs {
			text, _ := os.ReadFile(name)
			t.Logf("%s:\n%s", name, text[max(0, len(text)-6000):])
		}
	})
	return &log
}

// TestThreeNodes has three hosts share a database. Each serves the group that is its
// own; whichever is killed, the others go on with what it did: with the connection to
// the network, the schedules, the audit log, and the groups that may move. A task that
// is due meanwhile is done once.
func TestThreeNodes(t *testing.T) {
	dir, _, program := programs(t)
	ctx := t.Context()
	c, done, err := Options{Program: program, Dir: dir, Seed: 1, Log: logged(t, dir)}.openCluster(ctx)
	must(t, err)
	defer done()
	c.net.Calm(true)
	must(t, c.allUp())
	r, err := store.OpenDatabaseReader(ctx, c.database)
	must(t, err)
	defer r.Close()

	for _, room := range []chat.ChatID{"a", "b", "c"} {
		c.write(room)
	}
	must(t, c.answered(ctx, "a", "b", "c"))
	all, err := r.Nodes(ctx, time.Now())
	must(t, err)
	for i, n := range all {
		if !n.Lives || n.Version == "" {
			t.Errorf("node %d is %+v", i, n)
		}
		for room, node := range pinned {
			if has := slices.Contains(n.Groups, chat.Group(room)); has != (node == n.Name) {
				t.Errorf("%s serves %v", n.Name, n.Groups)
			}
		}
	}
	out, err := c.nodes["three"].command(ctx, nil, "nodes")
	must(t, err)
	for _, want := range []string{"one ", "two ", "three ", "channel chaos", "scheduler", "sequencer"} {
		if !strings.Contains(out, want) {
			t.Errorf("nanoclaw nodes says\n%swithout %q", out, want)
		}
	}

	for _, duty := range []string{"channel chaos", "scheduler", store.Sequencer} {
		name, err := c.holder(ctx, r, duty)
		must(t, err)
		if name == "" {
			t.Fatalf("nobody holds %q", duty)
		}
		// Whichever node the task is added at, and whoever is killed before it is due.
		c.install = c.nodes[nodeNames[(slices.Index(nodeNames, name)+1)%3]]
		c.addTaskTo(ctx, "c")
		c.down(name)
		rooms := []chat.ChatID{"c", "d", "e"}
		for room, node := range pinned {
			if node != name {
				rooms = append(rooms, room)
			}
		}
		for _, room := range rooms {
			c.write(room)
		}
		must(t, c.answered(ctx, append(rooms, scheduled)...))
		if now, err := c.holder(ctx, r, duty); err != nil || now == name {
			t.Errorf("%q is held by %q, who is dead: %v", duty, now, err)
		}
		must(t, c.up(name))
	}
	must(t, c.settleNodes(ctx))
	for _, f := range c.report.Failures() {
		t.Error(f)
	}
	if c.report.messages < 18 || c.report.answered != c.report.messages-c.report.spoken {
		t.Errorf("%d messages, %s", c.report.messages, c.report.String())
	}
}

// TestNodesThatDoNotFit are refused in words, before they change anything.
func TestNodesThatDoNotFit(t *testing.T) {
	dir, _, program := programs(t)
	ctx := t.Context()
	c, done, err := Options{Program: program, Dir: dir, Seed: 1, Log: logged(t, dir)}.openCluster(ctx)
	must(t, err)
	defer done()
	refused := func(name, want string, env ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, slow)
		defer cancel()
		out, err := c.nodes[name].command(ctx, env, "run")
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s\nwant %q", name, err, out, want)
		}
	}
	refused("two", `a node with the name "one" runs`, "NODE=one")
	key := filepath.Join(c.nodes["two"].paths.DataDir, audit.KeyFile)
	must(t, os.Remove(key))
	refused("two", "signed with another key")
	other := filepath.Join(dir, "other")
	must(t, os.Mkdir(other, 0o700))
	text, err := os.ReadFile(c.nodes["three"].paths.Config)
	must(t, err)
	must(t, os.WriteFile(c.nodes["three"].paths.Config, bytes.ReplaceAll(text, []byte(filepath.Join(dir, "groups")), []byte(other)), 0o600))
	refused("three", "is not the folder that the other nodes have")
	must(t, os.WriteFile(c.nodes["three"].paths.Config, bytes.ReplaceAll(text, []byte(`"name": "${NODE}"`), []byte(`"name": ""`)), 0o600))
	refused("three", "nodes.groups")
}

// TestNodesAreKilled kills nodes and their server at random for a moment. make chaos
// with CHAOS_DATABASE=postgres does more of it.
func TestNodesAreKilled(t *testing.T) {
	dir, _, program := programs(t)
	r, err := RunNodes(t.Context(), Options{Program: program, Dir: dir, Seed: 5, Length: 8 * time.Second, Log: logged(t, dir)})
	must(t, err)
	for _, f := range r.Failures() {
		t.Error(f)
	}
	if r.Kills == 0 || r.messages == 0 {
		t.Error(r.Line())
	}
	t.Log(r.Line())
}
