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

// duty is the connection to the network of these tests.
const duty = "channel chaos"

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

	askAcross(t, c, r)
	stopAcross(t, c, r)

	rounds := 1
	if os.Getenv("NANOCLAW_TEST_LONG") != "" {
		rounds = 3
	}
	for range rounds {
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
	if c.report.messages < 10 || c.report.Kills != rounds {
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

// askAcross has the owner answer where the connection is what a node asks that has none.
func askAcross(t *testing.T, c *cluster, r *store.Reader) {
	t.Helper()
	if name, err := c.holder(t.Context(), r, duty); err != nil || name != "one" {
		t.Fatalf("%q has the connection: %v; this test wants it at the first node", name, err)
	}
	c.write(asking)
	var code string
	eventually(t, "the owner is not asked", func() bool {
		shown, _ := c.net.Shown(0)
		for _, s := range shown {
			if m := approve.FindStringSubmatch(s.Text); s.To.Chat == "boss" && m != nil {
				code = m[1]
			}
		}
		return code != ""
	})
	if n := c.judge.waiting(asking); n != 1 {
		t.Fatalf("%d messages wait for the answer, want 1", n)
	}
	c.net.Say("boss", "boss", "yes", "approve "+code)
	must(t, c.answered(t.Context(), asking))
}

// stopAcross has one node asked to stop what another runs.
func stopAcross(t *testing.T, c *cluster, r *store.Reader) {
	t.Helper()
	live := func() []store.RunInfo {
		runs, err := r.ListRuns(t.Context(), store.RunFilter{Group: chat.Group(stopping), Live: true})
		must(t, err)
		return runs
	}
	w := c.judge.write(stopping)
	c.net.Say(stopping, "ann", chat.MessageID(w.String()), "sleep 600; echo "+w.String())
	eventually(t, "no run began", func() bool { return len(live()) == 1 })
	run := live()[0].ID
	if out, err := c.nodes["three"].command(t.Context(), nil, "stop", "--group", string(stopping)); err != nil || !strings.Contains(out, string(run)) {
		t.Errorf("stop says %v: %s\nwant it to name %s", err, out, run)
	}
	eventually(t, "the run goes on", func() bool { return len(live()) == 0 })
	if info, err := r.Run(t.Context(), run); err != nil || info.State != "cancelled" {
		t.Errorf("the run that was stopped elsewhere is %+v, %v", info, err)
	}
}

// eventually waits for what other processes do.
func eventually(t *testing.T, not string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(slow); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal(not)
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
