package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/delayed"
)

// What was moved away can be looked at and taken back with the command that the
// notice names, but not while an agent could still be in the folder. What is not
// taken back is removed when its time is over. All of that is written down.
func TestQuarantineIsTheOwners(t *testing.T) {
	i, dir := lentProject(t)
	d, _ := i.run()
	a := ask(t, d, "family", "cd /workspace/extra/project; echo evil > .envrc; mkdir .vscode; echo x > .vscode/tasks.json; ln -s / .idea; echo done")
	if a.State != control.Succeeded {
		t.Fatalf("%+v: %s", a.Answer, a.text())
	}
	kept, err := d.Quarantine(t.Context(), control.QuarantineQuery{})
	must(t, err)
	ids := make(map[string]string)
	for _, k := range kept {
		ids[filepath.Base(k.From)] = k.ID
		if filepath.Dir(k.From) != dir || k.Group != "family" || k.Run != a.Run || k.Files == 0 {
			t.Errorf("kept: %+v", k)
		}
	}
	told := ownerHears(t, d, "worked in "+dir)
	if len(kept) != 3 || !strings.Contains(told, ids[".envrc"]+" .envrc (environment of a folder)") {
		t.Fatalf("kept: %+v\ntold: %s", kept, told)
	}
	shown, err := d.Quarantine(t.Context(), control.QuarantineQuery{ID: ids[".vscode"]})
	must(t, err)
	if in := shown[0].Inside; len(in) != 2 || in[1].Path != ".vscode/tasks.json" || in[1].Text != "x\n" {
		t.Errorf("shown: %+v", shown)
	}

	act := func(act, id string) control.Quarantined {
		t.Helper()
		done, err := d.QuarantineAct(t.Context(), control.QuarantineAct{ID: id, Act: act})
		must(t, err)
		return done[0]
	}
	session := delayed.Record{Source: delayed.Source{Group: "other", Session: "s9"}, Folders: []delayed.Folder{{Path: filepath.Dir(dir)}}}
	must(t, session.Save(d.recordsDir()))
	if _, err := d.QuarantineAct(t.Context(), control.QuarantineAct{ID: ids[".envrc"], Act: control.Restore}); code(err) != control.CodeRefused || !strings.Contains(err.Error(), "a session of other works in") {
		t.Errorf("while a session lives: %v", err)
	}
	must(t, delayed.Forget(d.recordsDir(), "s9"))
	if k := act(control.Restore, ids[".envrc"]); k.Error != "" {
		t.Errorf("restored: %+v", k)
	}
	if text, err := os.ReadFile(filepath.Join(dir, ".envrc")); string(text) != "evil\n" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if k := act(control.Restore, ids[".idea"]); !strings.Contains(k.Error, "neither a file nor a folder") {
		t.Errorf("a link: %+v", k)
	}
	if k := act(control.Remove, ids[".idea"]); k.Error != "" {
		t.Errorf("removed: %+v", k)
	}
	if _, err := d.QuarantineAct(t.Context(), control.QuarantineAct{ID: ids[".idea"], Act: control.Remove}); code(err) != control.CodeNotFound {
		t.Errorf("once more: %v", err)
	}
	acts, err := d.AuditList(t.Context(), control.AuditQuery{Kind: "owner.acted"})
	must(t, err)
	if len(acts) != 3 || acts[0].Group != "family" || !strings.Contains(string(acts[0].Data), "restore from the quarantine") {
		t.Errorf("the audit has %+v", acts)
	}

	// What the owner took back stays: it was there before the next session.
	if a := ask(t, d, "family", "cat /workspace/extra/project/.envrc"); a.State != control.Succeeded {
		t.Errorf("%+v: %s", a.Answer, a.text())
	}
	if _, err := os.Lstat(filepath.Join(dir, ".envrc")); err != nil {
		t.Error(err)
	}

	d.expire(t.Context(), time.Now().Add(89*24*time.Hour))
	if kept, _ := d.Quarantine(t.Context(), control.QuarantineQuery{}); len(kept) != 1 {
		t.Errorf("before its time: %+v", kept)
	}
	d.expire(t.Context(), time.Now().Add(91*24*time.Hour))
	if kept, _ := d.Quarantine(t.Context(), control.QuarantineQuery{}); len(kept) != 0 {
		t.Errorf("after its time: %+v", kept)
	}
	if told := ownerHears(t, d, "Removed from the quarantine"); !strings.Contains(told, ids[".vscode"]) {
		t.Errorf("the owner is told %q", told)
	}
	if gone, err := d.AuditList(t.Context(), control.AuditQuery{Kind: "delayed.expired", Group: chat.Group("")}); err != nil || len(gone) != 1 {
		t.Errorf("the audit has %+v, %v", gone, err)
	}
}
