package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/hosttools"
)

// spoof is one attempt to have the host take somebody inside for somebody else, or
// to break what reads the call. It is made by a program in family's boundary, while
// a run of family goes on.
type spoof struct {
	name string
	code string // Python, behind testdata/spoof.py
	// says are parts of what the program was answered.
	says []string
	// sent are the messages that went out because of it, as "CHAT".
	sent []string
	// noted is what the audit says of each call: the verdict, the tool, and of a
	// refusal how the reason begins. All of it is family's, and of that run.
	noted []string
	// flood says that sent and noted are how it begins, each once: how often depends on
	// how fast the machine is, and is for the program to say.
	flood bool
	// cut says that it costs the session.
	cut bool
}

const (
	allowedSend = "allowed send_message"
	unknown     = "refused send_message: the arguments are not understood: "
	noChat      = "refused send_message: only the agent of main may send to a chat that belongs to no group"
	notMain     = "refused send_message: only the agent of main may send to another group"
)

// spoofs is the catalogue of attempts on the host tools. What needs no boundary
// around it stands in the tests of hosttools (TestAuthority, TestMessageProtocol,
// FuzzMessage, FuzzArguments, FuzzHTTP), of wire (TestGuard, TestToken, TestWrongHeaders,
// FuzzHostFrames, FuzzHeader) and of boundary (TestLiesEndTheSession).
var spoofs = []spoof{
	{name: "as it is meant", code: `print(call({"text": "hello"}))`,
		says: []string{"Sent to family."}, sent: []string{"console:family"}, noted: []string{allowedSend}},

	// Who is asking, forged in what is said.
	{name: "another group as the target", code: `print(call({"text": "x", "group": "main"}))`,
		says: []string{"refused: only the agent of main"}, noted: []string{notMain}},
	{name: "a chat as the target", code: `print(call({"text": "x", "group": "console:main"}), call({"text": "x", "chat": "console:main"}), call({"text": "x", "chat": "net:anybody"}))`,
		noted: []string{notMain, noChat, noChat}},
	{name: "fields of an identity in the arguments", code: `
for name in ["sender", "from", "chatJid", "groupFolder", "isMain", "session", "run", "token"]:
    print(call({"text": "x", name: "main"}))`,
		noted: []string{
			unknown + `unknown field "sender"`, unknown + `unknown field "from"`,
			unknown + `unknown field "chatJid"`, unknown + `unknown field "groupFolder"`, unknown + `unknown field "isMain"`,
			unknown + `unknown field "session"`, unknown + `unknown field "run"`, unknown + `unknown field "token"`,
		}},
	{name: "an identity in _meta and beside the call",
		code: `print(call({"text": "x"}, params={"_meta": {"group": "main", "sender": "owner", "token": "t"}, "group": "main"}, top={"group": "main", "session": "s", "from": {"group": "main"}}))`,
		says: []string{"Sent to family."}, sent: []string{"console:family"}, noted: []string{allowedSend}},
	{name: "an identity in headers", code: `print(raw(post(message({"text": "x"}), "Connection: close\r\nX-Nanoclaw-Group: main\r\nAuthorization: Bearer main\r\nMcp-Session-Id: smain\r\nX-Forwarded-For: main\r\nCookie: group=main\r\n")))`,
		says: []string{"Sent to family."}, sent: []string{"console:family"}, noted: []string{allowedSend}},
	{name: "an identity in the address", code: `print(raw(post(message({"text": "x"}), "Connection: close\r\n", path="/main/mcp?group=main#main")))`,
		says: []string{"Sent to family."}, sent: []string{"console:family"}, noted: []string{allowedSend}},
	{name: "another host in the address", code: `print(raw(post(message({"text": "x"}), "Connection: close\r\n", path="http://main.nanoclaw/mcp")))`,
		says: []string{"Sent to family."}, sent: []string{"console:family"}, noted: []string{allowedSend}},
	{name: "a tool of main", code: `print(call({}, tool="list_groups"))`,
		says: []string{"there is no tool"}, noted: []string{`refused list_groups: there is no tool "list_groups" here`}},
	{name: "a tool that there is not", code: `print(call({}, tool="register_group\n"))`,
		noted: []string{`refused register_group: there is no tool "register_group\n" here`}},
	{name: "a second process, with no part in the agent", code: `
import os
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(write, call({"text": "from the second process"}).encode())
    os._exit(0)
os.close(write)
print(os.fdopen(read).read())`,
		// It has the init's stamp, as everything inside: the rights are the session's.
		says: []string{"Sent to family."}, sent: []string{"console:family"}, noted: []string{allowedSend}},

	// What can be read in two ways.
	{name: "a name that is there twice", code: `print(call('{"text": "x", "group": "family", "group": "main"}'), call('{"text": "x", "group": "main", "group": "family"}'))`,
		noted: []string{unknown + `"group" is there twice`, unknown + `"group" is there twice`}},
	{name: "a name in another case", code: `print(call({"text": "x", "Group": "main"}))`, noted: []string{unknown + `unknown field "Group"`}},
	{name: "two messages in one body", code: `print(raw(post(message({"text": "x"}) + message({"text": "y", "group": "main"}), "Connection: close\r\n")))`,
		says: []string{"400"}, noted: []string{"refused (none): not a message"}},
	{name: "a batch", code: `print(raw(post("[" + message({"text": "x"}) + "]", "Connection: close\r\n")))`,
		says: []string{"400"}, noted: []string{"refused (none): not a message"}},
	{name: "requests in a row on one connection", code: `print(raw(post(message({"text": "x"})) + post(message({"text": "y", "group": "main"}), "Connection: close\r\n")))`,
		says: []string{"Sent to family.", "refused: only the agent of main"}, sent: []string{"console:family"}, noted: []string{allowedSend, notMain}},
	{name: "chunks and a length", code: `
body = message({"text": "x"})
chunked = "%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
hidden = post(message({"text": "y", "group": "main"}), "Connection: close\r\n").decode()
print(raw(post(chunked, "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", length=False) + hidden.encode()))`,
		// Both readings have the same identity: there is nobody to smuggle past.
		says: []string{"Sent to family.", "refused: only the agent of main"}, sent: []string{"console:family"}, noted: []string{allowedSend, notMain}},
	{name: "two lengths", code: `print(raw(post(message({"text": "x"}), "Content-Length: 3\r\n")))`, says: []string{"400 Bad Request"}},
	{name: "chunks that are none", code: `print(raw(post("zz\r\nx\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\nConnection: close\r\n", length=False)), raw(post("5\r\nabcde", "Transfer-Encoding: xchunked\r\n", length=False)))`,
		says: []string{"400 Bad Request", "501"}, noted: []string{"refused (none): not a message"}},
	{name: "another protocol on the connection", code: `print(raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", end=True), raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", end=True), raw(b"CONNECT main:80 HTTP/1.1\r\nHost: main:80\r\n\r\n", end=True))`,
		says: []string{"400 Bad Request", "405"}, noted: []string{"refused (none): not a message", "refused (none): not a message"}},
	{name: "a way to listen", code: `print(raw(b"GET /mcp HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nLast-Event-ID: 1\r\nMcp-Session-Id: smain\r\n\r\n", end=True))`,
		says: []string{"405"}, noted: []string{"refused (none): not a message"}},

	// What breaks readers.
	{name: "truncated", code: `print(raw(post(message({"text": "x"})[:-9], "Connection: close\r\n")), raw(post(message({"text": "x"}), "Connection: close\r\n")[:-9], end=True))`,
		says: []string{"400"}, noted: []string{"refused (none): not a message", "refused (none): not a message"}},
	{name: "nested deeply", code: `print(call('{"text": %s%s}' % ("[" * 200000, "]" * 200000)))`, says: []string{"400"}, noted: []string{"refused (none): not a message"}},
	{name: "a huge number", code: `print(raw(post(message({"text": "x"}, top={"id": 7}).replace('"id": 7', '"id": 1e999999'), "Connection: close\r\n")))`,
		says: []string{"400"}, noted: []string{"refused (none): not a message"}},
	{name: "no UTF-8", code: `print(raw(post(message({"text": "AA"}).encode().replace(b"AA", b"\xff\xfe"), "Connection: close\r\n")))`,
		noted: []string{unknown + "they are no UTF-8"}},
	{name: "too long a body", code: `print(raw(post(message({"text": "x" * (600 << 10)}), "Connection: close\r\n")))`, noted: []string{"refused (none): not a message"}},
	{name: "too long a text", code: `print(call({"text": "x" * (65 << 10)}))`, noted: []string{"refused send_message: the text is 66560 bytes"}},
	{name: "a long header", code: `print(raw(post("{}", "X: " + "x" * (64 << 10) + "\r\nConnection: close\r\n")))`},
	{name: "a flood", flood: true, code: `
import time
began = time.monotonic()
told = [call({"text": str(n)}) for n in range(60)]
sent = sum("Sent to" in t for t in told)
print("bounded" if 30 <= sent <= 31 + (time.monotonic() - began) / 2 else "%d sent" % sent)`,
		says: []string{"bounded"}, sent: []string{"console:family"}, noted: []string{allowedSend, "refused send_message: too many calls"}},

	// What an init says that somebody has taken over.
	{name: "the session's own token", code: `print(raw(b"LIE as " + raw(b"LIE token\n").encode() + b" tools\n" + post(message({"text": "x"}), "Connection: close\r\n")))`,
		says: []string{"Sent to family."}, sent: []string{"console:family"}, noted: []string{allowedSend}},
	{name: "the token of another group's session that lives", code: `print(raw(b"LIE as TOKEN-OF-MAIN tools\n" + post(message({"text": "x"}), "Connection: close\r\n")))`, cut: true},
	{name: "no token", code: `print(raw(b"LIE as - tools\n" + post(message({"text": "x"}), "Connection: close\r\n")))`, cut: true},
	{name: "the token of a session of its own that is over", code: `print(raw(b"LIE as TOKEN-OF-BEFORE tools\n" + post(message({"text": "x"}), "Connection: close\r\n")))`, cut: true},
	{name: "a second control stream", code: `print(raw(b"LIE as " + raw(b"LIE token\n").encode() + b" control\n"))`, cut: true},
	{name: "the end of a process that the host did not start", code: `print(raw(b"LIE exited 77\n"))`, cut: true},
}

// liarInstall is an installation whose sessions have an init that can be told to
// lie, and so tokens that can be had.
func liarInstall(t *testing.T) (i *install, d *Daemon, stop func()) {
	t.Helper()
	i = newInstall(t, strings.Replace(hostConfig, `{"enabled": true}`, `{"enabled": true, "runsPerHour": 10000}`, 1))
	o := i.options()
	o.Init = func() (io.ReadSeekCloser, error) {
		return struct {
			io.ReadSeeker
			io.Closer
		}{bytes.NewReader(boundarytest.Liar(t)), io.NopCloser(nil)}, nil
	}
	d, err := Open(t.Context(), o)
	must(t, err)
	return i, d, i.serve(d)
}

// TestSpoofing goes through the catalogue: whatever is said inside, the host takes
// it from the wire who is asking, and what it refuses is in the audit.
func TestSpoofing(t *testing.T) {
	i, d, stop := liarInstall(t)
	prelude, err := os.ReadFile("testdata/spoof.py")
	must(t, err)
	// A session of main that lives as long as the test, and gives its token away.
	main := startInside(t, d, chat.Main, "bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/8481; echo LIE token >&3; cat <&3; echo; read`)
	token := main.line(t)
	must(t, d.prepare(t.Context(), "family"))
	script := filepath.Join(d.machine.GroupDir("family"), "workspace", "spoof.py")
	try := func(code string) answer {
		must(t, os.WriteFile(script, append(slices.Clone(prelude), code...), 0o644))
		return ask(t, d, "family", "python3 /workspace/group/spoof.py")
	}
	old := strings.TrimSpace(try(`print(raw(b"LIE token\n"))`).text())
	if len(token) < 20 || len(old) < 20 || token == old {
		t.Fatalf("the tokens are %q and %q", token, old)
	}
	tokens := strings.NewReplacer("TOKEN-OF-MAIN", token, "TOKEN-OF-BEFORE", old)
	for _, s := range spoofs {
		t.Run(s.name, func(t *testing.T) {
			mark := newest(t, d)
			a := try(tokens.Replace(s.code))
			if s.cut != (a.State != control.Succeeded) || s.cut && !strings.Contains(a.text(), "something inside may have tried to pass for it") {
				t.Fatalf("got %+v\n%s", a.Answer, a.text())
			}
			for _, want := range s.says {
				if !strings.Contains(a.text(), want) {
					t.Errorf("it was not told %q but\n%s", want, a.text())
				}
			}
			checkSpoof(t, d, a.Run, mark, s)
		})
	}
	t.Run("outside of a run", func(t *testing.T) {
		must(t, os.WriteFile(script, append(slices.Clone(prelude), `print(call({"text": "x"}))`...), 0o644))
		mark := newest(t, d)
		if out, _, _ := runInside(t, d, "family", "python3", "/workspace/group/spoof.py"); !strings.Contains(out, "refused: no run is going on") {
			t.Errorf("it was told %q", out)
		}
		checkSpoof(t, d, "", mark, spoof{noted: []string{"refused send_message: no run is going on"}})
	})
	t.Run("after a stop", func(t *testing.T) { spoofAfterStop(t, d, script, prelude) })
	t.Run("a group that is removed", func(t *testing.T) {
		main.Close()
		stop()
		i.configure(strings.Replace(hostConfig, `"family"`, `"another"`, 1))
		d, _ := i.run()
		if _, err := d.Exec(t.Context(), control.ExecRequest{Group: "family", Argv: []string{"true"}}); code(err) != control.CodeNotFound {
			t.Errorf("a session of it: %v", err)
		}
		if err := (&toolHost{d: d}).Send(t.Context(), hosttools.Identity{Group: "family"}, "family", "x"); err == nil {
			t.Error("a message to its chat was taken")
		}
	})
}

// spoofAfterStop: from the moment that a stop returns, nothing that the session
// still says is heard, whatever is on its way.
func spoofAfterStop(t *testing.T, d *Daemon, script string, prelude []byte) {
	code := `
import threading
def go_on():
    while True:
        raw(post(message({"text": "still here"}), "Connection: close\r\n"))
for _ in range(8):
    threading.Thread(target=go_on).start()
`
	must(t, os.WriteFile(script, append(slices.Clone(prelude), code...), 0o644))
	family := listening(t, d, "family")
	family.says("python3 /workspace/group/spoof.py")
	family.hears(chat.Tool)
	_, err := d.Stop(t.Context(), control.StopRequest{Group: "family"})
	must(t, err)
	if a := ask(t, d, "family", "echo over"); a.State != control.Succeeded {
		t.Fatalf("the next run: %+v", a.Answer)
	}
	all, err := d.AuditList(t.Context(), control.AuditQuery{Group: "family", Limit: 1000})
	must(t, err)
	over, heard := map[chat.SessionID]bool{}, 0
	for _, e := range all {
		switch e.Kind {
		case string(audit.SessionEnded):
			over[e.Session] = true
		case string(audit.HostToolCalled):
			if heard++; over[e.Session] {
				t.Errorf("a call came in after its session's end: %s", e.Data)
			}
		}
	}
	if heard == 0 {
		t.Error("nothing was called at all")
	}
}

// checkSpoof compares what the host did since an entry with what it should have.
func checkSpoof(t *testing.T, d *Daemon, run chat.RunID, mark int64, s spoof) {
	t.Helper()
	all, err := d.AuditList(t.Context(), control.AuditQuery{Limit: 1000})
	must(t, err)
	var noted, sent []string
	ended := ""
	for _, e := range all {
		switch {
		case e.ID <= mark:
		case e.Kind == string(audit.HostToolCalled):
			var c audit.HostToolCalledData
			must(t, json.Unmarshal(e.Data, &c))
			text := strings.TrimSuffix(fmt.Sprintf("%s %s: %s", c.Verdict, strings.TrimSpace(c.Tool), c.Reason), ": ")
			if want := len(noted); want < len(s.noted) && strings.HasPrefix(text, s.noted[want]) {
				text = s.noted[want]
			}
			noted = append(noted, text)
			if e.Group != "family" || e.Run != run || e.Session == "" {
				t.Errorf("it is written down as of group %q, run %q, session %q", e.Group, e.Run, e.Session)
			}
		case e.Kind == string(audit.Outbox):
			var o audit.OutboxData
			must(t, json.Unmarshal(e.Data, &o))
			if o.Kind == chat.Tool {
				sent = append(sent, o.To.String())
			}
		case e.Kind == string(audit.WireFailed) && e.Run == run:
			ended += string(e.Data)
		}
	}
	if s.flood {
		noted, sent = slices.Compact(noted), slices.Compact(sent)
		if len(noted) > 1 && strings.HasPrefix(noted[1], s.noted[1]) {
			noted = append(noted[:1], s.noted[1])
		}
	}
	if diff := cmp.Diff(s.noted, noted); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(s.sent, sent); diff != "" {
		t.Errorf("messages went out to (-want +got):\n%s", diff)
	}
	if s.cut != strings.Contains(ended, "wire: ") {
		t.Errorf("of the session's end it is written down: %q", ended)
	}
}

// newest is the id of the newest audit entry.
func newest(t *testing.T, d *Daemon) int64 {
	t.Helper()
	all, err := d.AuditList(t.Context(), control.AuditQuery{Limit: 1})
	must(t, err)
	return all[len(all)-1].ID
}
