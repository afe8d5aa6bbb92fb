package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/wire"
)

// allow writes the owner's list of folders that may be lent.
func (i *install) allow(text string) {
	i.t.Helper()
	must(i.t, os.WriteFile(filepath.Join(i.paths.ConfigDir, config.MountAllowlistFile), []byte(text), 0o644))
}

// The list of version 1 holds for folders of the configuration and for those asked
// for with --mount. What is refused is said to the owner, wherever it was asked.
func TestMountAllowlist(t *testing.T) {
	i := newInstall(t, "")
	i.configure(strings.Replace(hostConfig, `"family": {`, `"family": {"mounts": [{"path": "~/projects/site", "write": true}, {"path": "~/other"}], `, 1))
	for _, dir := range []string{"projects/site", "projects/link", "other"} {
		must(t, os.MkdirAll(filepath.Join(i.home, dir), 0o755))
	}
	must(t, os.Chmod(i.home, 0o755))
	must(t, os.WriteFile(filepath.Join(i.home, "projects/site/page"), []byte("lent"), 0o644))
	i.allow(`{"allowedRoots": [{"path": "~/projects", "allowReadWrite": true}], "blockedPatterns": ["draft"], "nonMainReadOnly": true}`)
	d, _ := i.run()

	if a := ask(t, d, "family", "cat /workspace/extra/site/page"); a.State != control.Refused || !strings.Contains(a.text(), "is below no folder that mount-allowlist.json allows") {
		t.Errorf("a folder of no root: %+v", a)
	}
	ownerReads(t, d, "A run of group family could not start:", filepath.Join(i.home, "other"), "add a folder above it to allowedRoots")

	exec := func(dir string) (string, error) {
		p, err := d.Exec(t.Context(), control.ExecRequest{Group: chat.Main, Argv: []string{"true"}, Mounts: []string{dir}})
		if err == nil {
			p.Close()
		}
		return string(code(err)), err
	}
	if c, err := exec(filepath.Join(i.home, "other")); c != string(control.CodeRefused) {
		t.Errorf("--mount goes around the list: %v", err)
	}
	if _, err := exec(filepath.Join(i.home, "projects/site")); err != nil {
		t.Errorf("a folder that is allowed: %v", err)
	}

	// Between the decision and the boundary a link is put in the folder's place.
	site := filepath.Join(i.home, "projects/site")
	r, err := d.request(t.Context(), chat.Main, grant.Trigger{Kind: "exec", Owner: true, Terminal: true, Mounts: []string{site}})
	must(t, err)
	g, err := d.granted(r)
	must(t, err)
	must(t, os.Rename(site, site+".aside"))
	must(t, os.Symlink(filepath.Join(i.home, "other"), site))
	_, err = d.runner.Exec(t.Context(), "", g, execTrue())
	if no, ok := errors.AsType[*grant.Refusal](err); !ok || no.Rule != "mount.root" {
		t.Errorf("a folder that was swapped: %v", err)
	}
}

// A change of the list is a change of policy: while it is there no run starts, and
// the plan says what it means. So is a list where none was.
func TestMountAllowlistIsPolicy(t *testing.T) {
	i := newInstall(t, "")
	i.configure(strings.Replace(hostConfig, `"main": {`, `"main": {"mounts": [{"path": "~/projects", "write": true}], `, 1))
	must(t, os.Mkdir(filepath.Join(i.home, "projects"), 0o755))
	d := i.open()
	must(t, d.checkConfig(t.Context()))
	i.allow(`{"allowedRoots": [{"path": "~/projects"}], "blockedPatterns": [], "nonMainReadOnly": true}`)
	if err := d.checkConfig(t.Context()); !errors.Is(err, runner.ErrHeld) || !strings.Contains(err.Error(), "mount-allowlist.json was not in use at the start") {
		t.Errorf("with a list where none was: %v", err)
	}
	plan, err := d.ConfigPlan(t.Context())
	must(t, err)
	for _, want := range []string{"mountAllowlist: added", "Rights of main that shrink:", "mount rw /workspace/extra/projects"} {
		if !strings.Contains(plan.Text, want) {
			t.Errorf("the plan does not say %q:\n%s", want, plan.Text)
		}
	}
	if !plan.Security {
		t.Error("a reload would accept it")
	}
	if _, err := d.ConfigReload(t.Context()); err == nil {
		t.Error("a reload accepts it")
	}
	must(t, d.Close())

	i.allow("{")
	d = i.open()
	t.Cleanup(func() { must(t, d.Close()) })
	must(t, d.checkConfig(t.Context()))
	_, err = d.decide(t.Context(), chat.Main, grant.Trigger{Kind: "message", Owner: true, Terminal: true})
	if no, ok := errors.AsType[*grant.Refusal](err); !ok || no.Rule != "mount.allowlist" {
		t.Errorf("with a torn list: %v", err)
	}
	i.allow(`{"allowedRoots": [{"path": "~/projects"}], "blockedPatterns": [], "nonMainReadOnly": true}`)
	if err := d.checkConfig(t.Context()); !errors.Is(err, runner.ErrHeld) {
		t.Errorf("a torn list that was mended: %v", err)
	}
}

func execTrue() wire.Exec { return wire.Exec{Argv: []string{"true"}, Stdio: wire.Pipes} }

func triggerOwner() grant.Trigger {
	return grant.Trigger{Kind: "message", Owner: true, Terminal: true}
}
