package chaostest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
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
// own; when one is killed the others go on with what it did: with the connection to
// the network, the schedules, the audit log, and the groups that may move. So they do
// after their server was restarted. A task that is due meanwhile is done once. make
// chaos with CHAOS_DATABASE=postgres does more of it, at random.
func TestThreeNodes(t *testing.T) {
	dir, _, program := programs(t)
	ctx := t.Context()
	c, done, err := Options{Program: program, Dir: dir, Seed: 1, Log: logged(t, dir)}.openCluster(ctx)
	must(t, err)
	defer done()
	refuseUnfit(t, c)
	must(t, c.allUp())
	r, err := store.OpenDatabaseReader(ctx, c.database)
	must(t, err)
	defer r.Close()

	for _, room := range []chat.ChatID{"a", "b", "c"} {
		c.write(room)
	}
	must(t, c.answered(ctx, "a", "b", "c"))
	lookAtNodes(t, c, r)

	const duty = "channel chaos"
	for range 2 {
		name, err := c.holder(ctx, r, duty)
		must(t, err)
		if name == "" {
			t.Fatalf("nobody holds %q", duty)
		}
		// Added at a node that lives on, and due while its duty is nobody's.
		c.install = c.nodes[nodeNames[(slices.Index(nodeNames, name)+1)%len(nodeNames)]]
		c.addTaskTo(ctx, "c")
		c.down(name)
		rooms := slices.Clone(free)
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
		must(t, c.restartServer())
	}
	for room := range pinned {
		c.write(room)
	}
	must(t, c.settleNodes(ctx))
	for _, f := range c.report.Failures() {
		t.Error(f)
	}
	if c.report.messages < 15 || c.report.Kills != 2 {
		t.Errorf("%s: %s", c.report.Line(), c.report.String())
	}
}

// lookAtNodes compares what is told of the nodes with what they are.
func lookAtNodes(t *testing.T, c *cluster, r *store.Reader) {
	t.Helper()
	all, err := r.Nodes(t.Context(), time.Now())
	must(t, err)
	for _, n := range all {
		if !n.Lives || n.Version == "" {
			t.Errorf("%s is %+v", n.Name, n)
		}
		for room, node := range pinned {
			if has := slices.Contains(n.Groups, chat.Group(room)); has != (node == n.Name) {
				t.Errorf("%s serves %v", n.Name, n.Groups)
			}
		}
	}
	out, err := c.nodes["three"].command(t.Context(), nil, "nodes")
	must(t, err)
	for _, want := range []string{"one ", "two ", "three ", "channel chaos", "scheduler", "sequencer"} {
		if !strings.Contains(out, want) {
			t.Errorf("nanoclaw nodes says\n%swithout %q", out, want)
		}
	}
}

// refuseUnfit tries what must not join the others, beside the one that runs.
func refuseUnfit(t *testing.T, c *cluster) {
	t.Helper()
	refused := func(name, want string, env ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), slow)
		defer cancel()
		out, err := c.nodes[name].command(ctx, env, "run")
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s\nwant %q", name, err, out, want)
		}
	}
	refused("two", `a node with the name "one" runs`, "NODE=one")

	key := filepath.Join(c.nodes["two"].paths.DataDir, audit.KeyFile)
	right, err := os.ReadFile(key)
	must(t, err)
	must(t, os.Remove(key))
	refused("two", "signed with another key")
	must(t, os.WriteFile(key, right, 0o600))

	file := c.nodes["three"].paths.Config
	fit, err := os.ReadFile(file)
	must(t, err)
	other := filepath.Join(c.Dir, "other")
	must(t, os.Mkdir(other, 0o700))
	must(t, os.WriteFile(file, bytes.ReplaceAll(fit, []byte(filepath.Join(c.Dir, "groups")), []byte(other)), 0o600))
	refused("three", "is not the folder that the other nodes have")
	// One that would have the database to itself.
	alone := regexp.MustCompile(`"nodes": \{[^}]*\}[^}]*\},`).ReplaceAll(fit, nil)
	must(t, os.WriteFile(file, alone, 0o600))
	refused("three", "is in use by another process")
	must(t, os.WriteFile(file, fit, 0o600))
}
