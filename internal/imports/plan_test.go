package imports

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/imports/importstest"
)

// Folders are lent as the old list says, and senders let in as the other one does.
func TestListsOfTheOwner(t *testing.T) {
	lent, policy := t.TempDir(), t.TempDir()
	for _, name := range []string{"photos", "src/site", ".ssh"} {
		if err := os.MkdirAll(filepath.Join(lent, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		config.MountAllowlistFile: `{"allowedRoots": [{"path": "` + lent + `/photos", "allowReadWrite": false}, {"path": "` + lent + `/src", "allowReadWrite": true}], "blockedPatterns": [], "nonMainReadOnly": false}`,
		SenderListFile:            `{"default": {"allow": "*", "mode": "trigger"}, "chats": {"` + family + `": {"allow": ["491702222222:3@s.whatsapp.net", "Bob"], "mode": "drop"}}}`,
	} {
		if err := os.WriteFile(filepath.Join(policy, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mounts := fmt.Sprintf(`{"timeout": 60000, "additionalMounts": [{"hostPath": "%[1]s/photos", "containerPath": "photos", "readonly": false},
		{"hostPath": "%[1]s/src/site", "containerPath": "a/web", "readonly": false}, {"hostPath": "%[1]s/.ssh", "containerPath": "k"},
		{"hostPath": "%[1]s/gone", "containerPath": "gone"}, {"hostPath": "/etc", "containerPath": "etc"}]}`, lent)
	in := open(t, fixture(t, importstest.V1, `UPDATE registered_groups SET requires_trigger = 0, container_config = '`+mounts+`' WHERE folder = 'family';`), policy)
	w := wishes(in)
	g := Make(&in.Old, w).Groups[1]
	want := []config.Mount{{Path: lent + "/photos"}, {Path: lent + "/src/site", Name: "web", Write: true}}
	if d := cmp.Diff(want, g.Mounts); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"whatsapp:491702222222@s.whatsapp.net"}, g.Senders); d != "" || g.Trigger != "always" {
		t.Errorf("trigger %q\n%s", g.Trigger, d)
	}
	p := Make(&in.Old, w)
	if !p.Allowlist {
		t.Error("the list of folders is not taken over")
	}
	for what, want := range map[string]string{".ssh": "credentials", "gone": "not there", `folder "/etc"`: "system", `sender "Bob"`: "prove", "the time limit": "limits.runTime", `the place "a/web"`: "/workspace/extra/web"} {
		if got := because(p.Left, what); !strings.Contains(got, want) {
			t.Errorf("%q is left because %q; want %q in it", what, got, want)
		}
	}
	in.Old.Mounts, in.Old.Senders = nil, nil
	w.KnownSenders, w.Owners = true, []string{"whatsapp:491702222222@s.whatsapp.net"}
	g = Make(&in.Old, w).Groups[1]
	if d := cmp.Diff([]string{"whatsapp:491709999999@s.whatsapp.net"}, g.Senders); d != "" || len(g.Mounts) > 0 {
		t.Errorf("without lists there are %v\n%s", g.Mounts, d)
	}
}

// What came before the store is read too, and what is malformed is named.
func TestLegacyFiles(t *testing.T) {
	write := func(groups, sessions string) string {
		dir := t.TempDir()
		for name, text := range map[string]string{"registered_groups": groups, "sessions": sessions, "router_state": `{"last_agent_timestamp": {"120363@g.us": "2026-02-01T00:00:00.000Z"}}`} {
			path := filepath.Join(dir, "data", name+".json")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	in := open(t, write(`{"120363@g.us": {"name": "F", "folder": "family", "trigger": "@Andy", "requiresTrigger": false}, "1@s.whatsapp.net": {"name": "", "folder": "main", "trigger": "@Andy"}}`, `{"family": "x"}`), "")
	p := Make(&in.Old, wishes(in))
	if len(p.Groups) != 2 || p.Groups[0].Name != chat.Main || p.Groups[1].Trigger != "always" || in.Old.Cursors[family] == "" {
		t.Errorf("the plan is %+v", p.Groups)
	}
	if _, err := Open(context.Background(), Options{Dir: write("[1", "")}); err == nil || !strings.Contains(err.Error(), "no NanoClaw 1") {
		t.Errorf("malformed groups: %v", err)
	}
	in = open(t, fixture(t, importstest.V1, `UPDATE router_state SET value = '{'; UPDATE registered_groups SET container_config = '[' WHERE folder = 'family';`, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "data/sessions.json"), []byte("no"), 0o644); err != nil {
			t.Fatal(err)
		}
	}), "")
	p = Make(&in.Old, wishes(in))
	for what, want := range map[string]string{"router_state": "no JSON", "containerConfig of group family": "not the JSON", "data/sessions.json": "not the JSON"} {
		if got := because(p.Left, what); !strings.Contains(got, want) {
			t.Errorf("%q is left because %q; want %q in it", what, got, want)
		}
	}
}

func TestTasksThatCannotBe(t *testing.T) {
	rows := []string{}
	want := map[string]string{
		"t-cron": "99 * * * *", "t-fast": "limits.taskInterval", "t-zero": "milliseconds", "t-kind": "no kind of schedule", "t-past": "never comes any more",
		"t-group": "its group is not taken over", "t-state": "no state of a task", "t-empty": "prompt is missing", "t-long": "too long",
	}
	add := func(id, folder, prompt, kind, value, status string) {
		rows = append(rows, fmt.Sprintf(`INSERT INTO scheduled_tasks (id, group_folder, chat_jid, prompt, schedule_type, schedule_value, status, created_at) VALUES ('%s', '%s', 'x', %s, '%s', '%s', '%s', '');`, id, folder, prompt, kind, value, status))
	}
	add("t-cron", "family", "'p'", "cron", "99 * * * *", "active")
	add("t-fast", "family", "'p'", "interval", "1000", "active")
	add("t-zero", "family", "'p'", "interval", "-5", "active")
	add("t-kind", "family", "'p'", "often", "1", "active")
	add("t-past", "family", "'p'", "once", "2026-02-04T10:00:00", "active")
	add("t-group", "nobody", "'p'", "cron", "0 9 * * *", "active")
	add("t-state", "family", "'p'", "cron", "0 9 * * *", "odd")
	add("t-empty", "family", "''", "cron", "0 9 * * *", "active")
	add("t-long", "family", "printf('%.*c', 70000, 'x')", "cron", "0 9 * * *", "active")
	in := open(t, fixture(t, importstest.V1, strings.Join(rows, "\n")), "")
	p := Make(&in.Old, wishes(in))
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if got := because(p.Left, `"`+id+`"`); !strings.Contains(got, want[id]) {
			t.Errorf("%s is left because %q; want %q in it", id, got, want[id])
		}
	}
}

func TestChatsAndPeople(t *testing.T) {
	for _, tt := range []struct{ jid, sender, wantChat, wantSender string }{
		{"120363@g.us", "4917:12@s.whatsapp.net", "whatsapp:120363@g.us", ""},
		{"120363@g.us", "491702222222:12@s.whatsapp.net", "whatsapp:120363@g.us", "whatsapp:491702222222@s.whatsapp.net"},
		{"120363@g.us", "120363@g.us", "whatsapp:120363@g.us", ""},
		{"tg:-100123", "4242", "telegram:-100123", "telegram:4242"},
		{"dc:123456", "77", "discord:123456", "discord:77"},
		{"slack:C0123ABCD", "U0123ABCD", "slack:T0ABCDEF1/C0123ABCD", "slack:T0ABCDEF1/U0123ABCD"},
		{"C0123ABCD", "U0123ABCD", "slack:T0ABCDEF1/C0123ABCD", "slack:T0ABCDEF1/U0123ABCD"},
		{"emacs:x", "x", "", ""},
		{"tg:12;rm", "x", "", ""},
		{"a b@g.us", "x@y", "", ""},
	} {
		if got, _ := address(tt.jid, "T0ABCDEF1"); got != tt.wantChat {
			t.Errorf("chat %q is %q; want %q", tt.jid, got, tt.wantChat)
		}
		if got, _ := person(tt.jid, tt.sender, "T0ABCDEF1"); got != tt.wantSender {
			t.Errorf("sender %q of %q is %q; want %q", tt.sender, tt.jid, got, tt.wantSender)
		}
	}
	if _, err := address("slack:C0123ABCD", ""); err == nil || !strings.Contains(err.Error(), "--slack-team") {
		t.Errorf("without a workspace: %v", err)
	}
}

func TestEnv(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		kind       credential.Kind
		value      string
		left       string
	}{
		{"key", "ANTHROPIC_API_KEY=sk-1\n", credential.APIKey, "sk-1", ""},
		{"quoted token", "export CLAUDE_CODE_OAUTH_TOKEN='sk-2'\n", credential.OAuthToken, "sk-2", ""},
		{"both", "CLAUDE_CODE_OAUTH_TOKEN=sk-2\nANTHROPIC_API_KEY=sk-1", credential.APIKey, "sk-1", "CLAUDE_CODE_OAUTH_TOKEN"},
		{"an address of somebody's", "ANTHROPIC_API_KEY=sk-1\nANTHROPIC_BASE_URL=https://evil.example", "", "", "ANTHROPIC_BASE_URL"},
		{"others", "SLACK_BOT_TOKEN=xoxb-1\n#ANTHROPIC_API_KEY=sk-1", "", "", "SLACK_BOT_TOKEN"},
		{"nothing", "=\nx\n", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := open(t, fixture(t, importstest.V1, "", func(dir string) {
				if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}), "")
			c, ok := in.Credential("https://api.anthropic.com")
			if c.Kind != tt.kind || c.Value != tt.value || ok != (tt.kind != "") {
				t.Errorf("the credential is %s; want %s", c.Kind, tt.kind)
			}
			if p := Make(&in.Old, wishes(in)); tt.left != "" && because(p.Left, tt.left) == "" {
				t.Errorf("%s is not named in %+v", tt.left, p.Left)
			}
			if text := fmt.Sprintf("%v %+v %#v %d", in.Old.Env, in.Old.Env, in.Old.Env, in.Old.Env); tt.value != "" && strings.Contains(text, tt.value) {
				t.Errorf("it is printed: %s", text)
			}
		})
	}
}

func FuzzEnv(f *testing.F) {
	f.Add("export A='b'\n#c\nX==\"")
	f.Fuzz(func(t *testing.T, text string) {
		for name, value := range parseEnv(text) {
			if name == "" || value == "" || !strings.Contains(text, name) || !strings.Contains(text, value) {
				t.Errorf("%q has %q = %q", text, name, value)
			}
		}
	})
}

func FuzzFindSecret(f *testing.F) {
	f.Add("xx", 3, "secret")
	f.Fuzz(func(t *testing.T, text string, pad int, secret string) {
		if secret == "" || pad < 0 || pad > 200_000 {
			return
		}
		all := strings.Repeat("~", pad) + text
		got, err := findSecret(strings.NewReader(all), []string{secret})
		if want := strings.Contains(all, secret); err != nil || got != want {
			t.Errorf("found %v, %v; want %v", got, err, want)
		}
	})
}

// What main and the owner's people have here is not changed by what the old ones say.
func TestWhatIsHereStays(t *testing.T) {
	lent := t.TempDir()
	in := open(t, fixture(t, importstest.V1, `UPDATE registered_groups SET container_config = '{"additionalMounts": [{"hostPath": "`+lent+`", "containerPath": "x", "readonly": false}]}' WHERE folder = 'main';`), "")
	in.Old.Mounts = &config.MountAllowlist{AllowedRoots: []config.AllowedRoot{{Path: lent, AllowReadWrite: true}}}
	w := wishes(in)
	w.Stored, w.Owners = true, []string{"whatsapp:1@lid"}
	w.Config.Groups = map[string]config.Group{"main": {Mounts: []config.Mount{{Path: lent, Name: "x"}}}, "work": {Chats: []string{"whatsapp:" + family}}}
	w.Config.People = map[string]config.Person{"whatsapp:1@lid": {Role: "member", Groups: []string{"work"}}}
	w.Config.Assistant.Name, in.Old.Env.Assistant = "Bob", "Eve"
	p := Make(&in.Old, w)
	if len(p.Groups[0].Mounts) > 0 || len(p.Groups[1].Chats) > 0 || len(p.Owners) > 0 || p.Credential != "" || p.Assistant != "" {
		t.Errorf("the plan changes what is here: %+v", p)
	}
	for what, want := range map[string]string{"folder": "has its name already", "chat " + family: "belongs to group work", "--owner": "another role", "the credential": "one here already", "name Eve": "Bob here"} {
		if got := because(p.Left, what); !strings.Contains(got, want) {
			t.Errorf("%q is left because %q; want %q in it", what, got, want)
		}
	}
}
