package grant

import (
	"strings"
	"testing"

	"nanoclaw/internal/config"
)

// A container has the system of its image and all else of the group as in host
// mode, at the same paths.
func TestModesGrantTheSame(t *testing.T) {
	native, err := Decide(request(nil))
	if err != nil {
		t.Fatal(err)
	}
	g, err := Decide(request(func(r *Request) {
		r.Mode, r.Config.Container.Image = ContainerMode, "localhost/a"
		r.HostModeOff = "which does not count here"
	}))
	if err != nil {
		t.Fatal(err)
	}
	if g.Mode != ContainerMode || g.Image != "localhost/a" || native.Image != "" || len(g.Mounts) != len(native.Mounts) {
		t.Fatalf("mode %s, image %q and %q, %d mounts and %d", g.Mode, g.Image, native.Image, len(g.Mounts), len(native.Mounts))
	}
	for i, m := range g.Mounts {
		was := native.Mounts[i]
		if m.Image != (was.Source == was.Target) || m.Image && m.Source != "" {
			t.Errorf("%s is of the image: %t, from %q", m.Target, m.Image, m.Source)
		}
		m.Image, m.Source, m.Reason = was.Image, was.Source, was.Reason
		if m != was {
			t.Errorf("%+v is not %+v", m, was)
		}
	}
	if text := g.String(); !strings.Contains(text, "/usr of the image") {
		t.Errorf("the text does not say what is the image's:\n%s", text)
	}
	q, err := ParseQuestion("read:/usr/bin/env")
	if a := Explain(g, request(nil).Machine, q); err != nil || !a.Allowed {
		t.Errorf("/usr: %+v, %v", a, err)
	}
	if in, ok := g.inside("/etc/shadow"); ok {
		t.Errorf("a path of the host is inside, at %s", in)
	}
}

func TestImageOfAGroup(t *testing.T) {
	g, err := Decide(request(func(r *Request) {
		r.Group, r.Config.Container.Image = "work", "localhost/a"
		edit(r, "work", func(g *config.Group) { g.Image = "localhost/b" })
	}))
	if err != nil || g.Image != "localhost/b" {
		t.Errorf("%q, %v", g.Image, err)
	}
}

// On a Mac containers run another system than the machine does.
func TestForeignContainers(t *testing.T) {
	g, err := Decide(request(func(r *Request) {
		r.Mode, r.Machine.ForeignContainers, r.Config.Tools = ContainerMode, true, []string{"/opt/node"}
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range g.Mounts {
		if m.Target == ClaudeDir+"/claude" && (!m.Image || m.Source != "") || m.Target == "/opt/node" {
			t.Errorf("%+v", m)
		}
	}
}
