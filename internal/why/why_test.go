package why_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/why"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// tell is the account of entries of one run, in words.
func tell(t *testing.T, entries ...audit.Entry) string {
	t.Helper()
	var a why.Account
	var all []audit.Entry
	for _, e := range entries {
		e.At, e.Group, e.Run, e.Session = noon, "family", "r1", "s1"
		parts, err := e.Split()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parts...)
	}
	for i, e := range all {
		r, err := audit.Seal(e)
		if err != nil {
			t.Fatal(err)
		}
		r.ID = int64(i + 7)
		if e.Data == nil {
			r.Payload, r.Salt = nil, nil // erased
		}
		a.Add(r)
	}
	var b strings.Builder
	if err := a.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAccount(t *testing.T) {
	started := audit.RunStartedData{
		Trigger: map[string]any{"kind": "message", "from": "whatsapp:fam", "sender": "ana", "agent_reason": "there is a credential"},
		Mode:    "host", Agent: "claude",
		Grant: grant.Grant{
			ModeReason: "groups.family.mode",
			Mounts: []grant.Mount{
				{Target: "/usr"}, {Target: "/workspace/group", Write: true}, {Target: "/workspace/extra/site", Write: true, Foreign: true},
				{Target: "/workspace/extra/site/.git/hooks", Held: true}, {Target: "/workspace/global"},
			},
			Egress: []grant.Host{{Pattern: "*.npmjs.org", Port: 443}}, Tools: []grant.Tool{{Name: "send_message"}},
		},
	}
	egressed := func(host, verdict, reason, allow string, up int64) audit.Entry {
		return audit.Entry{Kind: audit.EgressTried, Data: egress.Event{Gate: egress.ProxyGate, Phase: egress.Close, Verdict: egress.Verdict(verdict), Host: host, Port: 443, Reason: reason, Allow: allow, Up: up}}
	}
	reply := audit.OutboxData{ID: 3, To: chat.Address{Channel: "whatsapp", Chat: "fam"}, Kind: chat.Reply, Bytes: 12}
	got := tell(t,
		audit.Entry{Kind: audit.RunStarted, Data: started},
		audit.Entry{Kind: audit.SessionStarted, Data: audit.SessionStartedData{Engine: "native", Layers: []string{"landlock", "seccomp"}, Attestation: "9b"}},
		audit.Entry{Kind: audit.ToolCalled, Data: audit.ToolCalledData{Tool: "Bash", Verdict: "allowed"}},
		audit.Entry{Kind: audit.ToolCalled, Data: audit.ToolCalledData{Tool: "Bash", Verdict: "allowed"}},
		audit.Entry{Kind: audit.HostToolCalled, Data: audit.HostToolCalledData{Tool: "send_message", Verdict: "refused", Reason: "another group's chat"}},
		audit.Entry{Kind: audit.EgressTried, Data: egress.Event{Phase: egress.Open, Verdict: egress.Allowed, Host: "registry.npmjs.org", Port: 443}},
		egressed("registry.npmjs.org", "allowed", "", "", 10),
		egressed("evil.example", "refused", "not granted", "nanoclaw group egress add family evil.example", 0),
		egressed("evil.example", "refused", "not granted", "nanoclaw group egress add family evil.example", 0),
		audit.Entry{Kind: audit.FilesChanged, Data: audit.FilesChangedData{Folders: []audit.ChangedFolder{{Folder: "/workspace/group", More: 2, Files: []audit.ChangedFile{
			{Path: "a.txt", Bytes: 3, SHA256: "98ea"}, {Path: "big", Bytes: 1 << 30}, {Path: "l", Kind: "link"},
		}}}}},
		audit.Entry{Kind: audit.RunEnded, Data: audit.RunEndedData{State: "succeeded", Ms: 2500, CostUSD: 0.0123, Found: []string{"a hook in site"}}},
		audit.Entry{Kind: audit.Outbox, Data: reply},
		audit.Entry{Kind: audit.Delivered, Data: reply},
		audit.Entry{Kind: audit.Inbound},
	)
	want := `run           r1 of group family: succeeded after 2.5s, 0.0123 USD by the agent's own account
asked         by ana in whatsapp:fam (not the owner), begun 2026-05-01T12:00:00Z
decided       host mode (groups.family.mode), agent claude (there is a credential)
granted       write /workspace/group, /workspace/extra/site; read /workspace/global; reach *.npmjs.org:443; ask the host for send_message
boundary      native with landlock, seccomp; proven by attestation 9b
used          Bash, 2 times
asked us for  send_message: REFUSED (another group's chat)
reached       registry.npmjs.org:443, 10 bytes up and 0 down
reached       evil.example:443, 2 times: REFUSED (not granted); to allow it: nanoclaw group egress add family evil.example
changed       /workspace/group/a.txt, 3 bytes, SHA-256 98ea
changed       /workspace/group/big, 1073741824 bytes, too many to read
changed       /workspace/group/l, a link
changed       /workspace/group: 2 more files
moved away    a hook in site
said          reply of 12 bytes to whatsapp:fam: delivered
recorded      audit entries 7 to 20; the words of 1 were erased
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRefusedRun(t *testing.T) {
	got := tell(t, audit.Entry{Kind: audit.RunRefused, Data: audit.RunRefusedData{Rule: "hostmode.rate", Text: "10 runs an hour are used up"}})
	if !strings.Contains(got, "r1 of group family: refused\n") || !strings.Contains(got, "refused by the rule hostmode.rate: 10 runs an hour are used up") {
		t.Error(got)
	}
}

// TestLongGrant: a grant that did not fit into one entry is told whole.
func TestLongGrant(t *testing.T) {
	g := grant.Grant{ModeReason: "because"}
	for i := range 2000 {
		g.Mounts = append(g.Mounts, grant.Mount{Target: fmt.Sprintf("/workspace/extra/site/%d", i), Held: true, Reason: "git runs it later"})
	}
	g.Mounts = append(g.Mounts, grant.Mount{Target: "/workspace/last", Write: true})
	got := tell(t, audit.Entry{Kind: audit.RunStarted, Data: audit.RunStartedData{Mode: "host", Grant: g}, Brief: audit.RunStartedData{Mode: "host"}})
	if !strings.Contains(got, "granted   write /workspace/last\n") || !strings.Contains(got, "(because)") {
		t.Errorf("%.500s", got)
	}
}

// TestFloodIsANumber: an agent decides how many connections there are, under
// which names, and what a reason of its own says; none of it may grow the
// account or make a line in it that looks like ours.
func TestFloodIsANumber(t *testing.T) {
	var entries []audit.Entry
	for i := range 5000 {
		entries = append(entries, audit.Entry{Kind: audit.ToolCalled, Data: audit.ToolCalledData{Tool: "T" + strings.Repeat("x", i%300), Verdict: "denied"}})
	}
	entries = append(entries, audit.Entry{Kind: audit.RunEnded, Data: audit.RunEndedData{State: "failed", Error: "no\nrun\tr9 of group main: succeeded"}})
	got := tell(t, entries...)
	if n := strings.Count(got, "\n"); n > 120 {
		t.Errorf("%d lines", n)
	}
	if n := strings.Count(got, "\nrun"); n != 0 || !strings.HasPrefix(got, "run ") {
		t.Errorf("an agent's words made a line of their own:\n%.300s", got)
	}
}

// TestAnyPayload: what is not understood is left out.
func TestAnyPayload(t *testing.T) {
	kinds := []audit.Kind{audit.RunStarted, audit.RunEnded, audit.EgressTried, audit.FilesChanged, audit.Delivered, "unknown"}
	for _, payload := range []string{`{}`, `[]`, `"x"`, `{"trigger":1,"grant":2,"folders":{"a":1}}`, `{"grant":{"mounts":"cut"}}`} {
		for _, k := range kinds {
			var a why.Account
			a.Add(audit.Row{ID: 1, Kind: k, Run: "r1", Payload: []byte(payload), Salt: []byte{1}})
			if _, err := json.Marshal(&a); err != nil || a.Write(new(strings.Builder)) != nil {
				t.Errorf("%s %s: %v", k, payload, err)
			}
		}
	}
}
