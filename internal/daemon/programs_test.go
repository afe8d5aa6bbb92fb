package daemon

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/channel/httpapi"
	"nanoclaw/internal/channel/webhook"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
)

// programsConfig has two webhooks and the API, beside a person's chat.
const programsConfig = `{
	"hostMode": {"enabled": true},
	"agent": {"kind": "shell"},
	"channels": {"webhook": {"listen": "127.0.0.1:1", "api": true, "hooks": {
		"ci": {"group": "work", "answer": %q},
		"silent": {"group": "work", "form": "github"},
		"mute": {"group": "work"},
	}}},
	"people": {"net:me": {"role": "owner"}},
	"groups": {
		"main": {"mode": "host", "hostModeAllowed": true, "chats": ["net:self"]},
		"work": {"mode": "host", "hostModeAllowed": true, "confirm": "never", "chats": ["net:work"], "trigger": "always"},
		"other": {"mode": "host", "hostModeAllowed": true, "confirm": "never"},
	},
}`

// programsHost is a host that programs reach, and what it posted to them.
type programsHost struct {
	*Daemon
	install *install
	net     *chatNet
	base    string
	secret  []byte
	posted  chan posted1
}

// githubSecret is that of the hook silent.
const githubSecret = "a secret that GitHub was given"

// posted1 is one request to an answer address.
type posted1 struct {
	header http.Header
	body   []byte
}

func newProgramsHost(t *testing.T) *programsHost {
	t.Helper()
	h := &programsHost{net: newChatNet(), posted: make(chan posted1, 100)}
	program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.posted <- posted1{r.Header, body}
	}))
	t.Cleanup(program.Close)
	h.install = newInstall(t, fmt.Sprintf(programsConfig, program.URL+"/answers"))
	secret := webhook.NewSecret()
	var err error
	h.secret, err = webhook.ParseSecret(secret, webhook.Standard)
	must(t, err)
	must(t, credential.New(h.install.paths, h.install.getenv).SaveTokens("webhook", credential.Tokens{"ci": secret, "silent": githubSecret}))
	h.Daemon = h.install.open()
	h.channels[h.net.ID()] = h.net
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h.programs.listener, h.base = l, "http://"+l.Addr().String()
	h.install.serve(h.Daemon)
	return h
}

// do sends a request and gives the status and what was answered.
func (h *programsHost) do(t *testing.T, method, path string, header http.Header, body string) (int, map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, h.base+path, strings.NewReader(body))
	must(t, err)
	r.Header = header
	if host := header.Get("Host"); host != "" {
		r.Host = host
	}
	a, err := http.DefaultClient.Do(r)
	must(t, err)
	defer a.Body.Close()
	data, err := io.ReadAll(a.Body)
	must(t, err)
	var out map[string]any
	if json.Unmarshal(data, &out) != nil {
		out = map[string]any{"text": string(data)}
	}
	return a.StatusCode, out
}

// sign is a request of the hook ci.
func (h *programsHost) sign(id, body string, at time.Time) http.Header {
	stamp := fmt.Sprint(at.Unix())
	mac := hmac.New(sha256.New, h.secret)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	return http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))}}
}

// hook posts a message of ci.
func (h *programsHost) hook(t *testing.T, id, body string) {
	t.Helper()
	if status, a := h.do(t, "POST", "/hooks/ci", h.sign(id, body, time.Now()), body); status != http.StatusAccepted {
		t.Fatalf("%q was answered %d %v", body, status, a)
	}
}

// answer waits for what is posted to the hook's address and holds a text.
func (h *programsHost) answered(t *testing.T, text string) (m struct {
	Hook, Kind, Run, Text string
	Failed, Last          bool
}) {
	t.Helper()
	for {
		select {
		case p := <-h.posted:
			mac := hmac.New(sha256.New, h.secret)
			fmt.Fprintf(mac, "%s.%s.%s", p.header.Get("Webhook-Id"), p.header.Get("Webhook-Timestamp"), p.body)
			if p.header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
				t.Fatalf("an answer is not signed: %v %s", p.header, p.body)
			}
			must(t, json.Unmarshal(p.body, &m))
			if strings.Contains(m.Text, text) {
				return m
			}
		case <-time.After(time.Minute):
			t.Fatalf("no answer with %q was posted", text)
		}
	}
}

// runs counts the runs of a group.
func (h *programsHost) runs(t *testing.T, g chat.Group) int {
	t.Helper()
	all, err := h.Runs(t.Context(), control.RunsQuery{Group: g})
	must(t, err)
	return len(all)
}

// TestPrograms has webhooks and the API speak with confined agents, and attacks both
// with what a program has.
func TestPrograms(t *testing.T) {
	h := newProgramsHost(t)
	t.Run("a webhook is answered at its address", func(t *testing.T) { testWebhook(t, h) })
	t.Run("a request counts once, and only if it is signed", func(t *testing.T) { testWebhookForged(t, h) })
	t.Run("the API", func(t *testing.T) { testAPI(t, h) })
	t.Run("an answer of the API as it comes", func(t *testing.T) { testAPIStream(t, h) })
	t.Run("a program is no owner, no admin and approves nothing", func(t *testing.T) { testProgramsAreMembers(t, h) })
	t.Run("a page in a browser reaches nothing", func(t *testing.T) { testPages(t, h) })
	t.Run("a token that was ended", func(t *testing.T) { testTokenEnds(t, h) })
}

func testWebhook(t *testing.T, h *programsHost) {
	h.hook(t, "first", "echo from inside; cat /proc/1/comm; ls "+h.install.home+" 2>&1 || true")
	m := h.answered(t, "from inside")
	if !strings.Contains(m.Text, "nanoclaw-init") || !strings.Contains(m.Text, "No such file") {
		t.Errorf("the agent is not confined: %s", m.Text)
	}
	if m.Hook != "ci" || m.Kind != "reply" || m.Run == "" || !m.Last || m.Failed {
		t.Errorf("the answer is %+v", m)
	}
	if a := ask(t, h.Daemon, chat.Main, "echo"); !strings.Contains(a.text(), "The webhook mute takes nothing") {
		t.Errorf("the owner was told %q", a.text())
	}
	h.net.says(t, "work", "me", "echo for people")
	h.net.heard(t, "work", "for people", 0)
	if got := h.net.count("work", "from inside"); got != 0 {
		t.Error("what a webhook was answered was told elsewhere")
	}
}

func testWebhookForged(t *testing.T, h *programsHost) {
	before, now := h.runs(t, "work"), time.Now()
	body := "echo forged"
	good := h.sign("second", body, now)
	other := h.sign("second", "echo something else", now)
	for name, try := range map[string]struct {
		path   string
		header http.Header
	}{
		"no signature":          {"/hooks/ci", http.Header{}},
		"of another body":       {"/hooks/ci", other},
		"of another id":         {"/hooks/ci", http.Header{"Webhook-Id": {"third"}, "Webhook-Timestamp": good["Webhook-Timestamp"], "Webhook-Signature": good["Webhook-Signature"]}},
		"too old":               {"/hooks/ci", h.sign("second", body, now.Add(-10*time.Minute))},
		"from the future":       {"/hooks/ci", h.sign("second", body, now.Add(10*time.Minute))},
		"of another hook":       {"/hooks/silent", good},
		"of a hook that is not": {"/hooks/nobody", good},
		"of one with no secret": {"/hooks/mute", good},
	} {
		if status, a := h.do(t, "POST", try.path, try.header, body); status != http.StatusUnauthorized || strings.Contains(fmt.Sprint(a), "202") {
			t.Errorf("%s: answered %d %v", name, status, a)
		}
	}
	for range 3 { // a replay in time is what a network does too
		h.hook(t, "once", "echo counted")
	}
	mac := hmac.New(sha256.New, []byte(githubSecret))
	io.WriteString(mac, "touch /workspace/group/github")
	for n := range 3 { // the id of a delivery is not signed: another one makes no other request
		header := http.Header{"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(mac.Sum(nil))}, "X-Github-Delivery": {fmt.Sprint(n)}}
		if status, a := h.do(t, "POST", "/hooks/silent", header, "touch /workspace/group/github"); status != http.StatusAccepted {
			t.Fatalf("answered %d %v", status, a)
		}
	}
	h.answered(t, "counted")
	h.hook(t, "after", "ls /workspace/group; echo the end")
	if m := h.answered(t, "the end"); !strings.Contains(m.Text, "github") {
		t.Errorf("the other webhook's message was not done: %s", m.Text)
	}
	if got := h.runs(t, "work"); got != before+3 {
		t.Errorf("there were %d runs, want 3", got-before)
	}
}

// bearer has a token in the place for it.
func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func (h *programsHost) token(t *testing.T, g chat.Group, name string) string {
	t.Helper()
	made, err := h.TokenAdd(t.Context(), control.TokenSpec{Name: name, Group: g})
	must(t, err)
	return made.Token
}

func testAPI(t *testing.T, h *programsHost) {
	token, other := h.token(t, "other", "bot"), h.token(t, "work", "bot2")
	post := func(token, group, body string) (int, map[string]any) {
		return h.do(t, "POST", "/v1/groups/"+group+"/messages", bearer(token), body)
	}
	for range 2 {
		if status, a := post(token, "other", `{"text": "echo said; cat /proc/1/comm", "id": "m1"}`); status != http.StatusAccepted || a["id"] != "m1" {
			t.Fatalf("answered %d %v", status, a)
		}
	}
	status, a := h.do(t, "GET", "/v1/messages/m1?wait=50", bearer(token), "")
	text := fmt.Sprint(a["answers"])
	if status != 200 || a["state"] != "succeeded" || a["final"] != true || !strings.Contains(text, "nanoclaw-init") || strings.Count(text, "said") != 1 {
		t.Errorf("answered %d %v", status, a)
	}
	if got := h.runs(t, "other"); got != 1 {
		t.Errorf("%d runs of a message that came twice", got)
	}
	for name, try := range map[string]struct {
		token, group, body string
		want               int
	}{
		"another group":           {token, "work", `{"text": "echo no"}`, 404},
		"main":                    {token, "main", `{"text": "echo no"}`, 404},
		"no group":                {token, "nobody", `{"text": "echo no"}`, 404},
		"no token":                {"", "other", `{"text": "echo no"}`, 401},
		"a token of nobody":       {httpapi.NewToken(), "other", `{"text": "echo no"}`, 401},
		"a hash for a token":      {httpapi.Hash(h.programs.key, token), "other", `{"text": "echo no"}`, 401},
		"who it is in the body":   {token, "other", `{"text": "echo no", "sender": "me"}`, 400},
		"two objects":             {token, "other", `{"text": "echo no"} {"text": "echo no"}`, 400},
		"an id with other things": {token, "other", `{"text": "echo no", "id": "../m1"}`, 400},
		"no text":                 {token, "other", `{"id": "m2"}`, 400},
		"too much":                {token, "other", `{"text": "` + strings.Repeat("x", 300<<10) + `"}`, 413},
	} {
		if status, a := post(try.token, try.group, try.body); status != try.want {
			t.Errorf("%s: answered %d %v", name, status, a)
		}
	}
	for name, try := range map[string]struct {
		path, token string
		want        int
	}{
		"another's message":   {"/v1/messages/m1", other, 404},
		"no message":          {"/v1/messages/m9", token, 404},
		"a token as argument": {"/v1/messages/m1?token=" + token, "", 401},
	} {
		if status, a := h.do(t, "GET", try.path, bearer(try.token), ""); status != try.want {
			t.Errorf("%s: answered %d %v", name, status, a)
		}
	}
	rights, err := h.Rights(t.Context())
	must(t, err)
	if text, _ := json.Marshal(rights); bytes.Contains(text, []byte(token)) || !bytes.Contains(text, []byte("api:bot")) {
		t.Errorf("the rights are %s", text)
	}
}

// A program reads an answer while the agent is at work on it, and the whole at the end.
func testAPIStream(t *testing.T, h *programsHost) {
	token := h.token(t, "other", "reader")
	status, a := h.do(t, "POST", "/v1/groups/other/messages", bearer(token), `{"text": "echo first; while [ ! -e go ]; do sleep 0.1; done; echo second", "id": "m1"}`)
	if status != http.StatusAccepted {
		t.Fatalf("answered %d %v", status, a)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", h.base+"/v1/messages/m1", nil)
	must(t, err)
	r.Header = bearer(token)
	r.Header.Set("Accept", "text/event-stream")
	got, err := http.DefaultClient.Do(r)
	must(t, err)
	defer got.Body.Close()
	var all strings.Builder
	for in := bufio.NewScanner(got.Body); in.Scan(); {
		line := in.Text()
		fmt.Fprintln(&all, line)
		if strings.HasPrefix(line, `data: {"text":`) && strings.Contains(line, "first") {
			must(t, os.WriteFile(filepath.Join(h.machine.GroupDir("other"), "workspace", "go"), nil, 0o666))
		}
	}
	end := all.String()[strings.LastIndex(all.String(), "event: "):]
	for _, part := range []string{"event: message\n", `"state":"succeeded","final":true`, `first\nsecond`} {
		if !strings.Contains(end, part) {
			t.Errorf("it ended without %q:\n%s", part, &all)
		}
	}
}

// Whoever has all secrets of programs gives no orders to the host and answers nothing.
func testProgramsAreMembers(t *testing.T, h *programsHost) {
	h.net.says(t, "work", "eve", "@Andy hello")
	code := codeIn(t, h.net.heard(t, "self", "Somebody new wants to speak in work", 0))
	token := h.token(t, "work", "sly")
	for n, text := range []string{"approve " + code, "/approve " + code, "/stop all", "/pause", "/new", "/mode", "/why", "/register mine", "@Andy /stop"} {
		h.hook(t, fmt.Sprint("order", n), text)
		status, a := h.do(t, "POST", "/v1/groups/work/messages", bearer(token), fmt.Sprintf(`{"text": %q, "id": "order%d"}`, text, n))
		if status != http.StatusAccepted {
			t.Fatalf("%q was answered %d %v", text, status, a)
		}
		if _, a = h.do(t, "GET", fmt.Sprintf("/v1/messages/order%d", n), bearer(token), ""); a["state"] != "refused" {
			t.Errorf("%q became %v", text, a)
		}
	}
	open, err := h.Approvals(t.Context())
	must(t, err)
	if !slices.ContainsFunc(open, func(q control.Approval) bool { return q.Code == code }) {
		t.Error("a program answered a question")
	}
	st, err := h.Status(t.Context())
	must(t, err)
	if len(st.Paused) != 0 {
		t.Errorf("a program paused %v", st.Paused)
	}
	// Also one that the channel would take for the owner.
	for _, c := range []chat.ChannelID{webhook.ID, httpapi.ID} {
		in := chat.Inbound{From: chat.Address{Channel: c, Chat: "ci"}, ID: "x", Text: "/stop all", Sender: chat.Sender{ID: "ci", Owner: true}}
		if who := h.router.Rules().Actor(in, "work"); who.Role == "owner" || who.Surface != "chat" {
			t.Errorf("it is taken for %+v", who)
		}
	}
}

// A page that a person looks at has its browser send requests to this machine, under a
// name of the page's own, or as the page.
func testPages(t *testing.T, h *programsHost) {
	token := h.token(t, "work", "page")
	with := func(name, value string) http.Header {
		header := bearer(token)
		header.Set(name, value)
		return header
	}
	for _, try := range []struct {
		header http.Header
		want   int
	}{
		{with("Host", "rebind.example"), http.StatusMisdirectedRequest},
		{with("Host", "127.0.0.1:1"), http.StatusMisdirectedRequest},
		{with("Origin", "https://evil.example"), http.StatusForbidden},
		{with("Origin", "null"), http.StatusForbidden},
		{with("Sec-Fetch-Site", "cross-site"), http.StatusForbidden},
		{bearer(token), http.StatusAccepted},
	} {
		status, a := h.do(t, "POST", "/v1/groups/work/messages", try.header, `{"text": "echo page"}`)
		if status != try.want {
			t.Errorf("%v: answered %d %v", try.header, status, a)
		}
	}
}

func testTokenEnds(t *testing.T, h *programsHost) {
	token := h.token(t, "other", "short")
	if _, err := h.TokenAdd(t.Context(), control.TokenSpec{Name: "short", Group: "work"}); code(err) != control.CodeRefused {
		t.Errorf("two tokens of one name: %v", err)
	}
	if _, err := h.TokenAdd(t.Context(), control.TokenSpec{Name: "mine", Group: chat.Main}); code(err) != control.CodeRefused {
		t.Errorf("a token for main: %v", err)
	}
	must(t, h.Pause(t.Context(), control.PauseRequest{Group: "other"}))
	if status, _ := h.do(t, "POST", "/v1/groups/other/messages", bearer(token), `{"text": "touch late", "id": "late"}`); status != http.StatusAccepted {
		t.Fatalf("answered %d", status)
	}
	must(t, h.TokenRemove(t.Context(), control.TokenSpec{Name: "short"}))
	if status, _ := h.do(t, "GET", "/v1/messages/late", bearer(token), ""); status != http.StatusUnauthorized {
		t.Errorf("a token that was ended is answered %d", status)
	}
	fate, err := h.store.Fate(t.Context(), httpapi.Address("short"), "late")
	must(t, err)
	if fate.State != "refused" {
		t.Errorf("what waited of it is %s", fate.State)
	}
	if err := h.TokenRemove(t.Context(), control.TokenSpec{Name: "short"}); code(err) != control.CodeNotFound {
		t.Errorf("ended twice: %v", err)
	}
}
