package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/hostlog"
	"nanoclaw/internal/task"
)

// What is planted holds this, or one of the others, and no bundle may.
var planted = []string{
	"zq-config-key", "zq-config-header", "zq-mcp-env", "zq-mcp-arg", "zq-person", "zq-prompt", "zq-folder", "zq-database", "zq-host.example",
	"zq-env-value", "zq-stored-key", "zq-stored-token", "zq-message", "zq-reply", "zq-sender", "zq-chat", "zq-task", "zq-quoted", "zq-attr", "zq-room",
	"2345678", "zq.ann", "zq-raw", "zq-secret",
}

const plantedConfig = `{
	"version": 1,
	"model": {"baseURL": "https://zq-host.example", "apiKey": "zq-config-key-1", "headers": {"X-A": "zq-config-header"}},
	"mcpServers": {"tracker": {"modes": ["host"], "command": "/usr/bin/true", "args": ["zq-mcp-arg-long"], "env": {"WORD": "zq-mcp-env"}}},
	"people": {"whatsapp:4917123456789": {"name": "zq-person", "groups": ["family"]}},
	"groups": {"main": {}, "family": {"prompt": "zq-prompt: be kind", "mounts": [{"path": "~/zq-folder"}], "egress": ["zq-host.example"]}},
}`

// plant puts private texts into every source of a bundle.
func plant(t *testing.T, b *bench) {
	t.Setenv("ANTHROPIC_API_KEY", "zq-env-value-1")
	p := b.writeConfig()
	if err := os.WriteFile(p.Config, []byte(plantedConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	store := credential.New(p, func(string) string { return "" })
	if _, err := store.Save("", credential.Credential{Kind: credential.APIKey, Value: "zq-stored-key-1", Endpoint: "https://x"}); err != nil {
		t.Fatal(err)
	}
	if err := store.SaveTokens("slack", credential.Tokens{"bot": "zq-stored-token-1"}); err != nil {
		t.Fatal(err)
	}
	h, c, err := hostlog.Open(hostlog.Folder(p.DataDir), slog.LevelInfo, func(s string) string { return s })
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(h)
	log.Error("a run ended", "run", "r9", "group", "family", "err", errors.New(`the tool said "zq-quoted words" and zq-message here, by zq-sender-id, with zq-config-key-1 zq-stored-key-1 zq-stored-token-1 zq-env-value-1`))
	log.Info("a message came in", "from", "whatsapp:zq-chat-1", "sender", "zq-attr", "text", "zq-attr")
	log.Warn("zq-message here", "why", "call +49 171 2345678 or zq.ann@example.org", "cause", "zq-mcp-env at zq-host.example and zq-person and zq-mcp-arg-long in ~/zq-folder")
	log.Info("the boundary holds", "engine", "native", "attempts", 214)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b.host.OnStatus = func(context.Context) (control.Status, error) {
		return control.Status{Version: "v1", Channels: []control.ChannelInfo{{Channel: "slack", State: "waiting", Cause: `no "zq-quoted"`, Self: "zq-sender-id", Chats: []control.ChannelChat{{Address: "slack:zq-chat-1", Name: "zq-room"}}}}}, nil
	}
	b.host.OnDoctor = func(context.Context, control.DoctorQuery) (control.DoctorReport, error) {
		return control.DoctorReport{Checks: []control.Check{{Name: "model", State: "ok", Detail: "at https://zq-host.example"}}}, nil
	}
	b.host.OnHealth = func(context.Context) (control.Health, error) {
		return control.HealthOf(time.Now(), []control.Check{{Name: "waiting", State: "warn", Detail: "zq-message here"}}), nil
	}
	b.host.OnPeople = func(context.Context) ([]control.Person, error) {
		return []control.Person{{Sender: "whatsapp:zq-sender-id", Name: "zq-sender-name"}}, nil
	}
	b.host.OnTasks = func(context.Context, chat.Group) ([]task.Task, error) {
		return []task.Task{{Prompt: "zq-task daily"}}, nil
	}
	b.host.OnRuns = func(context.Context, control.RunsQuery) ([]control.RunInfo, error) {
		return []control.RunInfo{{ID: "r9", Group: "family", State: "failed", Ended: time.Now(), Error: `it said zq-raw words and "zq-quoted" to zq-task daily`}, {ID: "r8", State: "succeeded", Ended: time.Now()}}, nil
	}
	b.host.OnList = func(_ context.Context, q control.AuditQuery) ([]control.AuditEntry, error) {
		data := map[string]string{
			"inbound":   `{"from":{"channel":"whatsapp","chat":"zq-chat-1"},"sender":{"id":"zq-sender-id","name":"zq-sender-name"},"text":"zq-message here\nzq-secret line","verdict":"run"}`,
			"run.ended": `{"state":"failed","class":"timeout","raw":"zq-raw words"}`,
			"":          `{"state":"failed","class":"timeout","ms":12,"raw":"zq-reply","error":"zq-reply","host":"zq-host.example","verdict":"zq-message here\nodd"}`,
		}[q.Kind]
		return []control.AuditEntry{{ID: 1, Kind: q.Kind, At: time.Now(), Data: json.RawMessage(data)}}, nil
	}
}

// unpacked is all that a bundle holds.
func unpacked(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Nothing private that is in any source of it is in a bundle, whether a daemon runs or
// not, and what helps is.
func TestABundleHoldsNothingPrivate(t *testing.T) {
	for _, daemon := range []bool{false, true} {
		b := newBench(t, nil)
		plant(t, b)
		if daemon {
			startDaemon(t, b)
		}
		file := filepath.Join(t.TempDir(), "b.tar.gz")
		got := b.run("", "support", file, "--yes")
		if got.code != 0 {
			t.Fatalf("%+v", got)
		}
		all := unpacked(t, file) + got.out + got.errOut + b.run("", "support", "--show", "all").out
		for _, private := range planted {
			if i := strings.Index(all, private); i >= 0 {
				t.Errorf("daemon %v: %q is in it: …%s…", daemon, private, all[max(0, i-80):min(len(all), i+60)])
			}
		}
		for _, helps := range []string{
			`"engine":"native"`, `"attempts":"214"`, `"run":"r9"`, `"class": "timeout"`, `"id": "r9"`, `"family"`, `"state": "waiting"`, "platform.json", "ANTHROPIC_API_KEY", `"baseURL": "[hidden]"`,
		} {
			if !strings.Contains(all, helps) {
				t.Errorf("daemon %v: no %s in it", daemon, helps)
			}
		}
		if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", fi, err)
		}
		if daemon {
			b.run("", "stop", "--daemon")
		}
	}
}

// Nothing is written before a yes; each file can be read first; nothing is overwritten.
func TestABundleIsShownFirst(t *testing.T) {
	b := newBench(t, nil)
	b.writeConfig()
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	for _, said := range []string{"", "\n", "n\n", "platform.json\nno\n", "no such file\nN\n"} {
		got := b.run(said, "support", file)
		if _, err := os.Lstat(file); err == nil {
			t.Fatalf("after %q it was written: %+v", said, got)
		}
		if !strings.Contains(got.out, "log.jsonl") || !strings.Contains(got.errOut, "nothing was written") {
			t.Errorf("%q: %+v", said, got)
		}
		if strings.HasPrefix(said, "platform") != strings.Contains(got.out, `"kernel":`) {
			t.Errorf("%q: %+v", said, got)
		}
	}
	if got := b.run("y\n", "support", file); got.code != 0 || !strings.Contains(got.out, "wrote "+file) {
		t.Errorf("%+v", got)
	}
	if got := b.run("y\n", "support", file); got.code != exitUsage {
		t.Errorf("it wrote over a file: %+v", got)
	}
	if got := b.run("", "support", "--show", "x"); got.code != exitFailed || !strings.Contains(got.errOut, "platform.json") {
		t.Errorf("%+v", got)
	}
	if got := b.run("", "support", file+"2", "--json"); got.code != exitUsage {
		t.Errorf("%+v", got)
	}
}

// Where the configuration cannot be read, nothing of it is told either.
func TestABundleOfABrokenConfiguration(t *testing.T) {
	b := newBench(t, nil)
	plant(t, b)
	p, err := b.app(os.Stdin, io.Discard, io.Discard).paths()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Config, []byte(strings.Replace(plantedConfig, `"version": 1`, `"version": 1, "zq-config-key-1": "zq-config-key-1"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	all := b.run("", "support", "--show", "all").out
	if !strings.Contains(all, "-- config.txt --") {
		t.Error("it does not say what is wrong")
	}
	for _, private := range planted {
		if i := strings.Index(all, private); i >= 0 {
			t.Errorf("%q is in it: …%s…", private, all[max(0, i-80):min(len(all), i+60)])
		}
	}
}
