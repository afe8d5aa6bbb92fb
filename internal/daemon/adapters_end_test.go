package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/external"
	"nanoclaw/internal/channel/supervise"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
)

// failingAdapter ends badly three times: killed in the middle of a line, stopped in the
// middle of a delivery, in a flood. Its network has six messages, and takes an answer
// that it has already for the same.
const failingAdapter = `#!/usr/bin/env python3
import hashlib, json, os, signal, sys
home = os.environ["HOME"]
def text(name):
    try:
        return open(os.path.join(home, name)).read()
    except FileNotFoundError:
        return ""
def keep(name, words):
    with open(os.path.join(home, name), "a") as f:
        f.write(words + "\n")
    os.chmod(os.path.join(home, name), 0o644)
def write(s):
    sys.stdout.write(s)
    sys.stdout.flush()
def say(**line):
    write(json.dumps(line) + "\n")
def message(n):
    return json.dumps({"type": "message", "seq": n, "message": {"id": "m%d" % n, "chat": "team", "sender": "ann", "text": "echo answer $((%d))" % n, "sent": "2026-01-02T03:04:0%dZ" % n, "mentioned": True}}) + "\n"
def deliver(line):
    name = "out-" + hashlib.sha256(line["key"].encode()).hexdigest()[:20]
    if not os.path.exists(os.path.join(home, name)):
        keep(name, "\n".join(line["parts"]))
    say(type="result", call=line["call"], id=name)
def serve(until):
    for line in sys.stdin:
        line = json.loads(line)
        if line["type"] == "ack":
            keep("stored", "m%d" % line["seq"])
        elif line["type"] == "ping":
            say(type="pong", nonce=line["nonce"])
        elif line["type"] == "deliver" and life != 1:
            deliver(line)
        if until(line):
            return
def stored(n):
    return lambda line: "m%d\n" % n in text("stored")
keep("lives", "x")
life = len(text("lives").split()) - 1
sys.stdin.readline()
say(type="hello", version=1, name="failing", abilities=[], markup="terminal")
say(type="state", state="connected", self="failing")
if life == 0:
    write(message(1))
    serve(stored(1))
    write(message(2)[:40])
    os.kill(os.getpid(), signal.SIGKILL)
elif life == 1:
    write(message(2) + message(3))
    asked = []
    serve(lambda line: (line["type"] == "deliver" and asked.append(line)) or (asked and stored(3)(line)))
    os.kill(os.getpid(), signal.SIGSTOP)
elif life == 2:
    write(message(4))
    serve(stored(4))
    while True:
        write('{"type":"pong","nonce":"x"}\n' * 1000)
write(message(5) + message(6))
serve(lambda line: False)
`

// An adapter that crashes, hangs and floods is ended each time and started anew, in a
// boundary of its own, and nothing that its network said is lost or answered twice.
func TestAdapterFails(t *testing.T) {
	i, home := boxInstall(t, failingAdapter, "unused")
	d := i.open()
	var mu sync.Mutex
	var causes []string
	c := external.New(external.Options{
		ID: "box", Secrets: map[string]string{"token": boxSecret}, Ping: 200 * time.Millisecond,
		Supervise: supervise.Options{First: time.Millisecond, Most: 10 * time.Millisecond, Silence: 6 * time.Second},
		Start:     func(ctx context.Context) (external.Program, error) { return d.startAdapter(ctx, "box") },
	})
	d.addChannel(c)
	c.OnStatus(func(s channel.Status) {
		d.networkChanged("box", s)
		mu.Lock()
		defer mu.Unlock()
		if s.State == channel.Waiting {
			causes = append(causes, s.Cause)
		}
	})
	stop := i.serve(d)

	var answers string
	awaited(t, "the last answer", func() bool {
		answers = ""
		files, err := filepath.Glob(filepath.Join(home, "out-*"))
		must(t, err)
		for _, f := range files {
			text, err := os.ReadFile(f)
			must(t, err)
			answers += string(text)
		}
		return strings.Contains(answers, "answer 6")
	})
	for n := 1; n <= 6; n++ {
		if got := strings.Count(answers, fmt.Sprint("answer ", n)); got != 1 {
			t.Errorf("message %d was answered %d times:\n%s", n, got, answers)
		}
		known, err := d.store.Known(t.Context(), chat.Address{Channel: "box", Chat: "team"}, chat.MessageID(fmt.Sprint("m", n)))
		must(t, err)
		if !known {
			t.Errorf("message %d is lost", n)
		}
	}
	mu.Lock()
	for k, want := range []string{"the adapter ended", "no sign of life", "more than 500 lines in a second"} {
		if k >= len(causes) || !strings.Contains(causes[k], want) {
			t.Errorf("end %d was for %q, want %q", k, causes, want)
			break
		}
	}
	mu.Unlock()
	sessions := func(kind audit.Kind) (n int) {
		lines, err := d.AuditList(t.Context(), control.AuditQuery{Kind: string(kind)})
		must(t, err)
		for _, e := range lines {
			if e.Group == grant.AdapterGroup("box") {
				n++
			}
		}
		return n
	}
	if began, ended := sessions(audit.SessionStarted), sessions(audit.SessionEnded); began != 4 || ended != 3 {
		t.Errorf("%d boundaries of the adapter began and %d ended, want 4 and 3", began, ended)
	}
	stop()
}
