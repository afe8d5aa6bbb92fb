package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nanoclaw/internal/channel/slack"
	"nanoclaw/internal/channel/slack/slacktest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/hosttools"
	"nanoclaw/internal/queue"
)

// slackConfig has one group in a channel of Slack's, with a shell.
const slackConfig = `{
	"hostMode": {"enabled": true},
	"agent": {"kind": "shell"},
	"channels": {"slack": {"connect": true, "api": %q}},
	"people": {"slack:T1/UOWN": {"role": "owner"}},
	"groups": {
		"main": {"mode": "host", "hostModeAllowed": true},
		"work": {"mode": "host", "hostModeAllowed": true, "chats": ["slack:T1/C1"], "senders": ["slack:T1/UANN"], "confirm": "never"},
	},
}`

// slackInstall is an installation that is connected to a workspace.
func slackInstall(t testing.TB, s *slacktest.Server) *install {
	t.Helper()
	i := newInstall(t, fmt.Sprintf(slackConfig, s.API()))
	must(t, credential.New(i.paths, i.getenv).SaveTokens("slack", credential.Tokens{slack.AppToken: slacktest.AppKey, slack.BotToken: slacktest.BotKey}))
	return i
}

// posted waits for a message of the bot that says something.
func posted(t *testing.T, s *slacktest.Server, what string) slacktest.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		m, err := s.Posted(ctx)
		if err != nil {
			t.Fatalf("nothing with %q was posted: %v; there is %+v", what, err, s.Messages("C1"))
		}
		if strings.Contains(m.Text, what) {
			return m
		}
	}
}

// A message on Slack reaches a confined agent, and its answer comes back in Slack's
// own form, in the thread in which it was asked.
func TestSlackEndToEnd(t *testing.T) {
	s := slacktest.New(t)
	s.Patience = 20 * time.Second
	i := slackInstall(t, s)
	d, stop := i.run()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	must(t, s.Up(ctx, 0))
	say := func(user, thread, text string) string {
		t.Helper()
		m := s.Keep(slacktest.Message{Channel: "C1", User: user, Text: text, Thread: thread})
		must(t, s.Event(ctx, m, nil))
		return m.TS
	}
	t.Run("an answer", func(t *testing.T) {
		root := say("UANN", "", "not for you")
		say("UOWN", root, `echo '**id** &lt;!channel&gt;' $(id -u); cat /proc/1/comm; ls `+i.home+` 2&gt;&amp;1 || true # <@UBOT>`)
		m := posted(t, s, "*id* &lt;!channel&gt;")
		if m.Thread != root {
			t.Errorf("it came in thread %q, want %q", m.Thread, root)
		}
		if !strings.Contains(m.Text, "nanoclaw-init") || !strings.Contains(m.Text, "No such file") {
			t.Errorf("the agent is not confined: %s", m.Text)
		}
	})
	t.Run("a command", func(t *testing.T) {
		say("UOWN", "", "<@UBOT> /status")
		posted(t, s, "◆ nanoclaw: work: ")
	})
	t.Run("a stranger, and a button that is not theirs", func(t *testing.T) {
		before := len(s.Messages("C1"))
		say("UEVE", "", "echo hello # <@UBOT>")
		must(t, s.Press(ctx, "UEVE", "C1", "", "nanoclaw_approve", "k4m2-9x7a"))
		say("UOWN", "", "echo after # <@UBOT>")
		posted(t, s, "after")
		for _, m := range s.Messages("C1")[before:] {
			if m.User == slacktest.BotUser && strings.Contains(m.Text, "hello") {
				t.Errorf("the stranger was answered: %+v", m)
			}
		}
	})
	t.Run("what was said while we were away", func(t *testing.T) {
		st, err := d.Status(ctx)
		must(t, err)
		if len(st.Channels) != 1 || st.Channels[0].State != "connected" || st.Channels[0].Self != "T1/UBOT" {
			t.Errorf("channels %+v", st.Channels)
		}
		stop()
		testMissed(t, s, i)
	})
}

// testMissed starts the host again, an hour later by its own notes.
func testMissed(t *testing.T, s *slacktest.Server, i *install) {
	now := time.Now()
	at := func(ago time.Duration) string { return fmt.Sprintf("%d.000100", now.Add(-ago).Unix()) }
	s.Keep(slacktest.Message{Channel: "C1", User: "UOWN", Text: "echo missed you # <@UBOT>", TS: at(30 * time.Minute)})
	s.Keep(slacktest.Message{Channel: "C1", User: "UEVE", Text: "echo never # <@UBOT>", TS: at(29 * time.Minute)})
	s.Keep(slacktest.Message{Channel: "C1", User: "UANN", Text: "just talk", TS: at(28 * time.Minute)})
	d := i.open()
	must(t, d.store.SetMeta(t.Context(), seenKey(slack.ID), now.Add(-time.Hour).Format(time.RFC3339Nano)))
	i.serve(d)
	q := posted(t, s, "1 message is unanswered: run it?")
	if !strings.HasPrefix(q.Text, chat.HostMark+"I was away ") || !strings.Contains(q.Blocks, "nanoclaw_approve") {
		t.Errorf("the question is %+v", q)
	}
	open, err := d.Approvals(t.Context())
	must(t, err)
	at0 := slices.IndexFunc(open, func(q control.Approval) bool { return strings.Contains(q.Title, "I was away") })
	if at0 < 0 {
		t.Fatalf("open questions %+v", open)
	}
	code := open[at0].Code
	must(t, s.Press(t.Context(), "UANN", "C1", "", "nanoclaw_approve", code)) // may speak, and not approve
	posted(t, s, "Refused")
	must(t, s.Press(t.Context(), "UOWN", "C1", "", "nanoclaw_approve", code))
	posted(t, s, "missed you")
	for _, m := range s.Messages("C1") {
		if m.User == slacktest.BotUser && strings.Contains(m.Text, "never") {
			t.Errorf("a stranger's message was run: %+v", m)
		}
	}
}

// A message that is lost on its way is none: sixty of them, four a second in network
// time with bursts, with the connection cut off three times, all reach the store once.
func TestSlackTrace(t *testing.T) {
	s := slacktest.New(t)
	i := slackInstall(t, s)
	d, _ := i.run()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	must(t, s.Up(ctx, 0))
	begun := time.Now().Unix() - 20
	var ids []chat.MessageID
	for n := range 60 {
		m := s.Keep(slacktest.Message{Channel: "C1", User: "UANN", Text: fmt.Sprint("message ", n), TS: fmt.Sprintf("%d.%06d", begun+int64(n/4), n)})
		ids = append(ids, chat.MessageID(m.TS))
		switch {
		case n%20 == 10:
			s.Drop() // and this one is never sent again
			continue
		case n%7 == 3:
			s.Event(ctx, m, nil) // twice
		}
		s.Event(ctx, m, nil) // whatever becomes of it
	}
	for _, id := range ids {
		for {
			known, err := d.store.Known(ctx, chat.Address{Channel: slack.ID, Chat: "T1/C1"}, id)
			must(t, err)
			if known {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("message %s was lost", id)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

func TestSlackWithoutTokens(t *testing.T) {
	s := slacktest.New(t)
	i := newInstall(t, fmt.Sprintf(slackConfig, s.API()))
	d, _ := i.run()
	st, err := d.Status(t.Context())
	must(t, err)
	if len(st.Channels) != 1 || st.Channels[0].State != "ended" || !strings.Contains(st.Channels[0].Cause, "nanoclaw channel login slack") {
		t.Errorf("channels %+v", st.Channels)
	}
	if file := credential.New(i.paths, i.getenv).TokensFile("slack"); !strings.HasPrefix(file, i.paths.ConfigDir) {
		t.Errorf("tokens lie in %s", file)
	} else if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
}

// copied is what copyOut made of a path, "" for nothing.
func copied(t *testing.T, d *Daemon, f hosttools.OutFile, limit int64) (text, no string) {
	t.Helper()
	out, no, err := d.copyOut("work", f, limit)
	must(t, err)
	if out == nil {
		return "", no
	}
	data, err := os.ReadFile(out.Path)
	must(t, err)
	return string(data), no
}

// What an agent names is read beneath its workspace, and nothing else is (I11).
func TestSendFileStaysInside(t *testing.T) {
	i := newInstall(t, hostConfig)
	d := i.open()
	defer d.Close()
	workspace := filepath.Join(d.machine.GroupDir("work"), "workspace")
	must(t, os.MkdirAll(filepath.Join(workspace, "sub"), 0o700))
	secret := filepath.Join(i.home, "secret")
	must(t, os.WriteFile(secret, []byte("the owner's"), 0o600))
	must(t, os.WriteFile(filepath.Join(workspace, "sub", "a.txt"), []byte("mine"), 0o600))
	must(t, os.WriteFile(filepath.Join(workspace, "empty"), nil, 0o600))
	must(t, os.Symlink(secret, filepath.Join(workspace, "link")))
	must(t, os.Symlink(i.home, filepath.Join(workspace, "dir")))
	must(t, os.Symlink("a.txt", filepath.Join(workspace, "sub", "own")))
	must(t, syscall.Mkfifo(filepath.Join(workspace, "pipe"), 0o600))
	for _, tt := range []struct{ name, path, want string }{
		{"its own", "sub/a.txt", "mine"},
		{"its own, as it sees it", "/workspace/group/sub/a.txt", "mine"},
		{"its own, the long way", "sub/../sub/./a.txt", "mine"},
		{"a link out", "link", ""},
		{"a folder that is a link", "dir/secret", ""},
		{"a link within", "sub/own", ""},
		{"above", "../../../../owner/secret", ""},
		{"above, from its own", "/workspace/group/../../owner/secret", ""},
		{"an absolute path", secret, ""},
		{"the host's own files", i.paths.Config, ""},
		{"a pipe, which would wait for ever", "pipe", ""},
		{"a folder", "sub", ""},
		{"nothing", "none", ""},
		{"empty", "empty", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, no := copied(t, d, hosttools.OutFile{Path: tt.path}, 100)
			if got != tt.want || (no == "") != (tt.want != "") {
				t.Errorf("got %q, %q", got, no)
			}
		})
	}
	if got, no := copied(t, d, hosttools.OutFile{Path: "sub/a.txt"}, 3); got != "" || !strings.Contains(no, "larger") {
		t.Errorf("a file that is too large gave %q, %q", got, no)
	}
	if got, no := copied(t, d, hosttools.OutFile{Path: "sub/a.txt", Image: true}, 100); got != "" || !strings.Contains(no, "send_file") {
		t.Errorf("a text as an image gave %q, %q", got, no)
	}
	must(t, os.WriteFile(filepath.Join(workspace, "a.png"), []byte("\x89PNG\r\n\x1a\n0000"), 0o600))
	if got, no := copied(t, d, hosttools.OutFile{Path: "a.png", Image: true}, 100); got == "" {
		t.Errorf("an image was refused: %s", no)
	}
	left, err := os.ReadDir(d.outgoingDir())
	must(t, err)
	if len(left) != 4 {
		t.Errorf("%d copies lie in the folder, want the 4 that are sent", len(left))
	}
}

// Files of a message lie in the group's inbox, which its agent reads and cannot
// change; what is too large, of another type, or gone, is said.
func TestInbox(t *testing.T) {
	s := slacktest.New(t)
	i := slackInstall(t, s)
	text, err := os.ReadFile(i.paths.Config)
	must(t, err)
	i.configure(strings.Replace(string(text), `"connect": true, `, `"connect": true, "hideProgress": true, `, 1))
	text, err = os.ReadFile(i.paths.Config)
	must(t, err)
	i.configure(strings.Replace(string(text), `"channels": {`, `"channels": {"files": {"size": "1KB", "keep": "2KB", "types": ["text/*"]}, `, 1))
	d, _ := i.run()
	ref := func(name, mime, body string) chat.File {
		f := s.AddFile(name, mime, body)
		return chat.File{Name: f.Name, Type: f.MimeType, Size: int64(f.Size), Ref: f.ID}
	}
	lie := ref("lie.txt", "text/plain", strings.Repeat("x", 5000))
	lie.Size = 10
	m := queue.Message{Row: 7, Inbound: chat.Inbound{From: chat.Address{Channel: slack.ID, Chat: "T1/C1"}, Files: []chat.File{
		ref("../../e\u202evil name.txt", "text/plain", "hello"), ref("big.txt", "text/plain", strings.Repeat("x", 2000)), lie,
		ref("a.exe", "application/x-msdownload", "MZ"), {Name: "gone", Type: "text/plain", Ref: "F99"},
	}}}
	for range 2 { // the second time it is there
		got := d.attach("work", m)
		if got[0].Path != "/workspace/inbox/7-1-_.._e_vil_name.txt" || got[0].Size != 5 || got[0].Missing != "" {
			t.Errorf("the file became %+v", got[0])
		}
		for n, f := range got[1:] {
			if f.Missing == "" || f.Path != "" {
				t.Errorf("file %d became %+v", n+1, f)
			}
		}
	}
	out, stderr, _ := runInside(t, d, "work", "/bin/sh", "-c", "cat /workspace/inbox/7-1-*; touch /workspace/inbox/x /workspace/inbox/7-1-* 2>&1; rm -f /workspace/inbox/* 2>&1; ls /workspace/inbox")
	if !strings.HasPrefix(out, "hello") || strings.Count(out, "Read-only file system") < 2 || !strings.HasSuffix(out, "7-1-_.._e_vil_name.txt\n") {
		t.Errorf("inside: %s%s", out, stderr)
	}
	for n := range 5 {
		m.Row, m.Files = int64(100+n), []chat.File{ref("f.txt", "text/plain", strings.Repeat("y", 900))}
		if got := d.attach("work", m); got[0].Missing != "" {
			t.Errorf("file %d: %+v", n, got[0])
		}
	}
	entries, err := os.ReadDir(d.inboxDir("work"))
	must(t, err)
	if len(entries) != 2 {
		t.Errorf("%d files are kept", len(entries))
	}
}
