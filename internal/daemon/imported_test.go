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
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/imports"
	"nanoclaw/internal/imports/importstest"
	"nanoclaw/internal/store"
)

// Real Claude Code goes on with a conversation of an installation of NanoClaw 1, with
// its memory and with what nobody had answered: the transcript lies where NanoClaw 1
// had it, and the workspace has the same path inside.
func TestImportedConversationGoesOn(t *testing.T) {
	old := oldConversation(t)
	i, m := claudeInstall(t)
	i.configure(fmt.Sprintf(`{"version": 1, "agent": {"claude": {"path": %q}}}`, agenttest.Claude(t)))
	const bob = "whatsapp:491702222222@s.whatsapp.net"
	importInto(t, i, old, bob)
	d, _ := i.run()
	if a := ask(t, d, "family", "what is it?"); a.State != control.Succeeded {
		t.Fatalf("got %+v\n%s", a.Answer, a.text())
	}
	told := bodies(m, 0)
	for what, want := range map[string]string{"the conversation": "favourite colour is teal", "the memory": "Bob likes cake", "of all groups": "Be kind", "what was not answered": "we meet at six"} {
		if !strings.Contains(told, want) {
			t.Errorf("%s: the model was not told %q", what, want)
		}
	}
	if strings.Contains(told, "long ago") {
		t.Error("the model was told what was answered before")
	}
	runInside(t, d, "family", "sh", "-c", "echo mine >> CLAUDE.md && touch conversations/new") // it may write there
	if text, err := os.ReadFile(filepath.Join(d.machine.GroupDir("family"), "workspace", "CLAUDE.md")); err != nil || !strings.HasSuffix(string(text), "mine\n") {
		t.Errorf("the agent's memory is %q, %v", text, err)
	}
}

// oldConversation makes an installation of NanoClaw 1 in which family's agent knows a
// colour, by a transcript that Claude Code wrote.
func oldConversation(t *testing.T) (dir string) {
	t.Helper()
	i, _ := claudeInstall(t)
	d, stop := i.run()
	if a := ask(t, d, "family", "my favourite colour is teal"); a.State != control.Succeeded {
		t.Fatalf("got %+v\n%s", a.Answer, a.text())
	}
	state, err := d.store.Remembered(t.Context(), "family", "")
	must(t, err)
	place := filepath.Join("projects", "-workspace-group", state.AgentSession+".jsonl")
	text, err := os.ReadFile(filepath.Join(d.machine.ClaudeStateDir("family"), place))
	must(t, err)
	stop()
	dir = t.TempDir()
	must(t, importstest.Write(dir, importstest.V12, importstest.Rows+`UPDATE sessions SET session_id = '`+state.AgentSession+`'`, importstest.Files))
	write(t, filepath.Join(dir, "data/sessions/family/.claude", place), string(text))
	return dir
}

// importInto imports dir, lets a sender in and opts family in to host mode, as the owner
// would.
func importInto(t *testing.T, i *install, dir, sender string) {
	t.Helper()
	ctx := t.Context()
	in, err := imports.Open(ctx, imports.Options{Dir: dir})
	must(t, err)
	defer in.Close()
	c, _, err := config.Load(i.paths.Config, config.Options{})
	must(t, err)
	p := imports.Make(&in.Old, imports.Wishes{From: in.Dir, Config: c, Zone: "UTC", Now: time.Now(), HostMode: func(chat.Group) bool { return false }, Real: resolved})
	must(t, config.Edit(i.paths.Config, config.Options{}, func(d *config.Document) error {
		must(t, p.Edit(d))
		must(t, d.AddSender("family", sender))
		return d.AllowHostMode("family")
	}))
	s, err := store.Open(ctx, i.paths.DataDir, store.Options{})
	must(t, err)
	defer s.Close()
	must(t, p.Begin(ctx, s, time.Now()))
	_, err = in.Apply(ctx, p, imports.Target{
		Store: s, Machine: machine(i.options(), c), Config: c, Memory: FirstMemory, Global: FirstGlobal, Now: time.Now,
		UID:    func(ctx context.Context, g chat.Group) (int, error) { return GroupUID(ctx, s, g, i.log) },
		Speaks: func(_ chat.Group, who string) bool { return who == sender },
	})
	must(t, err)
}
