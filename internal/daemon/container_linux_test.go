package daemon

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/boundary/podmantest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
)

// TestContainerMode runs the owner's commands for one group in both modes, with a
// podman of the test's own and an image from a folder.
func TestContainerMode(t *testing.T) {
	p := podmantest.New(t)
	i := newInstall(t, "{}")
	for _, v := range p.Env {
		name, value, _ := strings.Cut(v, "=")
		if name == "XDG_RUNTIME_DIR" {
			i.env[name] = value
		}
	}
	i.configure(fmt.Sprintf(`{"version": 1, "hostMode": {"enabled": true}, "container": {"engine": "podman", "program": %q},
		"groups": {"main": {"mode": "host", "hostModeAllowed": true, "agent": "shell"}, "family": {"agent": "shell"}}}`, p.Program))
	d, _ := i.run()
	if _, err := ownersCommand(t, d, "family", "", "true"); err == nil || !strings.Contains(err.Error(), "nanoclaw image build") {
		t.Fatalf("without an image: %v", err)
	}
	if c := engineCheck(t, d); c.State != "fail" || !strings.Contains(c.Detail, "has no image") || !strings.Contains(c.Fix, "nanoclaw image import DIR") {
		t.Errorf("doctor without an image: %+v", c)
	}
	root := filepath.Join(t.TempDir(), "root")
	podmantest.Root(t, root)
	images, err := boundary.NewImages(boundary.PodmanEngine, boundary.ContainerOptions{Program: p.Program, Env: p.Env})
	if err == nil {
		err = images.Import(t.Context(), config.DefaultImage, root)
	}
	if err != nil {
		t.Fatal(err)
	}
	const ask = "id; pwd; echo $HOME; ls /workspace; cat ../CLAUDE.md | head -1; cat note 2>/dev/null; ulimit -n; stat -c %U ."
	if _, err := ownersCommand(t, d, "main", "host", "echo kept > note"); err != nil {
		t.Fatal(err)
	}
	native, err := ownersCommand(t, d, "main", "host", ask)
	if err != nil {
		t.Fatal(err)
	}
	contained, err := ownersCommand(t, d, "main", "container", ask)
	if err != nil || contained != native || !strings.Contains(native, "uid=1000(agent)") {
		t.Errorf("host mode says\n%s\na container\n%s(%v)", native, contained, err)
	}
	if c := engineCheck(t, d); c.State != "ok" || !strings.Contains(c.Detail, "in use; holds against") {
		t.Errorf("doctor: %+v", c)
	}
	if left := p.Containers(); len(left) > 0 {
		t.Errorf("containers are left: %v", left)
	}
}

// engineCheck is what doctor says of podman.
func engineCheck(t *testing.T, d *Daemon) control.Check {
	t.Helper()
	r, err := d.Doctor(t.Context(), control.DoctorQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		if c.Name == "engine podman" {
			return c
		}
	}
	t.Fatalf("doctor says nothing of podman: %+v", r.Checks)
	return control.Check{}
}

// ownersCommand runs a shell's command and gives what it printed.
func ownersCommand(t *testing.T, d *Daemon, group, mode, script string) (string, error) {
	t.Helper()
	c, err := d.Exec(t.Context(), control.ExecRequest{Group: chat.Group(group), Mode: mode, Argv: []string{"sh", "-c", script}})
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.Stdin().Close()
	out, err := io.ReadAll(c.Stdout())
	if err != nil {
		return "", err
	}
	exit, err := c.Wait(t.Context())
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("it ended with %d", exit.Code)
	}
	return string(out), err
}
