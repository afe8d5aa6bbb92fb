package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// The owner can have an engine that stops less, by its name and not otherwise,
// and is told in what it does.
func TestSRTByName(t *testing.T) {
	modules, err := filepath.Abs(filepath.Join(cmp.Or(os.Getenv("NANOCLAW_TEST_SRT"), "../../tools/srt"), "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	i := newInstall(t, strings.Replace(hostConfig, "{", fmt.Sprintf(`{"boundary": {"srt": {"path": %q, "node": %q}},`,
		filepath.Join(modules, "@anthropic-ai", "sandbox-runtime"),
		filepath.Join(modules, "node-linux-"+cmp.Or(arch, runtime.GOARCH), "bin", "node")), 1))
	d := i.open()
	defer d.Close()
	for _, m := range d.engines {
		if m.name != boundary.SRTEngine {
			m.open = func() (boundary.Engine, error) { return nil, errors.New("not on this machine") }
		}
	}
	if h := d.proven(t.Context(), ""); !strings.Contains(h.Off, "not on this machine") {
		t.Errorf("where no other engine holds, by itself it takes one with %q", h.Missing)
	}
	p, err := d.Exec(t.Context(), control.ExecRequest{
		Group: chat.Main, Boundary: boundary.SRTEngine, Argv: []string{"sh", "-c", "cat; ls -A; exit 42"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	go func() {
		io.WriteString(p.Stdin(), "from outside")
		p.Stdin().Close()
	}()
	go io.Copy(io.Discard, p.Stderr())
	out, err := io.ReadAll(p.Stdout())
	if string(out) != "from outsideCLAUDE.md\n" || err != nil { // and no file of srt's in the workspace
		t.Errorf("it says %q, %v", out, err)
	}
	if exit, err := p.Wait(t.Context()); err != nil || exit.Code != 42 {
		t.Errorf("it ended with %+v, %v", exit, err)
	}
	h := d.proven(t.Context(), boundary.SRTEngine)
	if h.Off != "" || !slices.ContainsFunc(h.Missing, func(s string) bool { return strings.HasPrefix(s, "srt: the init is not process 1") }) {
		t.Errorf("the probe: off %q, missing %q", h.Off, h.Missing)
	}
}
